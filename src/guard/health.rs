//! One look: facts become a diagnosis. Nothing here remembers anything.
//!
//! Silence alone decides nothing. That Asterisk's port is not answered counts against its NAT entry only
//! where a fresh port is answered meanwhile, or where the router's table shows the wrong entry.

use std::time::{Duration, Instant};

use crate::{
    check::taint::Kind,
    guard::{
        diagnosis::{Diagnosed, Diagnosis},
        facts::{Facts, HostFacts, Registry, fresh},
        observation::{PokeOutcome, Process, RegistryState, TimerClass},
        policy::{LONGEST_SILENCE, MARGIN, Policy, TRANSIT},
    },
    proto::registration::reregister_after,
};

/// So many unanswered requests end the patience with a request that is under way.
const UNANSWERED: u32 = 3;
/// A request that has just left may be answered yet.
const JUST_SENT: Duration = Duration::from_secs(1);
/// A change of the way out and of the table are seen within this time of each other.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// So many requests must have gone unanswered while fresh ports were answered.
const TRIED: u32 = 3;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    /// The provider.
    pub(crate) facts: &'a Facts,
    /// The host.
    pub(crate) host: &'a HostFacts,
    /// The policy.
    pub(crate) policy: &'a Policy,
    /// Since when the guardian itself has been keeping Asterisk's packets back.
    pub(crate) held_since: Option<Instant>,
    /// Keepalives are being sent.
    pub(crate) kept_open: bool,
    /// Another account is registered over the same flow, and was seen so at this instant.
    pub(crate) sibling: Option<Instant>,
    /// Now.
    pub(crate) now: Instant,
}

impl Look<'_> {
    /// The diagnosis.
    pub(crate) fn diagnose(&self) -> Diagnosed {
        if let Some(down) = self.asterisk() {
            return down;
        }
        if let Some(down) = self.way_out() {
            return down;
        }
        if let Some(since) = self.held_since {
            return self.held(since);
        }
        let Some(registry) = fresh(self.facts.registry, self.now) else {
            return self.without_registry();
        };
        let said = format!("Asterisk says {}", registry.state.as_str());
        match registry.state {
            RegistryState::Registered => self.registered(said),
            RegistryState::RequestSent | RegistryState::AuthSent => self.waiting(registry, said),
            RegistryState::Timeout => self.unanswered(said, registry.unregistered_since),
            RegistryState::Unregistered => self.never_registered(registry, said),
            RegistryState::Rejected if self.facts.own_port.naked > 0 => several(
                Diagnosis::TokenRefused,
                [
                    said,
                    "the registrar's refusal came from call number 1 and names no cause".to_owned(),
                ],
            ),
            RegistryState::Rejected => several(Diagnosis::Rejected, [said]),
            RegistryState::NoAuthentication => several(
                Diagnosis::Rejected,
                [
                    said,
                    "the registrar asks for a secret and the register line has none".to_owned(),
                ],
            ),
            RegistryState::Absent => several(Diagnosis::NotConfigured, [said]),
            RegistryState::Other => several(Diagnosis::NotKnown, [said]),
        }
    }

    fn asterisk(&self) -> Option<Diagnosed> {
        let what = match self.host.process?.what {
            Process::Down => "Asterisk does not run",
            Process::NoModule => "Asterisk runs without its IAX2 channel",
            Process::Up | Process::Restarted => return None,
        };
        Some(several(Diagnosis::AsteriskDown, [what.to_owned()]))
    }

    fn way_out(&self) -> Option<Diagnosed> {
        let wan = self.host.wan?.what;
        if wan.is_down() != Some(true) {
            return None;
        }
        let mut because = vec![];
        for (part, words) in [
            (wan.link, "the link is down"),
            (wan.has_address, "the way out has no address"),
            (wan.route, "there is no route to the provider"),
        ] {
            if part == Some(false) {
                because.push(words.to_owned());
            }
        }
        Some(proven(Diagnosis::WanDown, because))
    }

    /// While Asterisk is kept quiet, its own words say nothing.
    fn held(&self, since: Instant) -> Diagnosed {
        let answered = self.facts.poke.answered.is_some_and(|at| at > since);
        match fresh(self.facts.poke.last, self.now) {
            Some(PokeOutcome::Silent | PokeOutcome::Unreachable) if self.speaks() => several(
                Diagnosis::ProviderDown,
                [
                    "Asterisk is kept quiet".to_owned(),
                    "a POKE from a fresh port is not answered".to_owned(),
                ],
            ),
            Some(PokeOutcome::NotSent) => several(
                Diagnosis::WanDown,
                ["this host cannot send a POKE".to_owned()],
            ),
            _ => several(
                Diagnosis::InTransit,
                [if answered {
                    "a fresh port is answered; what slipped out before is waited out".to_owned()
                } else {
                    "Asterisk is kept quiet".to_owned()
                }],
            ),
        }
    }

    /// Asterisk cannot be asked: the wire and the table may tell enough.
    fn without_registry(&self) -> Diagnosed {
        let port = self.facts.own_port;
        if port.unanswered >= UNANSWERED {
            let said = format!("{} requests of Asterisk are not answered", port.unanswered);
            return self.unanswered(said, port.unanswered_since);
        }
        let is_alive = port
            .received
            .is_some_and(|at| self.now.saturating_duration_since(at) <= TRANSIT * 5);
        if is_alive && port.unanswered == 0 {
            let said = "the provider answers Asterisk's own port".to_owned();
            return self.registered(said);
        }
        let why = "Asterisk cannot be asked how its registration stands";
        several(Diagnosis::NotKnown, [why.to_owned()])
    }

    fn registered(&self, said: String) -> Diagnosed {
        if let Some((kind, facts)) = self.tainted() {
            let moved = self.wan_moved();
            if moved || self.facts.own_port.unanswered > 0 {
                return Diagnosed {
                    taint: Some(kind),
                    proven: moved,
                    ..several(Diagnosis::Tainted, [vec![said], facts].concat())
                };
            }
        }
        match self.hole() {
            Some(hole) if !self.kept_open => Diagnosed {
                lost_percent: hole.lost_percent(),
                ..several(Diagnosis::Hole, [vec![said], hole.because()].concat())
            },
            Some(_) => several(
                Diagnosis::Healthy,
                [said, "the mapping is kept open".to_owned()],
            ),
            None => several(Diagnosis::Healthy, [said]),
        }
    }

    /// The way out became another one since Asterisk registered, not long before the entry went wrong.
    fn wan_moved(&self) -> bool {
        let registered =
            fresh(self.facts.registry, self.now).and_then(|registry| registry.registered_since);
        match (self.host.wan_changed, self.facts.tainted_since, registered) {
            (Some(changed), Some(tainted), Some(registered)) => {
                changed >= registered && tainted + LOOKED_AT >= changed
            }
            _ => false,
        }
    }

    /// "Request Sent" and "Auth. Sent": a moment of every registration, and most of an outage.
    fn waiting(&self, registry: Registry, said: String) -> Diagnosed {
        let since = registry.unregistered_since.unwrap_or(self.now);
        let age = self.now.saturating_duration_since(since);
        if let Some((kind, facts)) = self.tainted()
            && (registry.has_failed || age >= JUST_SENT)
        {
            return Diagnosed {
                taint: Some(kind),
                ..proven(Diagnosis::Tainted, [vec![said], facts].concat())
            };
        }
        if !registry.has_failed && age < TRANSIT && self.facts.own_port.unanswered < UNANSWERED {
            return several(Diagnosis::InTransit, [said]);
        }
        let said = format!("{said}, and it is not registered for {} s", age.as_secs());
        if registry.state == RegistryState::AuthSent {
            // A challenge has come through the flow.
            let heard = "the registrar asked for the secret and is not heard of since";
            return several(Diagnosis::ProviderDown, [said, heard.to_owned()]);
        }
        self.unanswered(said, Some(since))
    }

    fn never_registered(&self, registry: Registry, said: String) -> Diagnosed {
        match fresh(self.facts.resolves, self.now) {
            Some(false) => several(
                Diagnosis::NotResolved,
                [said, "the provider's name does not resolve".to_owned()],
            ),
            Some(true) => several(
                Diagnosis::NotResolved,
                [
                    said,
                    "the provider's name resolves now, and Asterisk looks it up only when it reloads"
                        .to_owned(),
                ],
            ),
            None => self.unanswered(said, registry.unregistered_since),
        }
    }

    /// Asterisk's port is not answered. Is it its entry, or the provider?
    fn unanswered(&self, said: String, since: Option<Instant>) -> Diagnosed {
        let since = since.unwrap_or(self.now);
        let mut because = vec![said];
        because.extend(self.hammering());
        if let Some((kind, facts)) = self.tainted() {
            because.extend(facts);
            return Diagnosed {
                taint: Some(kind),
                ..proven(Diagnosis::Tainted, because)
            };
        }
        let after = |at: Option<Instant>| at.is_some_and(|at| at > since);
        if after(self.sibling) || after(self.facts.own_port.received) {
            because.push("the flow is answered: another frame or account gets through".to_owned());
            return several(Diagnosis::ProviderDown, because);
        }
        match fresh(self.facts.poke.last, self.now) {
            Some(PokeOutcome::Answered { .. }) if after(self.facts.poke.answered) => {
                if !self.has_tried(since) {
                    because.push("a POKE is answered; Asterisk's next request is due".to_owned());
                    return several(Diagnosis::InTransit, because);
                }
                because
                    .push("a POKE from a fresh port to the same provider is answered".to_owned());
                because.push("Asterisk asked from its own port meanwhile, in vain".to_owned());
                several(Diagnosis::Tainted, because)
            }
            Some(PokeOutcome::NotSent) => {
                because.push("this host cannot send a POKE".to_owned());
                several(Diagnosis::WanDown, because)
            }
            Some(PokeOutcome::Silent | PokeOutcome::Unreachable) if self.speaks() => {
                because.push("a POKE from a fresh port is not answered either".to_owned());
                several(Diagnosis::ProviderDown, because)
            }
            Some(PokeOutcome::Silent | PokeOutcome::Unreachable) => {
                because.push("the provider has never answered a POKE".to_owned());
                several(Diagnosis::Unanswered, because)
            }
            Some(PokeOutcome::Answered { .. }) | None => {
                because.push("no POKE from a fresh port tells more yet".to_owned());
                several(Diagnosis::Unanswered, because)
            }
        }
    }

    /// Requests that come sooner than the NAT forgets keep whatever entry there is alive.
    fn hammering(&self) -> Option<String> {
        let port = self.facts.own_port;
        let gap = port.longest_gap?.as_secs();
        (port.unanswered >= UNANSWERED).then(|| {
            let count = port.unanswered;
            format!("{count} requests in a row, at most {gap} s apart, are not answered")
        })
    }

    /// Whether Asterisk has asked, more than once, since fresh ports are answered.
    fn has_tried(&self, since: Instant) -> bool {
        let port = self.facts.own_port;
        let Some(answering) = self.facts.poke.answering_since else {
            return false;
        };
        let waited = self.now.saturating_duration_since(answering.max(since));
        // Where the wire is not watched, or shows nothing, Asterisk's own clock tells.
        let patience = LONGEST_SILENCE + MARGIN;
        port.tried >= TRIED || waited >= patience * if port.sent.is_some() { 2 } else { 1 }
    }

    /// Whether the provider's silence on a POKE says anything.
    fn speaks(&self) -> bool {
        self.facts.poke.has_answered
    }

    /// The taint of the router's table, unless an answer came through the entry since it was seen.
    fn tainted(&self) -> Option<(Kind, Vec<String>)> {
        let since = self.facts.tainted_since?;
        let entry = fresh(self.facts.entry, self.now)??;
        let kind = entry.kind.filter(|kind| kind.is_taint())?;
        if self.facts.own_port.received.is_some_and(|at| at > since) {
            return None;
        }
        let mut because = vec![format!("the router's table shows a {}", kind.as_str())];
        if let Some(timer) = entry.timer {
            because.push(format!(
                "each of Asterisk's retries, at most 28 s apart, renews its timer of {} s",
                timer.as_secs()
            ));
        }
        Some((kind, because))
    }

    /// Whether the mapping dies before the next registration.
    pub(crate) fn hole(&self) -> Option<Hole> {
        let interval = reregister_after(self.facts.refresh?);
        let entry = fresh(self.facts.entry, self.now);
        let assumed = self.policy.exchange;
        let exchange = match self.facts.exchange {
            Some(measured) if !assumed.given => measured,
            _ => assumed.length,
        };
        // The table itself: what keepalives have made a stream would be none without them.
        let timer = match entry {
            Some(Some(entry)) if !self.kept_open && entry.class == TimerClass::Stream => {
                entry.timer.or(self.facts.stream)?
            }
            Some(Some(entry)) if entry.class == TimerClass::Exchange => {
                entry.timer.unwrap_or(exchange)
            }
            Some(None) if !self.kept_open => exchange,
            // A timer that is only the usual one proves nothing.
            _ if self.facts.exchange.is_none() && !assumed.given && !self.kept_open => return None,
            _ => exchange,
        };
        let is_gone = entry.is_some_and(|entry| entry.is_none());
        let idle = self.facts.own_port.idle;
        // A timer alone is no hole: something may keep the mapping open.
        let is_open = match idle {
            Some(idle) => idle < timer,
            None => !is_gone && !self.kept_open,
        };
        (!is_open && timer <= interval).then_some(Hole {
            timer,
            interval,
            idle,
            is_gone: is_gone && !self.kept_open,
        })
    }
}

/// A mapping that dies between two registrations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    /// The NAT's timer.
    pub(crate) timer: Duration,
    interval: Duration,
    idle: Option<Duration>,
    is_gone: bool,
}

impl Hole {
    /// How much of the time there is no mapping.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=100"
    )]
    fn lost_percent(self) -> u8 {
        let lost = self.interval.saturating_sub(self.timer).as_secs_f64();
        let share = lost / self.interval.as_secs_f64();
        (share.clamp(0.0, 1.0) * 100.0).round() as u8
    }

    fn because(self) -> Vec<String> {
        let mut because = vec![];
        if self.is_gone {
            because.push("the router's table has no entry for the flow".to_owned());
        }
        let timer = self.timer.as_secs_f64();
        because.push(format!("the NAT forgets it after {timer} s"));
        let interval = self.interval.as_secs();
        because.push(format!("Asterisk registers every {interval} s"));
        if let Some(idle) = self.idle {
            let idle = idle.as_secs();
            because.push(format!(
                "for {idle} s between two registrations nothing passes"
            ));
        }
        because
    }
}

fn several(diagnosis: Diagnosis, because: impl Into<Vec<String>>) -> Diagnosed {
    Diagnosed {
        diagnosis,
        taint: None,
        proven: false,
        lost_percent: 100,
        because: because.into(),
    }
}

fn proven(diagnosis: Diagnosis, because: Vec<String>) -> Diagnosed {
    Diagnosed {
        proven: true,
        ..several(diagnosis, because)
    }
}
