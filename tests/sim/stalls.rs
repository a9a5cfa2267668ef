//! Stalls: a host that is descheduled or suspended, a reflector that hangs or begins anew, a line that
//! goes away for a while. None of them may be taken for the NAT forgetting.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::{
        link::{Faults, LinkConfig},
        nat::{NatConfig, Timers},
        world::World,
    },
    probe::{
        behaviour::Shape,
        evidence::LifetimeEvidence,
        lifetime::{Answerer, Lifetime, LifetimeConfig},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, earlier},
    types::PeerAddr,
};

use crate::support::{
    CLIENT, EXTERNAL, SERVER, ip, peer, provider, provider_with_key, seconds, seed, site, sockets,
};

/// What a machine that does not run is spared of what arrives meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrivals {
    /// It stays in the socket's buffer, and is read after the first overdue deadline was handled.
    Buffered,
    /// It is lost: the host sleeps.
    Lost,
}

/// A machine that does not run between two instants, again and again.
struct Stalling<M> {
    machine: M,
    stalls: Vec<(Instant, Instant)>,
    arrivals: Arrivals,
    buffer: Vec<(SocketKey, PeerAddr, Vec<u8>)>,
    now: Rc<RefCell<Instant>>,
}

impl<M: Machine> Stalling<M> {
    fn new(machine: M, stalls: Vec<(Instant, Instant)>, arrivals: Arrivals, now: Instant) -> Self {
        Self {
            machine,
            stalls,
            arrivals,
            buffer: Vec::new(),
            now: Rc::new(RefCell::new(now)),
        }
    }

    fn stalled_until(&self, at: Instant) -> Option<Instant> {
        let stall = self
            .stalls
            .iter()
            .find(|(from, to)| *from <= at && at < *to);
        stall.map(|(_, to)| *to)
    }
}

impl<M: Machine> Machine for Stalling<M> {
    type Event = M::Event;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        *self.now.borrow_mut() = now;
        let is_stalled = self.stalled_until(now).is_some();
        if let Input::Datagram {
            socket,
            source,
            payload,
        } = input
            && is_stalled
        {
            if self.arrivals == Arrivals::Buffered {
                self.buffer.push((socket, source, payload.to_vec()));
            }
            return;
        }
        self.machine.handle_input(input, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        *self.now.borrow_mut() = now;
        self.machine.handle_timeout(now);
        for (socket, source, payload) in std::mem::take(&mut self.buffer) {
            let input = Input::Datagram {
                socket,
                source,
                payload: &payload,
            };
            self.machine.handle_input(input, now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.machine.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.machine.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let buffered = (!self.buffer.is_empty()).then(|| (*self.now.borrow(), "read what came"));
        let (due, reason) = earlier(buffered, self.machine.poll_timeout())?;
        Some((self.stalled_until(due).unwrap_or(due), reason))
    }
}

#[derive(Clone)]
struct Case {
    /// The NAT's timers for exchanges and streams, in seconds.
    timers: (u64, u64),
    longest: u64,
    /// In milliseconds since the beginning, each.
    client: Vec<(u64, u64)>,
    arrivals: Arrivals,
    server: Vec<(u64, u64)>,
    outages: Vec<(u64, u64)>,
    /// When the server begins anew, with other keys.
    restart: Option<u64>,
}

impl Case {
    fn sound() -> Self {
        Self {
            timers: (30, 40),
            longest: 60,
            client: vec![],
            arrivals: Arrivals::Buffered,
            server: vec![],
            outages: vec![],
            restart: None,
        }
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn run(case: &Case) -> LifetimeEvidence {
    let start = Instant::now();
    let at = |stalls: &[(u64, u64)]| -> Vec<(Instant, Instant)> {
        let instants = stalls
            .iter()
            .map(|(from, to)| (start + ms(*from), start + ms(*to)));
        instants.collect()
    };
    let mut world = World::new(start);
    let (exchange, stream) = case.timers;
    let nat = NatConfig {
        timers: Timers::linux(seconds(exchange), seconds(stream)),
        ..NatConfig::linux(ip(EXTERNAL))
    };
    let site = site(&mut world, vec![nat], 0.0, 1);
    let sockets = sockets();
    let machine = Stalling::new(
        provider(Vec::new(), &sockets, 1, start),
        at(&case.server),
        Arrivals::Buffered,
        start,
    );
    let server = world.server(sockets.clone(), machine);
    let config = LifetimeConfig {
        answerer: Answerer::Reflector(peer(SERVER)),
        control: SocketKey(4),
        first_socket: 100,
        shapes: Shape::ALL.to_vec(),
        longest: seconds(case.longest),
        idles: Vec::new(),
        budget: 1024,
        isolation: None,
        lossy: false,
        seed: seed(1),
    };
    let machine = Stalling::new(
        Lifetime::new(config, start),
        at(&case.client),
        case.arrivals,
        start,
    );
    let client = world.client(site, ip(CLIENT), machine);
    let mut changes: Vec<(u64, Faults)> = case
        .outages
        .iter()
        .flat_map(|(from, to)| [(*from, Faults::BLOCKED), (*to, Faults::NONE)])
        .collect();
    changes.sort_by_key(|(at, _)| *at);
    for (at, faults) in changes {
        world.run_until(start + ms(at));
        world.set_link(site, LinkConfig::both(faults, 1));
    }
    if let Some(at) = case.restart {
        world.run_until(start + ms(at));
        let fresh = provider_with_key([8; 16], Vec::new(), &sockets, 2, world.now());
        server.machine_mut().machine = fresh;
    }
    let ended = world.run_until_done(start + seconds(2000), || {
        client.machine().machine.is_finished()
    });
    assert!(ended, "the sweep does not end");
    client
        .machine()
        .machine
        .evidence()
        .expect("nothing measured")
}

/// The edge of a shape in seconds; 0 where an end of it is not known.
fn edge(evidence: &LifetimeEvidence, wanted: Shape) -> (u64, u64) {
    let (_, lifetime) = evidence
        .shapes
        .iter()
        .find(|(shape, _)| *shape == wanted)
        .unwrap();
    let seconds = |end: Option<Duration>| end.map_or(0, |end| end.as_secs());
    (seconds(lifetime.alive), seconds(lifetime.dead))
}

/// Asserts that no edge excludes the truth, and that each is no wider than `width` seconds.
#[track_caller]
fn assert_true(case: &Case, width: u64, name: &str) {
    let evidence = run(case);
    let (exchange, stream) = case.timers;
    for (shape, truth) in [
        (Shape::OneWay, exchange),
        (Shape::Exchange, exchange),
        (Shape::Stream, stream),
    ] {
        let (alive, dead) = edge(&evidence, shape);
        assert!(
            alive < truth && truth <= dead && dead - alive <= width,
            "{name}: {shape} lives {truth} s, found alive {alive} dead {dead}"
        );
    }
}

#[test]
fn a_descheduled_host_reads_before_it_judges() {
    // The last of each falls onto an edge.
    for length in [200, 400, 700] {
        for at in [600, 3_100, 15_900, 20_000, 28_900, 29_900, 38_900] {
            let case = Case {
                client: vec![(at, at + length)],
                ..Case::sound()
            };
            assert_true(&case, 2, &format!("{length} ms at {at} ms"));
        }
    }
    // Openings whose answers wait to be read are not made again.
    let unhindered = run(&Case::sound()).mappings;
    let case = Case {
        client: vec![(100, 800)],
        ..Case::sound()
    };
    assert_eq!(run(&case).mappings, unhindered);
    // On a busy host this happens all the time.
    let case = Case {
        client: (0..100)
            .map(|n| (n * 1000 + 777, n * 1000 + 1_077))
            .collect(),
        ..Case::sound()
    };
    assert_true(&case, 2, "300 ms every second");
}

#[test]
fn a_long_stall_only_widens_an_edge() {
    for arrivals in [Arrivals::Buffered, Arrivals::Lost] {
        for (from, to) in [
            (10_000, 11_000),
            (10_000, 13_500),
            (10_300, 18_700),
            (5_000, 29_000),
            (20_000, 36_000),
            (25_500, 45_500),
        ] {
            let case = Case {
                client: vec![(from, to)],
                arrivals,
                ..Case::sound()
            };
            let name = format!("{arrivals:?} {from} to {to} ms");
            let within = to < 29_000;
            assert_true(&case, if within { 2 } else { 30 }, &name);
        }
    }
}

#[test]
fn a_reflector_that_hangs_is_no_nat_that_forgets() {
    for (from, to) in [
        (10_000, 10_400),
        (10_000, 11_200),
        (10_500, 15_000),
        (8_000, 27_500),
    ] {
        let case = Case {
            server: vec![(from, to)],
            ..Case::sound()
        };
        assert_true(&case, 2, &format!("{from} to {to} ms"));
    }
}

#[test]
fn a_line_that_goes_away_is_no_nat_that_forgets() {
    for length in [500, 1_000, 1_500, 2_000, 4_000, 8_000] {
        for at in [9_700, 10_000, 10_250, 15_600] {
            let case = Case {
                outages: vec![(at, at + length)],
                ..Case::sound()
            };
            assert_true(&case, 2, &format!("{length} ms at {at} ms"));
        }
    }
    let case = Case {
        outages: (0..20)
            .map(|n| (2_000 * n + 5_000, 2_000 * n + 6_000))
            .collect(),
        ..Case::sound()
    };
    // Half of what is asked for is not known, and what is not known confirms no miss.
    assert_true(&case, 20, "every other second");
}

#[test]
fn a_reflector_that_begins_anew_proves_nothing_any_more() {
    let case = Case {
        restart: Some(12_500),
        ..Case::sound()
    };
    let evidence = run(&case);
    for (shape, _) in &evidence.shapes {
        let (alive, dead) = edge(&evidence, *shape);
        assert!(
            dead == 0 && (10..=12).contains(&alive),
            "{shape}: {alive} {dead}"
        );
    }
}

#[test]
fn a_sweep_outlasts_its_token() {
    let case = Case {
        timers: (640, 650),
        longest: 760,
        ..Case::sound()
    };
    assert_true(&case, 14, "longer than a token");
}
