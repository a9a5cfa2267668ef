//! A socket of a kind that the event loop has no type for, waited for like any other.

use std::{
    io, net,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use tokio::{io::Interest, net::UdpSocket};

/// Becomes readable. The descriptor may be any socket: nothing of UDP is used but the wait.
#[derive(Debug)]
pub(super) struct Readable(UdpSocket);

impl Readable {
    /// Takes the descriptor, which from now on does not block. Must be called inside a tokio runtime
    /// with I/O.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = net::UdpSocket::from(descriptor);
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket).map(Self)
    }

    /// Waits until `read` does not say `WouldBlock`. May be given up at any time.
    pub(super) async fn read<T>(&self, read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, read).await
    }

    /// Waits until something is there, and leaves it there.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.read(|| match recv(self.as_raw_fd(), &mut [0], peek) {
            // What was lost is something that has happened.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        })
        .await
    }
}

impl AsRawFd for Readable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
