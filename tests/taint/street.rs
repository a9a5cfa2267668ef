//! A PBX that retries, its router with two ways out, and a provider that echoes: the place where
//! taints arise.
//!
//! ```text
//! pbx ── lan0 router ppp0 ── isp0 net
//! .10    192.168.1.1 │       provider 203.0.113.1 on lo
//!                    eth1 ── isp1
//!                    192.168.100.2
//! ```

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::UdpSocket,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use iax2_natcheck::lab::kernel::Namespace;

pub(crate) const PBX: &str = "192.168.1.10";
pub(crate) const PROVIDER: &str = "203.0.113.1";
pub(crate) const WAN: &str = "198.51.100.7";
pub(crate) const NEW_WAN: &str = "198.51.100.8";
pub(crate) const SECOND: &str = "192.168.100.2";

/// From one retry to the next.
const RETRY: Duration = Duration::from_millis(500);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hosts, which vanish with this.
pub(crate) struct Street {
    pub(crate) pbx: Namespace,
    pub(crate) router: Namespace,
    pub(crate) net: Namespace,
}

impl Street {
    /// Builds it: the WAN is up, has its address and the default route.
    pub(crate) fn new() -> Self {
        let street = Self {
            pbx: Namespace::new("pbx").unwrap(),
            router: Namespace::new("router").unwrap(),
            net: Namespace::new("net").unwrap(),
        };
        // The LAN first: MASQUERADE takes the first address that it finds.
        street.pbx.connect("eth0", &street.router, "lan0").unwrap();
        street.router.connect("ppp0", &street.net, "isp0").unwrap();
        street.router.connect("eth1", &street.net, "isp1").unwrap();
        street
            .pbx
            .ip(&[
                "address add 192.168.1.10/24 dev eth0",
                "address add fd00::10/64 dev eth0 nodad",
                "route add default via 192.168.1.1",
                "route add default via fd00::1 dev eth0",
            ])
            .unwrap();
        street
            .router
            .ip(&[
                "address add 192.168.1.1/24 dev lan0",
                "address add fd00::1/64 dev lan0 nodad",
                "address add 192.168.100.2/24 dev eth1",
            ])
            .unwrap();
        street
            .net
            .ip(&[
                "address add 203.0.113.1/32 dev lo",
                "address add 2001:db8::1/128 dev lo nodad",
                "address add 192.168.100.1/24 dev isp1",
                "address add 2001:db8:7::1/64 dev isp0 nodad",
            ])
            .unwrap();
        street.router.forward().unwrap();
        // As on a router with a firewall, connections are tracked whatever the NAT rules are.
        street.nft(
            "table inet track {\nchain forward {\ntype filter hook forward priority 10\n\
             ct state new counter\n}\n}",
        );
        street.router.udp_timeouts(20, 40).unwrap();
        street.wan_up(WAN);
        street
    }

    /// Gives the router orders of `ip`.
    pub(crate) fn ip(&self, orders: &[&str]) {
        self.router.ip(orders).unwrap();
    }

    /// Loads nft rules on the router.
    pub(crate) fn nft(&self, rules: &str) {
        self.router.nft(&format!("{rules}\n")).unwrap();
    }

    /// Loads rules with a program of the iptables family.
    pub(crate) fn restore(&self, program: &str, rules: &str) {
        let mut command = Command::new(program);
        command
            .args(["-w", "30"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self.router.run(|| command.spawn()).unwrap().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}\n{rules}");
    }

    /// The WAN comes up as pppd brings it up.
    pub(crate) fn wan_up(&self, address: &str) {
        self.ip(&["link set ppp0 up"]);
        self.address(address);
        self.ip(&["route replace default dev ppp0 metric 100"]);
    }

    /// Only the address: local and peer. The provider's side sends nothing to one of before.
    pub(crate) fn address(&self, address: &str) {
        self.net
            .ip(&[
                "route flush proto 99",
                &format!("route add {address} dev isp0 proto 99"),
            ])
            .unwrap();
        self.ip(&[&format!(
            "address replace {address} peer 198.51.100.1/32 dev ppp0"
        )]);
    }

    /// The WAN goes down; its address stays as that of a static line does.
    pub(crate) fn wan_down(&self) {
        self.ip(&["link set ppp0 down"]);
    }

    /// A way to start a program on the router.
    pub(crate) fn on_router(&self) -> impl Fn(&mut Command) -> io::Result<Child> {
        on(&self.router)
    }

    /// Begins to retry from the PBX.
    pub(crate) fn retry(&self) -> Retrying {
        Retrying::begin(
            self.pbx
                .bind((PBX.parse::<std::net::Ipv4Addr>().unwrap(), 4569).into()),
            self.net
                .bind((PROVIDER.parse::<std::net::Ipv4Addr>().unwrap(), 4569).into()),
            "203.0.113.1:4569",
        )
    }

    /// The same in IPv6.
    pub(crate) fn retry_v6(&self) -> Retrying {
        Retrying::begin(
            self.pbx.bind("[fd00::10]:4569".parse().unwrap()),
            self.net.bind("[2001:db8::1]:4569".parse().unwrap()),
            "[2001:db8::1]:4569",
        )
    }
}

/// A way to start a program on a host.
pub(crate) fn on(host: &Namespace) -> impl Fn(&mut Command) -> io::Result<Child> {
    |command: &mut Command| host.run(|| command.spawn()).map_err(io::Error::other)?
}

/// A client that retries every half second, and the server that answers it.
pub(crate) struct Retrying {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    sent: AtomicU32,
    answered: Mutex<BTreeSet<u32>>,
}

impl Retrying {
    fn begin<E: std::fmt::Debug>(
        client: Result<UdpSocket, E>,
        server: Result<UdpSocket, E>,
        to: &'static str,
    ) -> Self {
        let (client, server) = (client.unwrap(), server.unwrap());
        for socket in [&client, &server] {
            socket.set_nonblocking(true).unwrap();
        }
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                let number = shared.sent.load(Ordering::SeqCst) + 1;
                // Without a route the packet does not leave; the retry counts all the same.
                let _ = client.send_to(&number.to_be_bytes(), to);
                shared.sent.store(number, Ordering::SeqCst);
                let next = Instant::now() + RETRY;
                while Instant::now() < next {
                    let mut octets = [0; 4];
                    while let Ok((4, from)) = server.recv_from(&mut octets) {
                        let _ = server.send_to(&octets, from);
                    }
                    while let Ok((4, _)) = client.recv_from(&mut octets) {
                        let mut answered = shared.answered.lock().unwrap();
                        answered.insert(u32::from_be_bytes(octets));
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Self {
            state,
            thread: Some(thread),
        }
    }

    /// Waits until this many more packets were sent, and had the time to be answered.
    pub(crate) fn packets(&self, count: u32) -> u32 {
        let before = self.state.sent.load(Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        // The next one begins only when the time of the one before is over.
        while self.state.sent.load(Ordering::SeqCst) <= before + count {
            assert!(Instant::now() < deadline, "no retries");
            thread::sleep(Duration::from_millis(10));
        }
        let answered = self.state.answered.lock().unwrap();
        let answered = answered.range(before + 1..=before + count).count();
        u32::try_from(answered).unwrap()
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
