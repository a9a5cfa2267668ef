//! A small world for the guardian: a NAT with the timers and the taints of Linux, Asterisk with its
//! retries, providers, and a shell that looks as often as it is asked to. Time is counted, never waited.

use std::time::{Duration, Instant, SystemTime};

use iax2_natcheck::{
    check::taint::Kind,
    guard::{
        action::{Action, ActionId, ActionOutcome, ActionResult, Decision},
        diagnosis::{Diagnosis, GuardEvent, Incident},
        machine::Guard,
        observation::{
            Audio, CallUp, FlowEntry, Observation, Observer, OwnPortFrame, PokeOutcome, Process,
            ProviderId, RegistryState, Seen, TimerClass, Wan,
        },
        policy::{Policy, ProviderPolicy},
        state::Saved,
    },
    types::PeerAddr,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::laws::Laws;

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the provider would see as the source of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Wan(u32),
    Private,
    Inner,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Source,
    made: Instant,
    stream: bool,
    expires: Instant,
}

/// A registration as Asterisk runs it: sent at 0, 2, 12 and 22 s, given up at 32 s, again at 50 s.
#[derive(Clone, Copy, Debug)]
struct Registration {
    state: RegistryState,
    began: Instant,
    sent: u8,
    due: Instant,
}

const SENT_AT: [u64; 4] = [0, 2, 12, 22];

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of a test")]
pub struct Line {
    /// The provider answers.
    pub up: bool,
    /// It lets the account in.
    pub accepts: bool,
    /// It refuses tokens.
    pub refuses_token: bool,
    /// It answers POKEs.
    pub answers_poke: bool,
    peer: PeerAddr,
    entry: Option<Entry>,
    registration: Registration,
    /// The source that the registrar keeps, and until when.
    binding: Option<(u32, Instant)>,
    held_until: Option<Instant>,
    keep_open: Option<(Duration, Instant)>,
    poked: Instant,
    asked: Instant,
    looked: Instant,
    /// A call with audio both ways until then.
    pub call: Option<Instant>,
}

/// How the PBX stands to its NAT, and what its observers see.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The guardian runs on the router.
    pub router: bool,
    /// Asterisk's port is watched.
    pub capture: bool,
}

pub struct World {
    pub now: Instant,
    pub guard: Guard,
    pub lines: Vec<Line>,
    pub laws: Laws,
    pub events: Vec<GuardEvent>,
    pub decisions: Vec<(Instant, Decision)>,
    pub incidents: Vec<Incident>,
    site: Site,
    pub asterisk: Process,
    wan: Wan,
    /// The generation of the WAN's address.
    address: u32,
    /// While the WAN is down, packets leave by another way, untranslated.
    pub fallback: bool,
    /// Every so many packets, one is lost; none with 0.
    pub loss: u32,
    exchange: Duration,
    stream: Duration,
    module_due: Option<(Instant, ActionId)>,
    outcome: Option<(Instant, ActionOutcome)>,
    told_wan: Option<Wan>,
    told_calls: Vec<ProviderId>,
    rng: StdRng,
    pub keeps_all: bool,
}

impl World {
    /// A world in which all is well, of so many providers.
    pub fn new(site: Site, policy: Policy, seed: u8) -> Self {
        let base = Instant::now();
        let lines = (1..=policy.providers.len())
            .map(|n| Line {
                up: true,
                accepts: true,
                refuses_token: false,
                answers_poke: true,
                peer: PeerAddr::new(format!("203.0.113.{n}:4569").parse().unwrap()),
                entry: None,
                registration: Registration {
                    state: RegistryState::Unregistered,
                    began: base,
                    sent: 0,
                    due: base + Duration::from_millis(10 * n as u64),
                },
                binding: None,
                held_until: None,
                keep_open: None,
                poked: base,
                asked: base,
                looked: base,
                call: None,
            })
            .collect();
        let per_hour = policy.per_hour;
        let mut world = Self {
            now: base,
            guard: Guard::new(policy, [seed; 32], base),
            lines,
            laws: Laws::new(per_hour),
            events: vec![],
            decisions: vec![],
            incidents: vec![],
            site,
            asterisk: Process::Up,
            wan: Wan {
                link: Some(true),
                address: None,
                has_address: Some(true),
                route: Some(true),
            },
            address: 1,
            fallback: false,
            loss: 0,
            exchange: s(30),
            stream: s(120),
            module_due: None,
            outcome: None,
            told_wan: None,
            told_calls: vec![],
            rng: StdRng::from_seed([seed; 32]),
            keeps_all: true,
        };
        world.tell_host();
        world
    }

    /// A policy for so many providers, everything usual allowed.
    pub fn policy(providers: u8) -> Policy {
        Policy {
            providers: (0..providers)
                .map(|n| ProviderPolicy::new(&format!("p{n}")))
                .collect(),
            ..Policy::default()
        }
    }

    /// The WAN goes down or up again. Going down, masqueraded entries are cleared where `clears`.
    pub fn set_wan(&mut self, up: bool, clears: bool) {
        self.wan.link = Some(up);
        self.wan.route = Some(up || self.fallback);
        if !up && clears {
            for line in &mut self.lines {
                line.entry = None;
            }
        }
        self.tell_wan();
    }

    /// The link is up and routed, and has no address yet, or has one again.
    pub fn set_address(&mut self, has: bool) {
        self.wan.has_address = Some(has);
        self.tell_wan();
    }

    /// Another address, while the link stays up: entries are not cleared.
    pub fn change_address(&mut self) {
        self.address += 1;
        let last = u8::try_from(self.address % 250).unwrap();
        self.wan.address = Some([198, 51, 100, last].into());
        self.tell_wan();
    }

    /// The entry of a provider becomes what was made in a bad moment.
    pub fn taint(&mut self, line: usize) {
        let (now, expires) = (self.now, self.now + self.exchange);
        self.lines[line].entry = Some(Entry {
            source: Source::Private,
            made: now,
            stream: false,
            expires,
        });
    }

    /// Asterisk ends, or runs again as another process.
    pub fn set_asterisk(&mut self, runs: bool) {
        self.asterisk = if runs { Process::Up } else { Process::Down };
        for line in &mut self.lines {
            line.call = None;
        }
        if runs {
            self.observe(Seen::Asterisk(Process::Restarted));
            self.start_registrations();
        }
        self.tell_host();
    }

    /// The guardian is killed and starts again from what it saved last; `wall` passes meanwhile.
    pub fn kill(&mut self, away: Duration) {
        let saved: Saved = {
            let saved = self.guard.save(SystemTime::UNIX_EPOCH + s(1_000_000));
            serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap()
        };
        // A table with an owner goes with it, and so do keepalives and what it was doing.
        for line in &mut self.lines {
            line.held_until = None;
            line.keep_open = None;
        }
        self.module_due = None;
        self.outcome = None;
        let policy = self.guard.policy().clone();
        self.advance_world(away);
        let wall = SystemTime::UNIX_EPOCH + s(1_000_000) + away;
        self.guard = Guard::restore(policy, &saved, [9; 32], self.now, wall);
        self.told_wan = None;
        self.laws.restarted();
        self.tell_host();
    }

    /// Whether a call of the provider would reach the PBX now.
    pub fn reaches(&self, line: usize) -> bool {
        let line = &self.lines[line];
        let right = Source::Wan(self.address);
        self.wan_works()
            && line.up
            && self.asterisk == Process::Up
            && line.held_until.is_none_or(|until| until <= self.now)
            && line
                .entry
                .is_some_and(|entry| entry.source == right && entry.expires > self.now)
            && line
                .binding
                .is_some_and(|(source, until)| source == self.address && until > self.now)
    }

    pub fn diagnosis(&self, line: u16) -> Diagnosis {
        self.guard.diagnosed(ProviderId(line)).unwrap().diagnosis
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next(true).filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step(true);
        }
        self.now = end;
        self.guard.handle_timeout(end);
        self.drain();
    }

    /// Runs until `done`, at most `limit`; how long that was.
    pub fn until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        while !done(self) {
            let passed = self.now - begin;
            assert!(passed < limit, "not within {limit:?}\n{}", self.story());
            self.run(Duration::from_millis(100));
        }
        self.now - begin
    }

    /// What happened, for a failing test.
    pub fn story(&self) -> String {
        let mut lines: Vec<String> = self
            .events
            .iter()
            .map(|event| self.line_of(event))
            .collect();
        let from = lines.len().saturating_sub(80);
        lines.drain(..from);
        lines.join("\n")
    }

    fn line_of(&self, event: &GuardEvent) -> String {
        let ago = |at: Instant| format!("{:8.1} s ago", (self.now - at).as_secs_f64());
        match event {
            GuardEvent::Diagnosed {
                provider,
                at,
                diagnosed,
            } => format!("{} {provider:?} {diagnosed:?}", ago(*at)),
            GuardEvent::Decided(decision) => {
                let mut all = self.decisions.iter();
                let at = all.find(|(_, taken)| taken.id == decision.id);
                let at = at.map(|(at, _)| ago(*at)).unwrap_or_default();
                let (provider, action) = (decision.provider, &decision.action);
                format!("{at} {provider:?} → {action}")
            }
            GuardEvent::Began(incident) => format!("{} began", ago(incident.began)),
            GuardEvent::Ended(incident) => format!(
                "{} ended: {:?} unreachable {:?}",
                ago(incident.ended.unwrap()),
                incident.cause,
                incident.unreachable
            ),
            other => format!("{other:?}"),
        }
    }

    fn advance_world(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next(false).filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step(false);
        }
        self.now = end;
    }

    fn wan_works(&self) -> bool {
        self.wan.link == Some(true) && self.wan.has_address == Some(true)
    }

    /// The next instant at which anything happens.
    fn next(&self, watched: bool) -> Option<Instant> {
        let mut due = vec![];
        for (id, line) in (0..).zip(&self.lines) {
            due.push(line.registration.due);
            due.extend(line.keep_open.map(|(_, next)| next));
            if watched {
                let cadence = self.guard.cadence(ProviderId(id));
                due.push(line.poked + cadence.poke);
                due.push(line.asked + cadence.registry);
                if self.site.router {
                    due.push(line.looked + cadence.entry);
                }
            }
        }
        if watched {
            due.extend(self.module_due.map(|(at, _)| at));
            due.extend(self.outcome.as_ref().map(|(at, _)| *at));
            due.extend(self.guard.poll_timeout().map(|(at, _)| at));
        }
        due.into_iter().min()
    }

    fn step(&mut self, watched: bool) {
        let now = self.now;
        if watched {
            if let Some((_, id)) = self.module_due.take_if(|(at, _)| *at <= now) {
                self.asterisk = Process::Up;
                self.start_registrations();
                self.outcome = Some((
                    now,
                    ActionOutcome {
                        id,
                        result: ActionResult::Done,
                    },
                ));
                self.tell_host();
            }
            if let Some((_, outcome)) = self.outcome.take_if(|(at, _)| *at <= now) {
                self.laws.ended();
                self.observe(Seen::Outcome(outcome));
            }
            if self.guard.poll_timeout().is_some_and(|(due, _)| due <= now) {
                self.guard.handle_timeout(now);
                let next = self.guard.poll_timeout();
                assert!(next.is_none_or(|(due, _)| due > now), "it spins: {next:?}");
                self.drain();
            }
        }
        for place in 0..self.lines.len() {
            if self.lines[place].registration.due <= now {
                self.turn_registration(place, watched);
            }
            if let Some((every, next)) = self.lines[place].keep_open
                && next <= now
            {
                self.lines[place].keep_open = Some((every, now + every));
                self.leave(place);
            }
            if watched {
                self.look(place);
            }
        }
    }

    fn look(&mut self, place: usize) {
        let now = self.now;
        let provider = ProviderId(u16::try_from(place).unwrap());
        let cadence = self.guard.cadence(provider);
        let line = &self.lines[place];
        if line.poked + cadence.poke <= now {
            let outcome = if self.wan_works() && line.up && line.answers_poke {
                let rtt = Duration::from_millis(10);
                PokeOutcome::Answered { rtt }
            } else if self.site.router && !self.wan_works() && !self.fallback {
                PokeOutcome::NotSent
            } else {
                PokeOutcome::Silent
            };
            self.lines[place].poked = now;
            self.observe(Seen::Poke { provider, outcome });
        }
        if self.lines[place].asked + cadence.registry <= now {
            self.lines[place].asked = now;
            if self.asterisk == Process::Up {
                self.tell_calls();
                let line = &self.lines[place];
                let registered = line.registration.state == RegistryState::Registered;
                let seen = Seen::Registry {
                    provider,
                    state: line.registration.state,
                    peer: Some(line.peer),
                    perceived: None,
                    refresh: registered.then_some(s(60)),
                };
                self.observe(seen);
            } else {
                self.tell_host();
            }
        }
        if self.site.router && self.lines[place].looked + cadence.entry <= now {
            self.lines[place].looked = now;
            let seen = self.entry(place);
            self.observe(Seen::Entry {
                provider,
                entry: seen,
            });
        }
    }

    fn entry(&self, place: usize) -> Option<FlowEntry> {
        let entry = self.lines[place]
            .entry
            .filter(|entry| entry.expires > self.now)?;
        let kind = match entry.source {
            Source::Wan(address) if address == self.address => Kind::Healthy,
            Source::Wan(_) => Kind::StaleSource,
            Source::Private => Kind::NullBinding,
            Source::Inner => Kind::WrongSourceMasquerade,
        };
        Some(FlowEntry {
            class: if entry.stream {
                TimerClass::Stream
            } else {
                TimerClass::Exchange
            },
            timer: Some(if entry.stream {
                self.stream
            } else {
                self.exchange
            }),
            left: Some(entry.expires - self.now),
            kind: self.wan_works().then_some(kind),
        })
    }

    fn start_registrations(&mut self) {
        for line in &mut self.lines {
            line.registration.began = self.now;
            line.registration.sent = 0;
            line.registration.due = self.now;
        }
    }

    /// A packet of Asterisk's leaves the PBX. Whether the provider gets it.
    fn leave(&mut self, place: usize) -> bool {
        let (now, works) = (self.now, self.wan_works());
        let routed = self.wan.link == Some(true) || self.fallback;
        let source = match (self.wan.link, self.wan.has_address) {
            (Some(true), Some(true)) => Source::Wan(self.address),
            (Some(true), _) => Source::Inner,
            _ => Source::Private,
        };
        let (exchange, stream) = (self.exchange, self.stream);
        let is_lost = self.loss > 0 && self.rng.random_range(0..self.loss) == 0;
        let line = &mut self.lines[place];
        if line.held_until.is_some_and(|until| until > now) || !routed {
            return false;
        }
        let entry = line
            .entry
            .take_if(|entry| entry.expires > now)
            .unwrap_or(Entry {
                source,
                made: now,
                stream: false,
                expires: now,
            });
        let timer = if entry.stream { stream } else { exchange };
        line.entry = Some(Entry {
            expires: now + timer,
            ..entry
        });
        works && entry.source == Source::Wan(self.address) && line.up && !is_lost
    }

    /// An answer comes back: what lasts longer than an exchange becomes a stream.
    fn answer(&mut self, place: usize) {
        let (now, stream, exchange) = (self.now, self.stream, self.exchange);
        if let Some(entry) = &mut self.lines[place].entry {
            entry.stream |= now.duration_since(entry.made) >= s(2);
            entry.expires = now + if entry.stream { stream } else { exchange };
        }
    }

    fn turn_registration(&mut self, place: usize, watched: bool) {
        let now = self.now;
        if self.asterisk != Process::Up {
            self.lines[place].registration.due = now + s(3600);
            return;
        }
        let registration = &mut self.lines[place].registration;
        if usize::from(registration.sent) == SENT_AT.len() {
            if registration.state == RegistryState::Timeout {
                registration.sent = 0;
                registration.began = now;
            } else {
                registration.state = RegistryState::Timeout;
                registration.due = registration.began + s(50);
                return;
            }
        }
        if registration.sent == 0 {
            registration.began = now;
        }
        let again = registration.sent > 0;
        registration.sent += 1;
        registration.state = RegistryState::RequestSent;
        let next = SENT_AT.get(usize::from(registration.sent)).copied();
        registration.due = registration.began + s(next.unwrap_or(32));
        let is_held = self.lines[place]
            .held_until
            .is_some_and(|until| until > now);
        let arrives = self.leave(place);
        if watched && !is_held {
            self.captured(place, OwnPortFrame::RegReq { again });
        }
        if !arrives {
            return;
        }
        self.answer(place);
        let (accepts, naked) = (self.lines[place].accepts, self.lines[place].refuses_token);
        let registration = &mut self.lines[place].registration;
        registration.sent = 0;
        registration.due = now + s(50);
        registration.state = if accepts && !naked {
            RegistryState::Registered
        } else {
            RegistryState::Rejected
        };
        if accepts && !naked {
            self.lines[place].binding = Some((self.address, now + s(70)));
        }
        if watched {
            self.captured(place, OwnPortFrame::Challenge);
            let refresh = Some(s(60));
            self.captured(
                place,
                match (naked, accepts) {
                    (true, _) => OwnPortFrame::NakedReject,
                    (_, true) => OwnPortFrame::RegAck {
                        apparent: None,
                        refresh,
                    },
                    _ => OwnPortFrame::RegRej {
                        cause: None,
                        code: None,
                    },
                },
            );
        }
    }

    fn captured(&mut self, place: usize, frame: OwnPortFrame) {
        if self.site.capture {
            let provider = ProviderId(u16::try_from(place).unwrap());
            self.observe(Seen::OwnPort { provider, frame });
        }
    }

    fn tell_host(&mut self) {
        self.tell_wan();
        self.observe(Seen::Asterisk(self.asterisk));
    }

    fn tell_wan(&mut self) {
        let wan = if self.site.router {
            self.wan
        } else {
            Wan {
                link: Some(true),
                address: None,
                has_address: Some(true),
                route: Some(true),
            }
        };
        if self.told_wan.replace(wan) != Some(wan) {
            self.observe(Seen::Wan(wan));
            // A shell looks at once when the way changes.
            for line in &mut self.lines {
                for last in [&mut line.poked, &mut line.asked, &mut line.looked] {
                    *last = last.checked_sub(s(3600)).unwrap();
                }
            }
        }
    }

    fn tell_calls(&mut self) {
        let now = self.now;
        self.told_calls = (0..)
            .zip(&self.lines)
            .filter(|(_, line)| line.call.is_some_and(|until| until > now))
            .map(|(id, _)| ProviderId(id))
            .collect();
        let calls = self.told_calls.iter().map(|id| CallUp {
            provider: Some(*id),
            audio: Audio::Both,
        });
        let calls = calls.collect();
        self.observe(Seen::Calls(calls));
    }

    /// An observer goes blind, or sees again.
    pub fn blind(&mut self, observer: Observer, blind: bool) {
        self.observe(if blind {
            let reason = "a test".to_owned();
            Seen::Blind { observer, reason }
        } else {
            Seen::Sees(observer)
        });
    }

    fn observe(&mut self, seen: Seen) {
        let at = self.now;
        self.guard.handle_observation(Observation { at, seen }, at);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.guard.poll_event() {
            if let GuardEvent::Ended(incident) = &event {
                self.incidents.push(incident.clone());
            }
            if self.keeps_all {
                self.events.push(event);
            }
        }
        while let Some(decision) = self.guard.poll_action() {
            let diagnosis = self.guard.diagnosed(decision.provider).unwrap().diagnosis;
            self.laws
                .decided(&decision, diagnosis, &self.told_calls, self.now);
            self.act(&decision);
            self.decisions.push((self.now, decision));
        }
    }

    fn act(&mut self, decision: &Decision) {
        let now = self.now;
        let place = usize::from(decision.provider.0);
        match &decision.action {
            Action::Hold { lasting, .. } | Action::Quiet { lasting, .. } => {
                self.lines[place].held_until = Some(now + *lasting);
            }
            Action::Release { .. } => self.lines[place].held_until = None,
            Action::DeleteEntry { .. } => self.lines[place].entry = None,
            Action::Reregister => self.start_registrations(),
            Action::KeepOpen { every, .. } => self.lines[place].keep_open = Some((*every, now)),
            Action::StopKeepOpen { .. } => self.lines[place].keep_open = None,
            Action::ReloadModule { pause } => {
                self.asterisk = Process::NoModule;
                self.module_due = Some((now + *pause, decision.id));
                return;
            }
            Action::LoadModule => {
                self.asterisk = Process::Up;
                self.start_registrations();
            }
            Action::Run { .. } | Action::Notify { .. } => {}
        }
        let outcome = ActionOutcome {
            id: decision.id,
            result: ActionResult::Done,
        };
        self.outcome = Some((now + Duration::from_millis(20), outcome));
    }
}
