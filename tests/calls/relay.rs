//! A relay in user space that mistreats single packets, as a kernel's NAT cannot be told to.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What becomes of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Pass,
    /// It goes on later.
    Late(Duration),
    /// On the way out: it goes on from another port. On the way in it passes.
    Elsewhere,
    /// It is lost.
    Lost,
}

/// Decides each datagram's fate.
pub(crate) type Policy = Arc<dyn Fn(&[u8]) -> Fate + Send + Sync>;

/// A policy that harms nothing.
pub(crate) fn harmless() -> Policy {
    Arc::new(|_: &[u8]| Fate::Pass)
}

/// A relay between any number of client sockets and one server; it ends when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Relays what comes to any port of loopback to `server`.
    pub(crate) fn start(server: SocketAddr, out: Policy, back: Policy) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let ended = Arc::clone(&ended);
            move || relay(&front, server, &out, &back, &ended)
        });
        Self {
            address,
            ended,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The two ports that a client's socket is seen at, the second for packets that go astray.
type Ports = [Arc<UdpSocket>; 2];

fn relay(
    front: &UdpSocket,
    server: SocketAddr,
    out: &Policy,
    back: &Policy,
    ended: &Arc<AtomicBool>,
) {
    let mut clients: BTreeMap<SocketAddr, Ports> = BTreeMap::new();
    let mut threads = Vec::new();
    while let Some((octets, client)) = receive(front, ended) {
        let ports = clients.entry(client).or_insert_with(|| {
            [(); 2].map(|()| {
                let port = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                let inside = (Arc::clone(&port), front.try_clone().unwrap());
                let (back, ended) = (Arc::clone(back), Arc::clone(ended));
                threads.push(thread::spawn(move || {
                    let (port, front) = inside;
                    let front = Arc::new(front);
                    while let Some((octets, _)) = receive(&port, &ended) {
                        send(&front, octets.as_slice(), client, back(&octets));
                    }
                }));
                port
            })
        });
        let fate = out(&octets);
        let port = &ports[usize::from(fate == Fate::Elsewhere)];
        send(port, &octets, server, fate);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The next datagram; `None` at the end.
fn receive(socket: &UdpSocket, ended: &AtomicBool) -> Option<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = [0; 2048];
    while !ended.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, source)) => return Some((buffer[..length].to_vec(), source)),
            Err(error) => assert!(
                // The last one stands for an ICMP error of a datagram before.
                matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ),
                "{error}"
            ),
        }
    }
    None
}

fn send(socket: &Arc<UdpSocket>, octets: &[u8], to: SocketAddr, fate: Fate) {
    // A datagram that cannot be sent is a datagram lost.
    match fate {
        Fate::Pass | Fate::Elsewhere => {
            let _ = socket.send_to(octets, to);
        }
        Fate::Lost => {}
        Fate::Late(by) => {
            let (socket, octets) = (Arc::clone(socket), octets.to_vec());
            thread::spawn(move || {
                thread::sleep(by);
                let _ = socket.send_to(&octets, to);
            });
        }
    }
}
