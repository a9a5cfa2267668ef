//! What a report ought to say about a NAT, and whether one does. What is right follows from how the NAT is
//! configured and, on a line with loss, from the REGACKs that came through: they say under which addresses the
//! registrar saw the client, and when.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    check::{
        Context, FindingId, Judgement, Question, Severity, Verdict, judge, nat_kind::Behaviour,
    },
    lab::world::World,
    probe::{
        behaviour::{Dependence, Shape},
        evidence::Evidence,
        survey::{Survey, SurveyConfig, SurveyEvent, SweepPlan},
    },
    proto::{
        account::Account,
        auth::Credentials,
        contract::{Input, Machine, Transmit},
    },
    types::CallNumber,
    wire::iax2::{command::Command, frame::Frame, ie_value::Ie},
};

use crate::{
    kinds::Kind,
    support::{CLIENT, SERVER, ip, peer, provider, seconds, seed, site, sockets},
};

/// The registrar grants 60 s, so the client registers again after 50 s.
const REFRESH: u64 = 60;
const CYCLE: u64 = 50;
/// The longest idle time that is tried.
const LONGEST: u64 = 100;

/// A survey whose REGACKs are looked at as they come.
struct Witness {
    survey: Survey,
    /// When each registration was first acknowledged, and the address in it.
    seen: Vec<(Instant, CallNumber, SocketAddr)>,
}

impl Witness {
    fn look(&mut self, payload: &[u8], now: Instant) {
        let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
            return;
        };
        let call = frame.destination;
        if frame.command() != Some(Command::RegAck) || self.seen.iter().any(|it| it.1 == call) {
            return;
        }
        for element in frame.ies() {
            // A sockaddr_in: family, port, address.
            if let Ie::ApparentAddr(octets) = Ie::read(element)
                && let [_, _, high, low, a, b, c, d, ..] = *octets
            {
                let address = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
                self.seen.push((now, call, address.into()));
            }
        }
    }

    /// Whether the address changed from one registration to the next, as the finding that says so.
    fn change(&self) -> Option<(FindingId, Severity)> {
        let pairs = self.seen.windows(2);
        let changes: Vec<Duration> = pairs
            .filter(|pair| pair[0].2 != pair[1].2)
            .map(|pair| pair[1].0 - pair[0].0)
            .collect();
        let quick = changes.iter().any(|within| *within <= seconds(REFRESH));
        let finding = if quick {
            (FindingId::InconsistentNat, Severity::Critical)
        } else {
            (FindingId::MappingChanged, Severity::Warning)
        };
        (!changes.is_empty()).then_some(finding)
    }
}

impl Machine for Witness {
    type Event = SurveyEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram { payload, .. } = input {
            self.look(payload, now);
        }
        self.survey.handle_input(input, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.survey.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.survey.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<SurveyEvent> {
        self.survey.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.survey.poll_timeout()
    }
}

/// One run, and what came of it.
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) loss: f64,
    pub(crate) evidence: Evidence,
    pub(crate) judgement: Judgement,
    pub(crate) took: Duration,
    change: Option<(FindingId, Severity)>,
}

/// How the answers of one run compare with the truth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Answers that are wrong.
    pub(crate) wrong: Vec<String>,
    /// Questions without an answer, or with one that is wider than it could be.
    pub(crate) open: Vec<&'static str>,
}

/// Surveys a NAT of this kind.
pub(crate) fn run(kind: Kind, loss: f64, number: u64) -> Run {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = site(&mut world, kind.nats(number), loss, number);
    let sockets = sockets();
    let accounts = vec![Account::new("alice", "s3cret")];
    let machine = provider(accounts, &sockets, number, start);
    let _server = world.server(sockets, machine);
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret("alice", "s3cret")),
        sweep: Some(SweepPlan {
            longest: seconds(LONGEST),
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(peer(SERVER), seed(number))
    };
    let witness = Witness {
        survey: Survey::new(config, start),
        seen: Vec::new(),
    };
    let client = world.client(site, ip(CLIENT), witness);
    let ended = world.run_until_done(start + seconds(1200), || {
        client.machine().survey.is_finished()
    });
    assert!(ended, "the survey does not end: {number} {kind:?}");
    let context = Context {
        question: Question::Reachability,
        provider: peer(SERVER),
        credentials: true,
        refresh: None,
        device: None,
    };
    let evidence = client.machine().survey.evidence();
    let judgement = judge(&evidence, &context);
    Run {
        kind,
        loss,
        judgement,
        took: world.now() - start,
        change: client.machine().change(),
        evidence,
    }
}

impl Run {
    /// The findings that belong into the report.
    fn true_findings(&self) -> BTreeMap<FindingId, Severity> {
        let (exchange, _) = self.kind.timers;
        let mut findings = BTreeMap::new();
        // Thousandths of the time in which calls come in.
        let severity = match exchange.min(CYCLE) * 1000 / CYCLE {
            ..950 => Some(Severity::Critical),
            950..1000 => Some(Severity::Warning),
            _ => None,
        };
        findings.extend(severity.map(|severity| (FindingId::ShortMappingTimeout, severity)));
        let depends = matches!(
            self.kind.behaviour(),
            Behaviour::Known(Dependence::AddressDependent | Dependence::AddressAndPortDependent)
        );
        if depends {
            findings.insert(FindingId::InconsistentNat, Severity::Warning);
        }
        findings.extend(self.change);
        findings
    }

    /// Compares every answer with the truth.
    pub(crate) fn marks(&self) -> Marks {
        let mut marks = Marks::default();
        self.mark_findings(&mut marks);
        self.mark_kind(&mut marks);
        self.mark_lifetimes(&mut marks);
        if self.loss == 0.0 {
            // Without loss the REGACKs say what follows from the configuration alone.
            let renewed = self.took > seconds(CYCLE + 1);
            let moves = self.kind.moves_after(CYCLE).map(|moves| moves && renewed);
            if moves.is_some_and(|moves| moves != self.change.is_some()) {
                marks.wrong.push(format!("the world: {:?}", self.change));
            }
            for open in &marks.open {
                marks.wrong.push(format!("{open} is open"));
            }
        }
        marks
    }

    fn mark_findings(&self, marks: &mut Marks) {
        let truth = self.true_findings();
        let found: BTreeMap<FindingId, Severity> = self
            .judgement
            .findings
            .iter()
            .map(|found| (found.id, found.severity))
            // Two boxes in a row are looked at by themselves.
            .filter(|(id, _)| *id != FindingId::DoubleNat)
            .collect();
        if found.contains_key(&FindingId::NotMeasured) {
            marks.open.push("verdict");
            let known = found
                .iter()
                .filter(|(id, _)| **id != FindingId::NotMeasured);
            for (id, severity) in known {
                if truth.get(id) != Some(severity) {
                    marks
                        .wrong
                        .push(format!("{id} {severity:?} beside {truth:?}"));
                }
            }
            return;
        }
        if found != truth {
            marks.wrong.push(format!("{found:?} for {truth:?}"));
        }
        let verdict = match found.values().max() {
            None => Verdict::Ok,
            Some(Severity::Warning) => Verdict::Warning,
            Some(Severity::Critical) => Verdict::Critical,
            Some(Severity::Unknown) => Verdict::Unknown,
        };
        let doubled = self.judgement.has(FindingId::DoubleNat);
        if self.judgement.verdict
            != if doubled {
                verdict.max(Verdict::Warning)
            } else {
                verdict
            }
        {
            marks.wrong.push(format!("{:?}", self.judgement.verdict));
        }
        // That a flow is kept by two boxes need not show where packets are lost.
        if doubled && !self.kind.shows_two() {
            marks.wrong.push("two boxes".into());
        } else if doubled != self.kind.shows_two() && self.kind.pairs() {
            // A reflector's token is good for one address alone, and where sockets have several, some go without.
            marks.open.push("hops");
        }
    }

    fn mark_kind(&self, marks: &mut Marks) {
        let nat = self.judgement.nat.map(|nat| nat.behaviour);
        let known = |behaviour: Option<Behaviour>| behaviour.filter(|it| *it != Behaviour::Unknown);
        marks.mark("mapping", known(nat), self.kind.behaviour());
        marks.mark(
            "filtering",
            known(self.judgement.filtering),
            self.kind.filter(),
        );
        let depth = self.judgement.depth.unwrap_or_default();
        marks.mark("ports", depth.allocation, self.kind.ports());
        marks.mark("pool", depth.one_address, self.kind.pairs());
        marks.mark("load", depth.stays, true);
    }

    fn mark_lifetimes(&self, marks: &mut Marks) {
        let (exchange, stream) = self.kind.timers;
        let Some(lifetime) = &self.evidence.lifetime else {
            marks.open.push("lifetimes");
            return;
        };
        for (shape, seen) in &lifetime.shapes {
            let truth = match shape {
                Shape::OneWay | Shape::Exchange => exchange,
                Shape::Stream => stream,
            };
            let (alive, dead) = (seen.alive, seen.dead);
            let lies = alive.is_some_and(|alive| alive >= seconds(truth))
                || dead.is_some_and(|dead| dead < seconds(truth))
                || (seen.outlived && truth <= LONGEST);
            if lies {
                marks
                    .wrong
                    .push(format!("{shape}: {alive:?} {dead:?} for {truth} s"));
            }
            let is_exact = if truth > LONGEST {
                seen.outlived
            } else {
                alive == Some(seconds(truth - 1)) && dead == Some(seconds(truth))
            };
            if !is_exact {
                marks.open.push(shape.as_str());
            }
        }
        if exchange < LONGEST {
            let found = lifetime.inbound_refreshes;
            marks.mark("inbound refresh", found, self.kind.inbound_refreshes);
        } else if lifetime.inbound_refreshes.is_some() {
            marks.wrong.push("inbound refresh of what outlived".into());
        }
        if self
            .evidence
            .busy
            .as_ref()
            .is_some_and(|busy| busy.dead.is_some())
        {
            marks
                .wrong
                .push(format!("absolute: {:?}", self.evidence.busy));
        }
        let fraction = self.judgement.reachable.map(|reachable| reachable.open);
        let open = match fraction {
            None => None,
            Some(open) => Some(open.map_or(CYCLE, |open| open.as_secs().min(CYCLE))),
        };
        let truth = exchange.min(CYCLE);
        match open {
            None => marks.open.push("reachable"),
            Some(open) if open == truth => {}
            // What lies between was not told.
            Some(open) if self.loss > 0.0 && (truth..=truth + 3).contains(&open) => {
                marks.open.push("reachable");
            }
            Some(open) => marks.wrong.push(format!("open for {open} s of {CYCLE} s")),
        }
    }
}

impl Marks {
    fn mark<T: PartialEq + std::fmt::Debug>(
        &mut self,
        name: &'static str,
        found: Option<T>,
        truth: T,
    ) {
        match found {
            None => self.open.push(name),
            Some(found) if found == truth => {}
            Some(found) => self.wrong.push(format!("{name}: {found:?} for {truth:?}")),
        }
    }

    /// Whether what the report is read for is open: the verdict, the kind of NAT, whom it lets in, when calls come in.
    pub(crate) fn is_unknown(&self) -> bool {
        const MAIN: [&str; 4] = ["verdict", "mapping", "filtering", "reachable"];
        self.open.iter().any(|open| MAIN.contains(open))
    }
}
