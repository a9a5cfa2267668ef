//! A small world for the guardian: a NAT with the timers and the taints of Linux, Asterisk with its
//! retries, providers, and a shell that looks as often as it is asked to. Time is counted, never waited.

#[path = "packets.rs"]
mod packets;
#[path = "shell.rs"]
mod shell;

use std::time::{Duration, Instant, SystemTime};

use iax2_natcheck::{
    guard::{
        action::{ActionId, ActionKind, ActionOutcome, ActionResult, Decision},
        diagnosis::{Diagnosis, GuardEvent, Incident},
        machine::Guard,
        observation::{Process, ProviderId, RegistryState, Seen, Wan},
        policy::{Policy, ProviderPolicy},
        state::Saved,
    },
    types::PeerAddr,
};
use rand::{SeedableRng as _, rngs::StdRng};

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
    /// Nobody tells of calls.
    pub mute_calls: bool,
    rng: StdRng,
}

impl World {
    /// A world in which all is well, of so many providers.
    pub fn new(site: Site, mut policy: Policy, seed: u8) -> Self {
        let base = Instant::now();
        for provider in &mut policy.providers {
            if !site.router {
                provider.remedies.remove(&ActionKind::DeleteEntry);
            }
        }
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
            mute_calls: false,
            rng: StdRng::from_seed([seed; 32]),
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
}
