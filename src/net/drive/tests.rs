//! The loop over real sockets on loopback, with machines as small as the question.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

use super::*;
use crate::{
    net::{
        open_files,
        udp::{Ground, bind_here},
    },
    types::LocalAddr,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every datagram to where it came from, from the socket it came to.
#[derive(Default)]
struct Echo(VecDeque<Transmit>);

impl Machine for Echo {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, _: Instant) {
        if let Input::Datagram {
            socket,
            source,
            payload,
        } = input
        {
            self.0.push_back(Transmit {
                socket,
                peer: source,
                payload: payload.to_vec(),
                ttl: None,
            });
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Opened(SocketKey, LocalAddr),
    Datagram(SocketKey, PeerAddr, Vec<u8>),
    Unreachable(SocketKey, PeerAddr, Unreachable, Option<IpAddr>),
    Due(Instant),
}

/// Sends what it was given and tells everything it sees; its deadlines are the list `due`.
#[derive(Default)]
struct Teller {
    out: VecDeque<Transmit>,
    seen: VecDeque<Seen>,
    due: VecDeque<Instant>,
}

impl Teller {
    fn sending(transmits: impl IntoIterator<Item = (u32, SocketAddr)>) -> Self {
        Self {
            out: transmits
                .into_iter()
                .map(|(key, peer)| transmit(key, peer, None))
                .collect(),
            ..Self::default()
        }
    }
}

fn transmit(key: u32, peer: SocketAddr, ttl: Option<u8>) -> Transmit {
    Transmit {
        socket: SocketKey(key),
        peer: PeerAddr::new(peer),
        payload: key.to_be_bytes().to_vec(),
        ttl,
    }
}

impl Machine for Teller {
    type Event = Seen;

    fn handle_input(&mut self, input: Input<'_>, _: Instant) {
        self.seen.push_back(match input {
            Input::Opened { socket, local } => Seen::Opened(socket, local),
            Input::Datagram {
                socket,
                source,
                payload,
            } => Seen::Datagram(socket, source, payload.to_vec()),
            Input::Unreachable {
                socket,
                peer,
                cause,
                reporter,
            } => Seen::Unreachable(socket, peer, cause, reporter),
        });
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.due.front().is_some_and(|due| *due <= now) {
            self.seen.extend(self.due.pop_front().map(Seen::Due));
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_event(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.due.front().map(|due| (*due, "due"))
    }
}

fn client() -> Sockets {
    Sockets::client(Ground::host(), None)
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn echo_sockets() -> (Sockets, SocketAddr) {
    let sockets = Sockets::server(Ground::host(), &[loopback()]).unwrap();
    let (key, local) = sockets.bound().unwrap()[0];
    assert_eq!(key, SocketKey(0));
    (sockets, local.get())
}

/// Drives `machine` beside an echo server until `done` has seen enough.
async fn beside_echo(
    machine: &mut Teller,
    sockets: &mut Sockets,
    mut echo: Sockets,
    mut done: impl FnMut(Seen) -> bool,
) {
    let ours = drive(
        machine,
        sockets,
        |seen, _| {
            if done(seen) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        tokio::time::sleep(PATIENCE),
    );
    let mut server = Echo::default();
    let theirs = drive(
        &mut server,
        &mut echo,
        |(), _| ControlFlow::<()>::Continue(()),
        future::pending::<()>(),
    );
    tokio::select! {
        ended = ours => assert_eq!(ended.unwrap(), Ended::Event(())),
        _ = theirs => panic!("the server never ends"),
    }
}

/// All that `machine` tells until `count` things are there.
async fn told(machine: &mut Teller, sockets: &mut Sockets, count: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    let ended = drive(
        machine,
        sockets,
        |seen, _| {
            all.push(seen);
            if all.len() == count {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        tokio::time::sleep(PATIENCE),
    )
    .await
    .unwrap();
    assert_eq!(ended, Ended::Event(()), "{all:?}");
    all
}

#[tokio::test]
async fn an_echo_comes_back_to_a_socket_with_a_concrete_address() {
    let (echo, peer) = echo_sockets();
    let mut all = Vec::new();
    let mut machine = Teller::sending([(0, peer)]);
    beside_echo(&mut machine, &mut client(), echo, |seen| {
        all.push(seen);
        all.len() == 2
    })
    .await;
    let Seen::Opened(SocketKey(0), local) = all[0] else {
        panic!("{all:?}");
    };
    assert!(local.get().ip().is_loopback() && local.get().port() != 0);
    let echoed = Seen::Datagram(SocketKey(0), PeerAddr::new(peer), vec![0; 4]);
    assert_eq!(all[1], echoed);
}

#[tokio::test]
async fn six_hundred_sockets_are_opened_and_answered() {
    open_files::raise(700).unwrap();
    let (echo, peer) = echo_sockets();
    let mut machine = Teller::sending((0..600).map(|key| (key, peer)));
    let (mut ports, mut answered) = (BTreeSet::new(), BTreeSet::new());
    beside_echo(&mut machine, &mut client(), echo, |seen| {
        match seen {
            Seen::Opened(key, local) => {
                assert!(!answered.contains(&key), "{key:?} answered before opened");
                ports.insert(local.get().port());
            }
            Seen::Datagram(key, _, payload) => {
                assert_eq!(payload, key.0.to_be_bytes());
                answered.insert(key);
            }
            other => panic!("{other:?}"),
        }
        answered.len() == 600
    })
    .await;
    assert_eq!(ports.len(), 600);
}

#[tokio::test]
async fn a_server_answers_from_the_socket_that_was_asked() {
    let locals = [loopback(), "127.0.0.2:0".parse().unwrap(), loopback()];
    let echo = Sockets::server(Ground::host(), &locals).unwrap();
    let asked: Vec<SocketAddr> = echo
        .bound()
        .unwrap()
        .into_iter()
        .map(|(_, local)| local.get())
        .collect();
    let mut machine = Teller::sending(asked.iter().map(|peer| (0, *peer)));
    let mut answers = BTreeSet::new();
    beside_echo(&mut machine, &mut client(), echo, |seen| {
        if let Seen::Datagram(_, source, _) = seen {
            answers.insert(source.get());
        }
        answers.len() == 3
    })
    .await;
    assert_eq!(answers, asked.into_iter().collect());
}

#[tokio::test]
async fn deadlines_pass_in_order_and_none_early() {
    let begin = clock::now();
    let at = |millis| begin + Duration::from_millis(millis);
    let mut machine = Teller {
        due: [0, 1, 30, 30, 31, 80].map(at).into(),
        ..Teller::default()
    };
    let mut fired = Vec::new();
    let ended = drive(
        &mut machine,
        &mut client(),
        |seen, now| {
            let Seen::Due(due) = seen else {
                panic!("{seen:?}");
            };
            assert!(due <= now && now <= clock::now());
            fired.push(due);
            ControlFlow::<()>::Continue(())
        },
        tokio::time::sleep(PATIENCE),
    )
    .await
    .unwrap();
    // No deadline is left and no socket was ever opened.
    assert_eq!(ended, Ended::Idle);
    assert_eq!(fired, [0, 1, 30, 30, 31, 80].map(at));
    assert!(clock::now() - begin < Duration::from_secs(10));
}

#[tokio::test]
async fn closed_ports_are_told_each_with_its_peer_on_one_unconnected_socket() {
    for host in ["127.0.0.1", "127.0.0.2", "::1"] {
        let ip: IpAddr = host.parse().unwrap();
        let Ok(held) = (0..3)
            .map(|_| bind_here(SocketAddr::new(ip, 0)))
            .collect::<io::Result<Vec<_>>>()
        else {
            assert!(ip.is_ipv6(), "no {ip}");
            continue; // a host without IPv6
        };
        let peers: BTreeSet<SocketAddr> =
            held.iter().map(|held| held.local_addr().unwrap()).collect();
        drop(held);
        let mut machine = Teller::sending(peers.iter().map(|peer| (0, *peer)));
        let all = told(&mut machine, &mut client(), 4).await;
        assert!(matches!(all[0], Seen::Opened(SocketKey(0), _)), "{all:?}");
        let mut refused = BTreeMap::new();
        for seen in all.into_iter().skip(1) {
            let Seen::Unreachable(SocketKey(0), peer, cause, reporter) = seen else {
                panic!("{seen:?}");
            };
            assert_eq!(reporter, Some(ip), "{peer}");
            refused.insert(peer.get(), cause);
        }
        let expected = peers.into_iter().map(|peer| (peer, Unreachable::Port));
        assert_eq!(refused, expected.collect());
    }
}

#[tokio::test]
async fn an_answer_arrives_on_a_socket_with_icmp_errors_pending() {
    let (echo, peer) = echo_sockets();
    let held = bind_here(loopback()).unwrap();
    let closed = held.local_addr().unwrap();
    drop(held);
    let to = (0..40).map(|i| (0, if i % 2 == 0 { closed } else { peer }));
    let mut machine = Teller::sending(to);
    let (mut refused, mut answered) = (0, 0);
    beside_echo(&mut machine, &mut client(), echo, |seen| {
        match seen {
            Seen::Opened(..) => {}
            Seen::Unreachable(_, told, Unreachable::Port, Some(_)) => {
                assert_eq!(told.get(), closed);
                refused += 1;
            }
            Seen::Datagram(_, source, _) => {
                assert_eq!(source.get(), peer);
                answered += 1;
            }
            other => panic!("{other:?}"),
        }
        // The kernel limits how many ICMP errors it sends, but not how many answers.
        answered == 20 && refused > 0
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_and_the_loop_goes_on() {
    let (echo, peer) = echo_sockets();
    let mut machine = Teller::sending([(0, peer)]);
    machine.out[0].payload = vec![0; 65_535];
    machine.out.push_back(transmit(0, peer, None));
    let mut causes = Vec::new();
    beside_echo(&mut machine, &mut client(), echo, |seen| match seen {
        Seen::Opened(..) => false,
        Seen::Unreachable(_, told, cause, reporter) => {
            assert_eq!(told.get(), peer);
            causes.push((cause, reporter));
            false
        }
        Seen::Datagram(_, _, payload) => {
            assert_eq!(payload, [0; 4]);
            true
        }
        Seen::Due(_) => panic!("no deadline was asked"),
    })
    .await;
    assert_eq!(causes, [(Unreachable::TooBig, None)]);
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_told() {
    let ground = Ground::new(|local| {
        if local.ip().is_unspecified() {
            Err(io::Error::from(nix::Error::EMFILE))
        } else {
            bind_here(local)
        }
    });
    let peer = "127.0.0.1:9".parse().unwrap();
    let mut machine = Teller::sending([(3, peer)]);
    let all = told(&mut machine, &mut Sockets::client(ground, None), 1).await;
    let told = Seen::Unreachable(
        SocketKey(3),
        PeerAddr::new(peer),
        Unreachable::NoSocket,
        None,
    );
    assert_eq!(all, [told]);
}

#[tokio::test]
async fn a_stop_leaves_the_machine_to_its_owner() {
    let far = clock::now() + Duration::from_secs(3600);
    let mut machine = Teller {
        due: [far].into(),
        ..Teller::default()
    };
    let mut sockets = client();
    for _ in 0..2 {
        let ended = drive(
            &mut machine,
            &mut sockets,
            |_, _| ControlFlow::<()>::Continue(()),
            async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                "enough"
            },
        )
        .await
        .unwrap();
        assert_eq!(ended, Ended::Stopped("enough"));
    }
    assert_eq!(machine.due, [far]);
}

/// Sends to a peer for ever, as fast as it is asked.
struct Flood(SocketAddr);

impl Machine for Flood {
    type Event = ();
    fn handle_input(&mut self, _: Input<'_>, _: Instant) {}
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_transmit(&mut self) -> Option<Transmit> {
        Some(transmit(0, self.0, None))
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

#[tokio::test]
async fn a_machine_that_never_pauses_can_be_stopped() {
    let sink = UdpSocket::bind(loopback()).unwrap();
    let ended = drive(
        &mut Flood(sink.local_addr().unwrap()),
        &mut client(),
        |(), _| ControlFlow::<()>::Continue(()),
        tokio::time::sleep(Duration::from_millis(20)),
    )
    .await
    .unwrap();
    assert_eq!(ended, Ended::Stopped(()));
}

#[tokio::test]
async fn the_time_to_live_is_that_of_the_datagram() {
    let sink = UdpSocket::bind(loopback()).unwrap();
    sink.set_read_timeout(Some(PATIENCE)).unwrap();
    setsockopt(&sink, sockopt::Ipv4RecvTtl, &true).unwrap();
    let peer = sink.local_addr().unwrap();
    // The deadline passes once everything is sent.
    let mut machine = Teller {
        due: [clock::now()].into(),
        ..Teller::default()
    };
    for ttl in [Some(1), None, Some(200)] {
        machine.out.push_back(transmit(0, peer, ttl));
    }
    told(&mut machine, &mut client(), 2).await;
    let default = sink.ttl().unwrap();
    for expected in [1, default, 200] {
        let mut payload = [0; 16];
        let mut slices = [io::IoSliceMut::new(&mut payload)];
        let mut control = nix::cmsg_space!(i32);
        let message = recvmsg::<SockaddrStorage>(
            std::os::fd::AsRawFd::as_raw_fd(&sink),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )
        .unwrap();
        let hops = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::Ipv4Ttl(hops) => u32::try_from(hops).ok(),
            _ => None,
        });
        assert_eq!(hops, Some(expected));
    }
}

#[test]
fn a_port_in_use_names_this_process() {
    let held = UdpSocket::bind(loopback()).unwrap();
    let local = held.local_addr().unwrap();
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let errors = [
        client().with_first(local).unwrap_err(),
        Sockets::server(Ground::host(), &[loopback(), local]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.to_string(),
            format!(
                "UDP {local} is already in use by {} (process {}); stop it, or choose another local port",
                comm.trim_end(),
                std::process::id()
            )
        );
    }
}

#[test]
fn an_address_of_another_host_is_no_local_address() {
    let error = client()
        .with_first("192.0.2.1:0".parse().unwrap())
        .unwrap_err();
    assert!(matches!(error, NetError::NotLocal { .. }), "{error}");
}

#[tokio::test]
async fn the_first_socket_has_the_chosen_port_and_the_others_have_not() {
    let held = bind_here("0.0.0.0:0".parse().unwrap()).unwrap();
    let mut chosen = held.local_addr().unwrap();
    drop(held);
    let mut sockets = client().with_first(chosen).unwrap();
    let peer = UdpSocket::bind(loopback()).unwrap();
    let to = peer.local_addr().unwrap();
    let mut machine = Teller::sending([(1, to), (0, to)]);
    let all = told(&mut machine, &mut sockets, 2).await;
    chosen.set_ip(to.ip());
    assert_eq!(all[1], Seen::Opened(SocketKey(0), LocalAddr::new(chosen)));
    let Seen::Opened(SocketKey(1), other) = all[0] else {
        panic!("{all:?}");
    };
    assert_ne!(other.get().port(), chosen.port());
}

#[test]
fn a_drive_may_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let (mut machine, mut sockets) = (Echo::default(), client());
    let future = drive(
        &mut machine,
        &mut sockets,
        |(), _| ControlFlow::<()>::Continue(()),
        future::pending::<()>(),
    );
    sendable(&future);
}
