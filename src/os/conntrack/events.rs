//! What happens to the table while somebody looks.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::{
    NetfilterMessage, NetfilterMessageInner, conntrack::ConntrackMessage,
};
use nix::sys::socket::SockProtocol;

use super::{Entry, failed, message};
use crate::os::{OsError, netlink::Netlink};

/// The groups of new, changed and gone connections (`NFNLGRP_CONNTRACK_NEW` …), as a mask.
const GROUPS: u32 = 0b111;
/// Room for some 30 000 notices, for the time in which nobody takes them.
const ROOM: usize = 8 << 20;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The entry was made.
    Made(Entry),
    /// The entry changed: an answer was seen, it became a stream.
    Changed(Entry),
    /// The entry has gone.
    Gone(Entry),
    /// Events came faster than they were taken and some are lost: read the table again.
    Lost,
}

/// The events of the network namespace in which this was opened.
///
/// The kernel tells nothing of an entry that was there before, not even its end
/// (`nf_conntrack_events` = 2), so the table has to be read after opening, and again from time to
/// time.
#[derive(Debug)]
pub struct Events {
    netlink: Netlink,
}

impl Events {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`OsError::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, OsError> {
        const WHAT: &str = "changes of the table of connections cannot be watched";
        let open = || {
            let netlink = Netlink::open(SockProtocol::NetlinkNetFilter, GROUPS)?;
            netlink.room(ROOM)?;
            Ok(netlink)
        };
        open()
            .map(|netlink| Self { netlink })
            .map_err(|error| failed(WHAT, error))
    }

    /// Takes what has happened since, without waiting; `each` gets it in order.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel ends the talk.
    pub fn take(&mut self, mut each: impl FnMut(Event)) -> Result<(), OsError> {
        loop {
            match self.netlink.notices(|flags, message: NetfilterMessage| {
                if let Some(event) = event(flags, &message) {
                    each(event);
                }
            }) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    each(Event::Lost);
                }
                Err(error) => {
                    return Err(failed(
                        "changes of the table of connections cannot be read",
                        error,
                    ));
                }
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

fn event(flags: u16, notice: &NetfilterMessage) -> Option<Event> {
    let entry = message::entry(notice)?;
    let NetfilterMessageInner::Conntrack(inner) = &notice.inner else {
        return None;
    };
    match inner {
        ConntrackMessage::Delete(_) => Some(Event::Gone(entry)),
        // New and changed entries come as the same message; only the flags differ.
        ConntrackMessage::New(_) if flags & NLM_F_CREATE != 0 => Some(Event::Made(entry)),
        ConntrackMessage::New(_) => Some(Event::Changed(entry)),
        _ => None,
    }
}
