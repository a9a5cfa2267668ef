//! The rights of root, given up once what needs them is open: what comes from the network afterwards is read by
//! a process that may do nothing to the host.

use std::io;

use nix::{
    sys::prctl::set_no_new_privs,
    unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid},
};

use super::OsError;

/// Who has no rights.
const NOBODY: &str = "nobody";
/// Its number where the host has no such name.
const NUMBER: u32 = 65534;

/// Becomes `nobody`, with all threads and for good, if this is root; whether it was. What is open stays open.
///
/// # Errors
///
/// [`OsError::StillRoot`] where the kernel refuses, as in a user namespace that knows one user alone.
pub fn become_nobody() -> Result<bool, OsError> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    let nobody = User::from_name(NOBODY).ok().flatten();
    let (user, group) = nobody.map_or_else(
        || (Uid::from_raw(NUMBER), Gid::from_raw(NUMBER)),
        |nobody| (nobody.uid, nobody.gid),
    );
    // The groups first: who is not root any more may not give them up.
    setgroups(&[group])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .and_then(|()| set_no_new_privs())
        .map(|()| true)
        .map_err(|error| OsError::StillRoot {
            source: io::Error::from(error),
        })
}
