//! The virtual networks of the kernel, and that the simulated NAT does what the kernel does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is the report

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use iax2_natcheck::lab::{
    error::LabError,
    kernel::{Namespace, NatLab},
    nat::Nat,
    network::{CLIENT, Network, Ports, Router, SECOND_SERVER, SERVER, SIBLING, SourceNat},
    scenario,
};

/// How long a datagram that is on its way may take.
const ARRIVAL: Duration = Duration::from_millis(300);

const PEERS: [(Ipv4Addr, u16); 3] = [(SERVER, 4569), (SERVER, 4570), (SECOND_SERVER, 4569)];

fn bind(namespace: &Namespace, address: impl Into<SocketAddr>) -> UdpSocket {
    let socket = namespace.bind(address.into()).unwrap();
    socket.set_read_timeout(Some(ARRIVAL)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Option<SocketAddr> {
    socket.recv_from(&mut [0; 64]).ok().map(|(_, from)| from)
}

/// The addresses that one client socket has towards the peers.
fn seen_by_peers(lab: &NatLab, local: impl Into<SocketAddr>) -> Vec<SocketAddr> {
    let client = bind(lab.client(), local);
    let see = |peer: (Ipv4Addr, u16)| {
        let server = bind(lab.server(), peer);
        client.send_to(b"hello", peer).unwrap();
        let seen = receive(&server).expect("the datagram crosses the NAT");
        server.send_to(b"answer", seen).unwrap();
        assert_eq!(
            receive(&client),
            Some(peer.into()),
            "and so does the answer"
        );
        seen
    };
    PEERS.map(see).to_vec()
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn masquerade_shows_the_public_address_and_keeps_the_port() {
    for (rule, ports) in [
        (SourceNat::Masquerade, Ports::Kept),
        (SourceNat::Masquerade, Ports::Persistent),
        (SourceNat::Snat, Ports::Kept),
    ] {
        let router = Router {
            rule,
            ports,
            ..Router::masquerade(30, 120)
        };
        let network = Network {
            clients: vec![CLIENT, SIBLING],
            ..Network::behind([router])
        };
        let lab = NatLab::new(&network).unwrap();
        let public: SocketAddr = "198.51.100.7:4569".parse().unwrap();
        assert_eq!(seen_by_peers(&lab, (CLIENT, 4569)), [public; 3]);
        // The port is taken: the other client gets another, the same towards all peers.
        let seen = seen_by_peers(&lab, (SIBLING, 4569));
        assert!(seen[0] != public && seen[0].ip() == public.ip());
        assert!(seen.iter().all(|address| *address == seen[0]), "{seen:?}");
    }
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn random_ports_differ_for_each_destination() {
    for ports in [Ports::Random, Ports::FullyRandom] {
        let router = Router {
            ports,
            ..Router::masquerade(30, 120)
        };
        let lab = NatLab::new(&Network::behind([router])).unwrap();
        let seen = seen_by_peers(&lab, (CLIENT, 4569));
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
    }
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn a_client_without_a_router_is_seen_as_it_is() {
    let network = Network::behind([]);
    let lab = NatLab::new(&network).unwrap();
    let local = SocketAddr::from((network.client(), 4569));
    assert_eq!(seen_by_peers(&lab, local), [local; 3]);
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn loss_takes_its_share_each_way() {
    let network = Network {
        loss_percent: 50,
        ..Network::behind([Router::masquerade(30, 120)])
    };
    let lab = NatLab::new(&network).unwrap();
    let client = bind(lab.client(), (CLIENT, 4569));
    let server = bind(lab.server(), PEERS[0]);
    for _ in 0..200 {
        client.send_to(b"hello", PEERS[0]).unwrap();
    }
    let arrived = std::iter::from_fn(|| receive(&server)).count();
    assert!((60..140).contains(&arrived), "{arrived}");
    let back: SocketAddr = "198.51.100.7:4569".parse().unwrap();
    for _ in 0..200 {
        server.send_to(b"answer", back).unwrap();
    }
    let arrived = std::iter::from_fn(|| receive(&client)).count();
    assert!((60..140).contains(&arrived), "{arrived}");
}

/// One packet of a story, a while after its beginning.
#[derive(Clone, Copy)]
enum Step {
    /// From the client to a peer; a TTL of 1 dies at the first router.
    Out { after_ms: u64, peer: usize, ttl: u8 },
    /// From a peer to where the client was seen last.
    Back { after_ms: u64, peer: usize },
}

impl Step {
    fn after(self) -> Duration {
        match self {
            Self::Out { after_ms, .. } | Self::Back { after_ms, .. } => {
                Duration::from_millis(after_ms)
            }
        }
    }
}

fn out(after_ms: u64, peer: usize) -> Step {
    let ttl = 64;
    Step::Out {
        after_ms,
        peer,
        ttl,
    }
}

fn dying(after_ms: u64, ttl: u8) -> Step {
    let peer = 0;
    Step::Out {
        after_ms,
        peer,
        ttl,
    }
}

fn back(after_ms: u64, peer: usize) -> Step {
    Step::Back { after_ms, peer }
}

/// What happens at the edges of a timer of 3 s and a stream timer of 6 s. The name says what the
/// last step proves.
fn stories() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("one way, alive", vec![out(0, 0), back(2500, 0)]),
        ("one way, dead", vec![out(0, 0), back(3500, 0)]),
        (
            "exchange, alive",
            vec![out(0, 0), back(100, 0), back(2600, 0)],
        ),
        (
            "exchange, dead",
            vec![out(0, 0), back(100, 0), back(3600, 0)],
        ),
        (
            "stream, alive",
            vec![out(0, 0), back(100, 0), out(2500, 0), back(8000, 0)],
        ),
        (
            "stream, dead",
            vec![out(0, 0), back(100, 0), out(2500, 0), back(9000, 0)],
        ),
        (
            "stream by a packet from outside",
            vec![out(0, 0), back(100, 0), back(2500, 0), back(8000, 0)],
        ),
        (
            "a late first answer makes no stream",
            vec![out(0, 0), out(2400, 0), back(2600, 0), back(6100, 0)],
        ),
        (
            "a packet from outside refreshes",
            vec![out(0, 0), back(100, 0), back(1700, 0), back(4200, 0)],
        ),
        (
            "a packet that dies at the router refreshes",
            vec![out(0, 0), back(100, 0), dying(1700, 1), back(4200, 0)],
        ),
        (
            "a packet that dies at the second router refreshes both",
            vec![out(0, 0), back(100, 0), dying(1700, 2), back(4200, 0)],
        ),
        (
            "another port of the peer is filtered",
            vec![out(0, 0), back(100, 1)],
        ),
        (
            "another address of the peer is filtered",
            vec![out(0, 0), back(100, 2)],
        ),
        (
            "the flows of one socket have their own timers",
            vec![out(0, 0), out(2000, 2), back(3500, 0)],
        ),
        (
            "the external port towards three peers",
            vec![out(0, 0), out(100, 1), out(200, 2)],
        ),
    ]
}

/// What came of each step: for a packet out, the number of the distinct external endpoint that was
/// seen; for a packet back, whether it arrived.
#[derive(Debug, PartialEq)]
enum Came {
    Died,
    SeenAs(usize),
    Back(bool),
}

/// Numbers external endpoints in the order they are first seen.
fn number(seen: &mut Vec<SocketAddr>, address: SocketAddr) -> Came {
    let known = seen.iter().position(|other| *other == address);
    Came::SeenAs(known.unwrap_or_else(|| {
        seen.push(address);
        seen.len() - 1
    }))
}

fn in_kernel(lab: &NatLab, port: u16, steps: &[Step]) -> Vec<Came> {
    let client = bind(lab.client(), (CLIENT, port));
    // Each story has peers of its own, so that stories do not share the far endpoints.
    let peer_of = |(address, base)| (address, base + port);
    let servers = PEERS.map(|peer| bind(lab.server(), peer_of(peer)));
    let (start, mut seen, mut last) = (Instant::now(), Vec::new(), None);
    let play = |step: &Step| {
        thread::sleep((start + step.after()).saturating_duration_since(Instant::now()));
        match *step {
            Step::Out { peer, ttl, .. } => {
                client.set_ttl(ttl.into()).unwrap();
                client.send_to(b"out", peer_of(PEERS[peer])).unwrap();
                receive(&servers[peer]).map_or(Came::Died, |address| {
                    last = Some(address);
                    number(&mut seen, address)
                })
            }
            Step::Back { peer, .. } => {
                servers[peer].send_to(b"back", last.unwrap()).unwrap();
                // An ICMP error about a packet that died may lie before it.
                let deadline = Instant::now() + ARRIVAL;
                let mut arrived = receive(&client);
                while arrived.is_none() && Instant::now() < deadline {
                    arrived = receive(&client);
                }
                Came::Back(arrived.is_some())
            }
        }
    };
    steps.iter().map(play).collect()
}

fn in_process(network: &Network, port: u16, steps: &[Step]) -> Vec<Came> {
    let mut nats: Vec<Nat> = network.site(1).nats.into_iter().map(Nat::new).collect();
    let start = Instant::now();
    let (mut seen, mut last) = (Vec::new(), None);
    let play = |step: &Step| {
        let now = start + step.after();
        match *step {
            Step::Out { peer, mut ttl, .. } => {
                let mut source = SocketAddr::from((CLIENT, port));
                let destination = PEERS[peer].into();
                for nat in &mut nats {
                    if ttl == 1 {
                        nat.outbound_dying(source, destination, now);
                        return Came::Died;
                    }
                    ttl -= 1;
                    source = nat.outbound(source, destination, now).unwrap();
                }
                last = Some(source);
                number(&mut seen, source)
            }
            Step::Back { peer, .. } => {
                let from = PEERS[peer].into();
                let mut outside_in = nats.iter_mut().rev();
                let arrived =
                    outside_in.try_fold(last.unwrap(), |to, nat| nat.inbound(from, to, now));
                Came::Back(arrived.is_some())
            }
        }
    };
    steps.iter().map(play).collect()
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn the_simulated_nat_does_what_the_kernel_does() {
    let router = Router::masquerade(3, 6);
    let random = Router {
        ports: Ports::FullyRandom,
        ..router
    };
    let networks = [
        ("plain", vec![router]),
        ("random", vec![random]),
        (
            "home and carrier",
            vec![Router::masquerade(30, 120), router],
        ),
    ];
    thread::scope(|scope| {
        for (name, routers) in networks {
            scope.spawn(move || {
                let network = Network::behind(routers);
                let lab = NatLab::new(&network).unwrap();
                thread::scope(|scope| {
                    for (port, (story, steps)) in (10_000..).step_by(2).zip(stories()) {
                        let (lab, network) = (&lab, &network);
                        scope.spawn(move || {
                            let real = in_kernel(lab, port, &steps);
                            let simulated = in_process(network, port, &steps);
                            assert_eq!(real, simulated, "{name}: {story}");
                            // How far a TTL reaches depends on the network; the claims are those
                            // of one plain router.
                            let alive = story.contains("alive") || story.contains("refreshes");
                            let dead = story.contains("dead") || story.contains("filtered");
                            if name == "plain" && (alive || dead) {
                                assert_eq!(real.last(), Some(&Came::Back(alive)), "{story}");
                            }
                        });
                    }
                });
            });
        }
    });
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn every_scenario_can_be_built() {
    for scenario in scenario::all() {
        let lab = NatLab::new(&scenario.network).unwrap();
        let server = bind(lab.server(), (scenario.server(), 4569));
        let client = bind(lab.client(), (scenario.network.client(), 4569));
        let second = bind(lab.server(), (scenario.second_server(), 4569));
        let through = |to: Ipv4Addr, at: &UdpSocket| {
            (0..20).any(|_| {
                client.send_to(b"hello", (to, 4569)).unwrap();
                receive(at).is_some()
            })
        };
        assert!(through(scenario.server(), &server), "{}", scenario.name);
        assert!(
            through(scenario.second_server(), &second),
            "{}",
            scenario.name
        );
        for (router, namespace) in scenario.network.routers.iter().zip(lab.routers()) {
            let file = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
            let stream = namespace.run(|| fs::read_to_string(file)).unwrap().unwrap();
            assert_eq!(stream.trim(), router.stream.as_secs().to_string());
        }
    }
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn programs_run_inside_and_die_with_their_guest() {
    let namespace = Namespace::new("host").unwrap();
    namespace
        .ip(&["link add probe type veth peer name other"])
        .unwrap();
    let mut guest = namespace
        .command(Command::new("ip").args(["link", "show", "probe"]))
        .unwrap();
    assert!(guest.wait().unwrap().success(), "the program sees the link");
    let net = format!("--net={}", namespace.path().display());
    let entered = Command::new("nsenter")
        .args([&net, "ip", "link", "show", "probe"])
        .output()
        .unwrap();
    assert!(
        entered.status.success(),
        "and so does one that enters by the path"
    );
    let guest = namespace.command(Command::new("sleep").arg("600")).unwrap();
    let process = format!("/proc/{}", guest.id());
    assert!(Path::new(&process).exists());
    drop(guest);
    assert!(!Path::new(&process).exists());
}

#[test]
#[ignore = "needs network namespaces, ip and nft"]
fn errors_name_the_place_and_the_order() {
    let namespace = Namespace::new("somewhere").unwrap();
    let error = namespace
        .ip(&["link set lo up", "address add nonsense dev lo"])
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LabError::Program { .. }), "{text}");
    assert!(
        text.contains("`somewhere`") && text.contains("address add nonsense dev lo"),
        "{text}"
    );
    let text = namespace.nft("table ip half {").unwrap_err().to_string();
    assert!(text.contains("nft: table ip half {"), "{text}");
    let text = namespace
        .setting("net.no.such", "1")
        .unwrap_err()
        .to_string();
    assert!(text.contains("net.no.such"), "{text}");
    let text = namespace
        .bind("192.0.2.1:1".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(text.contains("192.0.2.1:1"), "{text}");
}

#[test]
#[ignore = "needs root, setpriv, network namespaces, ip and nft"]
fn an_ordinary_user_can_build_a_lab() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--example", "virtual_nat", "--profile"])
        .arg(if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        })
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .status()
        .unwrap();
    assert!(built.success());
    let tests = std::env::current_exe().unwrap();
    let example = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/virtual_nat");
    // The user may not be allowed to look into the build folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("virtual_nat");
    fs::copy(example, &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        text.trim(),
        "UserNamespace: 192.168.1.10:4569 is seen as 198.51.100.7:4569 behind the NAT",
        "{problem}"
    );
}
