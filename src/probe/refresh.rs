//! *Who refreshes*: what keeps an idle mapping open beside ordinary packets of ours (RFC 4787 REQ-6, RFC 7857
//! §5)?
//!
//! It begins when the timer of an exchange is known. Mappings idle for longer than that, and meanwhile a packet
//! of one kind passes again and again: an empty one, INVAL, one whose time to live ends on the way. An answer in
//! the end shows that this kind keeps a mapping open, a silence that it does not: beside control probes that come
//! back, and beside mappings that nothing passed on, which have to be gone.
//!
//! An ICMP error cannot be had without the packet of ours that causes it, so that whether it refreshes does not
//! show; that it ends no mapping does (RFC 4787 REQ-12).

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        behaviour::Shape,
        done::Done,
        lifetime::{Answerer, Content, Isolation, Lifetime, LifetimeConfig, Near},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, earlier},
    types::PeerAddr,
};

/// What is known of the NAT, and whom to ask.
#[derive(Clone, Copy, Debug)]
pub struct RefreshConfig {
    /// The reflector.
    pub reflector: PeerAddr,
    /// The longest idle time that an exchange survived.
    pub alive: Duration,
    /// The shortest that it did not.
    pub dead: Duration,
    /// The smallest time to live that reaches the reflector; `None`: not known.
    pub distance: Option<u8>,
    /// The first of the keys that may be used.
    pub first_socket: SocketKey,
    /// Whether the path is known to lose packets.
    pub lossy: bool,
    /// Seed of sessions and nonces.
    pub seed: [u8; 32],
}

/// The machine.
#[derive(Debug)]
pub struct Refresh {
    idle: Duration,
    trials: Vec<Trial>,
    first_socket: u32,
    done: bool,
    told: bool,
}

#[derive(Debug)]
struct Trial {
    trigger: Trigger,
    lifetime: Lifetime,
}

/// Keys of each trial.
const KEYS: u32 = 1 << 10;
/// The farthest hop at which packets are to die: the NATs of a house and of a carrier are nearer.
const FARTHEST: u8 = 3;
/// Mappings of one trial: two agree, and one may be lost.
const VOTES: u32 = 3;
/// Time between their ends.
const APART: Duration = Duration::from_millis(300);
/// Beyond the timer, at least: no clock is finer than a second there.
const BEYOND: Duration = Duration::from_millis(1200);
/// The timers that this can be asked of: below, nothing passes often enough.
const LEAST: Duration = Duration::from_secs(5);

impl Refresh {
    /// Begins; `None` where the timer is too short to keep a mapping open at all.
    #[must_use]
    pub fn new(config: RefreshConfig, now: Instant) -> Option<Self> {
        if config.alive < LEAST {
            return None;
        }
        let mut rng = StdRng::from_seed(config.seed);
        let idle = config.dead + BEYOND.max(config.dead / 20);
        let votes: Vec<Duration> = (0..VOTES).map(|vote| idle + APART * vote).collect();
        let trials = (0..)
            .zip(triggers(config.distance))
            .map(|(place, trigger)| {
                let first = config.first_socket.0 + KEYS * place;
                let lifetime = LifetimeConfig {
                    answerer: Answerer::Reflector(config.reflector),
                    control: SocketKey(first),
                    first_socket: first + 1,
                    shapes: vec![Shape::Exchange],
                    longest: idle,
                    budget: votes.len(),
                    idles: votes.clone(),
                    isolation: Some(Isolation {
                        near: near(trigger, idle, config.alive),
                        far: None,
                        every: config.alive / 4,
                    }),
                    lossy: config.lossy,
                    seed: rng.random(),
                };
                Trial {
                    trigger,
                    lifetime: Lifetime::new(lifetime, now),
                }
            });
        Some(Self {
            idle,
            trials: trials.collect(),
            first_socket: config.first_socket.0,
            done: false,
            told: false,
        })
    }

    /// Whether who refreshes is known.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let mut trials = self.trials.iter();
        self.done || trials.all(|trial| trial.lifetime.is_finished())
    }

    /// Ends it early; what was found stays, and the reflector is told.
    pub fn stop(&mut self, now: Instant) {
        self.done = true;
        for lifetime in self.each() {
            lifetime.stop(now);
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> RefreshEvidence {
        let votes = |trial: &Trial| {
            let found = trial.lifetime.evidence();
            let shapes = found.map(|found| found.shapes).unwrap_or_default();
            let of = |wanted| {
                let samples = shapes.iter().flat_map(|(_, edge)| &edge.samples);
                samples.filter(|(_, seen)| *seen == Some(wanted)).count()
            };
            (trial.trigger, (of(true), of(false)))
        };
        let errors = self.trials.iter().map(|it| it.lifetime.survived_errors());
        RefreshEvidence {
            idle: self.idle,
            votes: self.trials.iter().map(votes).collect(),
            survived_errors: errors.sum(),
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Lifetime> {
        self.trials.iter_mut().map(|trial| &mut trial.lifetime)
    }
}

/// What is tried. A packet is known to die on the way where the reflector is farther.
fn triggers(distance: Option<u8>) -> Vec<Trigger> {
    // With a time to live of 1 it dies at the next router, and where there is none there is no NAT.
    let farthest = distance.map_or(1, |distance| distance.saturating_sub(1).min(FARTHEST));
    [Trigger::Nothing, Trigger::Outbound, Trigger::Inval]
        .into_iter()
        .chain((1..=farthest).map(Trigger::Dying))
        .collect()
}

/// What passes: up to a time at which a mapping is there in any case, so that none is opened anew, and not so long
/// before the end that one could be gone that was kept open.
fn near(trigger: Trigger, idle: Duration, alive: Duration) -> Option<Near> {
    let (ttl, content) = match trigger {
        Trigger::Nothing => return None,
        Trigger::Dying(ttl) => (Some(ttl), Content::Nothing),
        Trigger::Outbound => (None, Content::Nothing),
        Trigger::Inval => (None, Content::Inval),
    };
    Some(Near {
        ttl,
        content,
        pause: idle.saturating_sub(alive.mul_f64(0.9)),
    })
}

/// What passes on a mapping that idles otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Nothing at all.
    Nothing,
    /// An empty packet of ours.
    Outbound,
    /// INVAL of ours.
    Inval,
    /// A packet of ours with this time to live, which dies on the way.
    Dying(u8),
}

/// What keeps mappings open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RefreshEvidence {
    /// How long each mapping lay idle but for its trigger: longer than the NAT keeps an idle one.
    pub idle: Duration,
    /// For each trigger, mappings that were there in the end, and mappings that were gone.
    pub votes: Vec<(Trigger, (usize, usize))>,
    /// Mappings that were there although an ICMP error had come in on them.
    pub survived_errors: u32,
}

impl RefreshEvidence {
    /// Whether this keeps a mapping open: one that was there proves it, two that were gone prove the contrary, both
    /// only where those that nothing passed on were gone.
    #[must_use]
    pub fn refreshes(&self, trigger: Trigger) -> Option<bool> {
        let votes = |wanted| {
            let mut votes = self.votes.iter();
            let found = votes.find(|(trigger, _)| *trigger == wanted);
            found.map_or((0, 0), |(_, votes)| *votes)
        };
        match (votes(trigger), votes(Trigger::Nothing)) {
            ((1.., _), (0, 2..)) => Some(true),
            ((0, 2..), (0, 2..)) => Some(false),
            _ => None,
        }
    }
}

impl Machine for Refresh {
    type Event = Done;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        let place = socket.0.wrapping_sub(self.first_socket) / KEYS;
        let trial = usize::try_from(place).ok();
        if let Some(trial) = trial.and_then(|place| self.trials.get_mut(place)) {
            trial.lifetime.handle_input(input, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for lifetime in self.each() {
            lifetime.handle_timeout(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.each().find_map(Machine::poll_transmit)
    }

    fn poll_event(&mut self) -> Option<Done> {
        for lifetime in self.each() {
            while lifetime.poll_event().is_some() {}
        }
        let news = self.is_finished() && !self.told;
        self.told |= news;
        news.then_some(Done)
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.trials
            .iter()
            .map(|trial| trial.lifetime.poll_timeout())
            .fold(None, earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_counts_beside_those_that_nothing_passed_on() {
        const GONE: (usize, usize) = (0, 3);
        const THERE: (usize, usize) = (3, 0);
        let rows = [
            (GONE, THERE, Some(true)),
            (GONE, (1, 2), Some(true)),
            (GONE, GONE, Some(false)),
            (GONE, (0, 1), None),
            // What nothing passed on is still there: the timer is not what it seemed.
            (THERE, THERE, None),
            (THERE, GONE, None),
            ((1, 2), THERE, None),
            ((0, 1), THERE, None),
        ];
        for (nothing, inval, expected) in rows {
            let evidence = RefreshEvidence {
                votes: vec![(Trigger::Nothing, nothing), (Trigger::Inval, inval)],
                ..RefreshEvidence::default()
            };
            let found = evidence.refreshes(Trigger::Inval);
            assert_eq!(found, expected, "{nothing:?} {inval:?}");
            assert_eq!(evidence.refreshes(Trigger::Dying(1)), None);
        }
    }

    #[test]
    fn packets_die_only_before_the_reflector() {
        let dying = |distance| -> Vec<u8> {
            let all = triggers(distance).into_iter();
            all.filter_map(|trigger| match trigger {
                Trigger::Dying(ttl) => Some(ttl),
                _ => None,
            })
            .collect()
        };
        assert_eq!(dying(None), [1]);
        assert_eq!(dying(Some(1)), [0; 0]);
        assert_eq!(dying(Some(2)), [1]);
        assert_eq!(dying(Some(9)), [1, 2, 3]);
    }
}
