//! Sockets that see packets as they pass, and the programs by which the kernel picks them, written with labels
//! instead of distances.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use socket2::{SockFilter, SockRef};

use super::OsError;

/// A packet of this host's own or one that it passes on (`PACKET_OUTGOING`, packet(7)).
pub(super) const OUTGOING: u32 = 4;
/// A packet that came in for this host, or to be passed on (`PACKET_HOST`, packet(7)).
pub(super) const INCOMING: u32 = 0;

// Instructions of the kernel's packet filter (linux/filter.h, linux/bpf_common.h).
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_HALF_INDEXED: u16 = 0x48;
pub(super) const LOAD_BYTE_INDEXED: u16 = 0x50;
pub(super) const INDEX_IP_HEADER: u16 = 0xb1;
pub(super) const AND: u16 = 0x54;
pub(super) const SHIFT_RIGHT: u16 = 0x74;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_SET: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;
/// Where the kernel keeps the type of the packet for filters (`SKF_AD_OFF` + `SKF_AD_PKTTYPE`).
pub(super) const PACKET_TYPE: u32 = 0xffff_f000 + 4;
/// Where it keeps the number of the interface (`SKF_AD_OFF` + `SKF_AD_IFINDEX`).
pub(super) const INTERFACE: u32 = 0xffff_f000 + 8;
/// Where it has a random number (`SKF_AD_OFF` + `SKF_AD_RANDOM`).
pub(super) const RANDOM: u32 = 0xffff_f000 + 56;
/// The label of the step that follows.
pub(super) const NEXT: &str = "";

/// A step of the filter; jumps go to a label.
pub(super) enum Step {
    Do(u16, u32),
    If(u16, u32, &'static str, &'static str),
    At(&'static str),
}

/// The program of these steps.
pub(super) fn assembled(steps: &[Step]) -> Vec<SockFilter> {
    let mut labels = BTreeMap::new();
    let mut length = 0_usize;
    for step in steps {
        match step {
            Step::At(label) => {
                labels.insert(*label, length);
            }
            Step::Do(..) | Step::If(..) => length += 1,
        }
    }
    // A label that is missing or too far would be a mistake above; it drops the packet then.
    let jump = |from: usize, label: &str| {
        if label == NEXT {
            return 0;
        }
        let to = labels.get(label).copied().unwrap_or(length - 1);
        u8::try_from(to.saturating_sub(from + 1)).unwrap_or(u8::MAX)
    };
    let mut program = Vec::with_capacity(length);
    for step in steps {
        let at = program.len();
        match step {
            Step::Do(code, value) => program.push(SockFilter::new(*code, 0, 0, *value)),
            Step::If(code, value, yes, no) => {
                program.push(SockFilter::new(*code, jump(at, yes), jump(at, no), *value));
            }
            Step::At(_) => {}
        }
    }
    program
}

/// A socket that does not block, for the packets of every interface that `filter` takes, from the IP header on:
/// PPP has no link-layer header, Ethernet has. `what` says what cannot be done without it.
pub(super) fn listen(filter: &[SockFilter], what: &'static str) -> Result<OwnedFd, OsError> {
    let open = || -> io::Result<OwnedFd> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )?;
        SockRef::from(&socket).attach_filter(filter)?;
        // What came in before the filter was there is anything.
        while recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty()).is_ok() {}
        Ok(socket)
    };
    open().map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EPERM | nix::libc::EACCES) => OsError::NotPermitted { what },
        _ => OsError::Netlink {
            what,
            source: error,
        },
    })
}

/// Goes on at `v4` or `v6`, by the first octet of the IP header; anything else is dropped.
pub(super) fn by_version() -> [Step; 4] {
    [
        Step::Do(LOAD_BYTE, 0),
        Step::Do(SHIFT_RIGHT, 4),
        Step::If(JUMP_EQUAL, 4, "v4", NEXT),
        Step::If(JUMP_EQUAL, 6, "v6", "drop"),
    ]
}

/// From `v4` on: goes on behind these steps with what is UDP from or to `port` and no later fragment, with the index
/// at its UDP header; drops the rest.
pub(super) fn udp4(port: u16) -> [Step; 11] {
    let port = u32::from(port);
    [
        Step::At("v4"),
        Step::Do(LOAD_BYTE, 9),
        Step::If(JUMP_EQUAL, 17, NEXT, "drop"),
        Step::Do(LOAD_HALF, 6),
        Step::If(JUMP_SET, 0x1fff, "drop", NEXT),
        Step::Do(INDEX_IP_HEADER, 0),
        Step::Do(LOAD_HALF_INDEXED, 0),
        Step::If(JUMP_EQUAL, port, "of port", NEXT),
        Step::Do(LOAD_HALF_INDEXED, 2),
        Step::If(JUMP_EQUAL, port, NEXT, "drop"),
        Step::At("of port"),
    ]
}

/// From `v6` on, the same where no other header stands before that of UDP.
pub(super) fn udp6(port: u16) -> [Step; 8] {
    let port = u32::from(port);
    [
        Step::At("v6"),
        Step::Do(LOAD_BYTE, 6),
        Step::If(JUMP_EQUAL, 17, NEXT, "drop"),
        Step::Do(LOAD_HALF, 40),
        Step::If(JUMP_EQUAL, port, "of port6", NEXT),
        Step::Do(LOAD_HALF, 42),
        Step::If(JUMP_EQUAL, port, NEXT, "drop"),
        Step::At("of port6"),
    ]
}
