//! The limit of open files, raised to what many sockets need.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::net::NetError;

/// Files that a process has open besides its sockets: standard streams, the reactor, reports.
const OTHERS: u64 = 64;

/// Raises the soft limit of this process so that `sockets` more files can be open; a limit that is
/// high enough stays.
///
/// # Errors
///
/// [`NetError::OpenFiles`] where the hard limit is lower.
pub fn raise(sockets: u64) -> Result<(), NetError> {
    let host = |source: nix::Error| NetError::Host {
        what: "read or raise the limit of open files",
        source: io::Error::from(source),
    };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(host)?;
    let needed = sockets.saturating_add(OTHERS);
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        return Err(NetError::OpenFiles {
            needed: sockets,
            hard,
        });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_the_hard_one_and_no_further() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        raise(1).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, soft);
        if hard > soft + 10 && soft > OTHERS {
            raise(soft + 10 - OTHERS).unwrap();
            assert!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0 >= soft + 10);
        }
        if hard < u64::MAX {
            let error = raise(hard).unwrap_err();
            assert!(error.to_string().contains(&hard.to_string()), "{error}");
        }
    }
}
