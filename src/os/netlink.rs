//! Questions to the kernel over netlink, and what it tells unasked (netlink(7)).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
            sendto, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

/// More than the kernel puts into one part of a dump (32 KiB).
const BUFFER: usize = 64 * 1024;
/// The kernel answers at once; this only keeps a fault from becoming a hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// The mark of a dump that other changes ran into (`NLM_F_DUMP_INTR`, netlink(7)).
const INTERRUPTED: u16 = 0x10;
/// How often an interrupted dump is begun again.
const ATTEMPTS: u32 = 5;

/// What a dump hands over.
pub(super) enum Part<M> {
    /// It begins, perhaps anew: what was handed over before comes again.
    Begin,
    /// One of its messages.
    One(M),
}

/// A netlink socket of one protocol. It stays in the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket that also hears the multicast groups of this mask. A socket that is bound to
    /// no port hears none, so it is bound in any case.
    pub(super) fn open(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        let netlink = Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
        };
        netlink.patience(PATIENCE)?;
        Ok(netlink)
    }

    /// How long a receive waits at most.
    fn patience(&self, patience: Duration) -> io::Result<()> {
        let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
        let time = TimeVal::new(seconds, i64::from(patience.subsec_micros()));
        Ok(setsockopt(&self.socket, sockopt::ReceiveTimeout, &time)?)
    }

    /// Lets this many octets of notices wait, more than an ordinary user may ask for where the
    /// rights are there.
    pub(super) fn room(&self, octets: usize) -> io::Result<()> {
        setsockopt(&self.socket, sockopt::RcvBufForce, &octets)
            .or_else(|_| setsockopt(&self.socket, sockopt::RcvBuf, &octets))?;
        Ok(())
    }

    /// Asks for one thing; `None` where the kernel merely acknowledges.
    pub(super) fn ask<M>(&mut self, message: M) -> io::Result<Option<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let mut answer = None;
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        self.answers(|message| answer = Some(message))?;
        Ok(answer)
    }

    /// Asks for many, each handed over as it comes: nothing is kept. A dump that changes ran into
    /// is begun again, and after some attempts taken as it is.
    pub(super) fn dump<M>(&mut self, message: &M, mut each: impl FnMut(Part<M>)) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Clone,
    {
        for _ in 0..ATTEMPTS {
            each(Part::Begin);
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if self.answers(|message| each(Part::One(message)))? {
                break;
            }
        }
        Ok(())
    }

    fn send<M: NetlinkSerializable>(&mut self, message: M, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::new(
            netlink_packet_core::NetlinkHeader::default(),
            NetlinkPayload::InnerMessage(message),
        );
        packet.header.flags = flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut octets = vec![0; packet.buffer_len()];
        packet.serialize(&mut octets);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.socket.as_raw_fd(), &octets, &kernel, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes the answers to the last question; false where the kernel says that they do not fit
    /// together.
    fn answers<M: NetlinkDeserializable>(&mut self, mut each: impl FnMut(M)) -> io::Result<bool> {
        let mut whole = true;
        loop {
            let length = self.receive()?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((octets, next)) = first_message(rest) {
                rest = next;
                let packet = NetlinkMessage::<M>::deserialize(octets)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if packet.header.sequence_number != self.sequence {
                    continue; // a notice, or the answer to a question that was given up
                }
                whole &= packet.header.flags & INTERRUPTED == 0;
                match packet.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) => return Ok(whole),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(whole), // an acknowledgement
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Takes the next notices of the groups without waiting; false where none is there.
    ///
    /// # Errors
    ///
    /// `ENOBUFS` where notices were lost, because they came faster than they were taken.
    pub(super) fn notices<M: NetlinkDeserializable>(
        &mut self,
        mut each: impl FnMut(u16, M),
    ) -> io::Result<bool> {
        let length = match recv(
            self.socket.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while let Some((octets, next)) = first_message(rest) {
            rest = next;
            // What this version does not understand is no notice for it.
            if let Ok(packet) = NetlinkMessage::<M>::deserialize(octets)
                && let NetlinkPayload::InnerMessage(message) = packet.payload
            {
                each(packet.header.flags, message);
            }
        }
        Ok(true)
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                received => return Ok(received?),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The first message of a datagram and the rest behind it; messages begin at multiples of four.
fn first_message(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*octets.first_chunk()?)).ok()?;
    let message = octets.get(..length).filter(|message| message.len() >= 16)?;
    let next = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((message, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_taken_apart_and_a_broken_one_ends() {
        let mut octets = vec![];
        for length in [17_u32, 16] {
            octets.extend(length.to_ne_bytes());
            octets.resize(octets.len() + 16, 0);
        }
        let (first, rest) = first_message(&octets).unwrap();
        assert_eq!((first.len(), rest.len()), (17, 20));
        let (second, rest) = first_message(rest).unwrap();
        assert_eq!((second.len(), rest.len()), (16, 4));
        assert_eq!(first_message(rest), None);
        assert_eq!(
            first_message(&17_u32.to_ne_bytes()),
            None,
            "longer than it is"
        );
        assert_eq!(first_message(&3_u32.to_ne_bytes()), None, "no header");
        assert_eq!(first_message(&[]), None);
    }
}
