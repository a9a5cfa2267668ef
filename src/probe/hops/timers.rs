//! The timer of each of several boxes in a row, read by itself.
//!
//! Box *h* idles while packets of ours with time to live *h*−1 keep those before it open and packets of the
//! reflector that die at box *h*+1 keep those behind it. Whether they do is not taken for granted: between each
//! two neighbours, mappings are held open from both sides at once, and a box's end is its own only where such a
//! mapping lived as long.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        behaviour::Shape,
        evidence::{HopTimer, HopsEvidence, ShapeLifetime},
        lifetime::{Answerer, Isolation, Lifetime, LifetimeConfig, LifetimeEvent, Near},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, earlier},
    types::PeerAddr,
};

/// How the boxes are to be timed.
#[derive(Clone, Copy, Debug)]
pub struct TimersPlan {
    /// The longest idle time to try.
    pub longest: Duration,
    /// Mappings in flight, at most, of all boxes together.
    pub budget: usize,
    /// The first of the keys that may be used; there is no last one.
    pub first_socket: SocketKey,
    /// Whether the path may lose packets.
    pub lossy: bool,
}

/// The machine: a sweep for each box, and one for each two neighbours.
#[derive(Debug)]
pub struct Timers {
    sweeps: Vec<Sweep>,
    first_socket: u32,
    done: bool,
}

#[derive(Debug)]
struct Sweep {
    role: Role,
    lifetime: Lifetime,
}

/// What a sweep is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// This box idles, all others are kept open.
    Alone(u8),
    /// All are kept open: up to this one from here, from the next one on from there.
    Held(u8),
}

/// Keys that each sweep has, its control's first.
const KEYS: u32 = 1 << 20;
/// Mappings of a sweep that holds all boxes open: 6 % apart up to five minutes.
const HELD: usize = 96;
/// Time between the packets that keep a box open. The shortest timer known is 10 s.
const EVERY: Duration = Duration::from_secs(3);
/// The same where the longest idle time itself is short.
const EVERY_SHORT: Duration = Duration::from_millis(1500);
/// Below this, it is.
const SHORT: Duration = Duration::from_secs(20);

impl Timers {
    /// Begins: `boxes` boxes, the nearest first, and a reflector whose packets reach us with a time to live of
    /// `back`.
    #[must_use]
    pub fn new(
        plan: TimersPlan,
        reflector: PeerAddr,
        boxes: u8,
        back: u8,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let held = usize::from(boxes.saturating_sub(1)) * HELD;
        let each = plan.budget.saturating_sub(held) / usize::from(boxes).max(1);
        let every = if plan.longest < SHORT {
            EVERY_SHORT
        } else {
            EVERY
        };
        let roles = (1..=boxes)
            .map(Role::Alone)
            .chain((1..boxes).map(Role::Held));
        let sweeps = (0..).zip(roles).map(|(place, role)| {
            let (near, far) = match role {
                Role::Alone(hop) => (hop - 1, hop + 1),
                Role::Held(hop) => (hop, hop + 1),
            };
            let first = plan.first_socket.0 + KEYS * place;
            let config = LifetimeConfig {
                answerer: Answerer::Reflector(reflector),
                control: SocketKey(first),
                first_socket: first + 1,
                shapes: vec![Shape::Exchange],
                longest: plan.longest,
                idles: Vec::new(),
                budget: match role {
                    Role::Alone(_) => each,
                    Role::Held(_) => HELD,
                },
                isolation: Some(Isolation {
                    near: (near > 0).then(|| Near::dying(near)),
                    far: (far <= boxes).then(|| back.saturating_sub(far)),
                    every,
                }),
                lossy: plan.lossy,
                seed: rng.random(),
            };
            let lifetime = Lifetime::new(config, now);
            Sweep { role, lifetime }
        });
        Self {
            sweeps: sweeps.collect(),
            first_socket: plan.first_socket.0,
            done: false,
        }
    }

    /// Whether every box is timed, or will not be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let mut sweeps = self.sweeps.iter();
        self.done || sweeps.all(|sweep| sweep.lifetime.is_finished())
    }

    /// Ends it early; what was found stays.
    pub fn stop(&mut self, now: Instant) {
        self.done = true;
        for sweep in &mut self.sweeps {
            sweep.lifetime.stop(now);
        }
    }

    /// Writes down what was found so far.
    pub fn tell(&self, evidence: &mut HopsEvidence) {
        let found = |wanted| -> Option<ShapeLifetime> {
            let sweep = self.sweeps.iter().find(|sweep| sweep.role == wanted)?;
            let lifetime = sweep.lifetime.evidence()?;
            lifetime.shapes.into_iter().next().map(|(_, edge)| edge)
        };
        let alone = self.sweeps.iter().filter_map(|sweep| match sweep.role {
            Role::Alone(hop) => Some((hop, found(Role::Alone(hop))?)),
            Role::Held(_) => None,
        });
        let held = self.sweeps.iter().filter_map(|sweep| match sweep.role {
            Role::Held(boundary) => Some((boundary, found(Role::Held(boundary))?.alive?)),
            Role::Alone(_) => None,
        });
        evidence.timers = own(&alone.collect(), &held.collect());
    }

    /// A sweep that holds all open has shown enough when its neighbours' ends are known and it lived as long,
    /// or when it died.
    fn end_held(&mut self, now: Instant) {
        let edges: Vec<(Role, bool, Option<ShapeLifetime>)> = self
            .sweeps
            .iter()
            .map(|sweep| {
                let lifetime = sweep.lifetime.evidence();
                let edge = lifetime.and_then(|found| found.shapes.into_iter().next());
                (
                    sweep.role,
                    sweep.lifetime.is_finished(),
                    edge.map(|(_, edge)| edge),
                )
            })
            .collect();
        let is_enough = |boundary: u8, held: &ShapeLifetime| {
            held.dead.is_some()
                || [boundary, boundary + 1].into_iter().all(|hop| {
                    edges.iter().any(|(role, finished, edge)| {
                        *role == Role::Alone(hop)
                            && *finished
                            && edge
                                .as_ref()
                                .is_none_or(|edge| edge.dead.is_none() || held.alive >= edge.dead)
                    })
                })
        };
        let ends: Vec<u8> = edges
            .iter()
            .filter_map(|(role, finished, edge)| match (role, edge) {
                (Role::Held(boundary), Some(edge)) if !finished && is_enough(*boundary, edge) => {
                    Some(*boundary)
                }
                _ => None,
            })
            .collect();
        for sweep in &mut self.sweeps {
            if matches!(sweep.role, Role::Held(boundary) if ends.contains(&boundary)) {
                sweep.lifetime.stop(now);
            }
        }
    }

    /// Something may have become known.
    fn look(&mut self, now: Instant) {
        let mut concluded = false;
        for sweep in &mut self.sweeps {
            while let Some(event) = sweep.lifetime.poll_event() {
                concluded |= matches!(
                    event,
                    LifetimeEvent::Edge { .. }
                        | LifetimeEvent::Finished
                        | LifetimeEvent::NoAnswerer
                );
            }
        }
        let alone = |sweep: &Sweep| matches!(sweep.role, Role::Alone(_));
        let waits_for_held = self
            .sweeps
            .iter()
            .any(|sweep| alone(sweep) && sweep.lifetime.is_finished());
        if concluded || waits_for_held {
            self.end_held(now);
        }
    }
}

/// Tells which ends are the boxes' own. `alone` has how long each box lived while the others were kept open,
/// `held` how long a mapping lived that was held open from both sides of a boundary.
///
/// An end is a box's own where the boxes on either side of it were open then: a held mapping lived as long. Or
/// it lived up to that end, and for longer than each of those boxes does that nobody keeps open: what keeps
/// them works.
fn own(alone: &BTreeMap<u8, ShapeLifetime>, held: &BTreeMap<u8, Duration>) -> Vec<HopTimer> {
    let last = alone.keys().max().copied().unwrap_or(0);
    let mut ends: BTreeMap<u8, Duration> = BTreeMap::new();
    // What one box shows may help the next, in either direction.
    for _ in alone {
        for (hop, edge) in alone {
            let Some(dead) = edge.dead else { continue };
            let is_open = |boundary: u8, others: RangeInclusive<u8>| {
                held.get(&boundary).is_some_and(|lived| {
                    let works = |other: u8| ends.get(&other).is_some_and(|end| end <= lived);
                    *lived >= dead || (Some(*lived) >= edge.alive && others.into_iter().all(works))
                })
            };
            let before = *hop == 1 || is_open(hop - 1, 1..=hop - 1);
            let behind = *hop == last || is_open(*hop, hop + 1..=last);
            if before && behind {
                ends.insert(*hop, dead);
            }
        }
    }
    alone
        .iter()
        .map(|(hop, edge)| HopTimer {
            hop: *hop,
            edge: edge.clone(),
            is_own: ends.contains_key(hop),
        })
        .collect()
}

impl Machine for Timers {
    type Event = LifetimeEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let (Input::Opened { socket, .. }
        | Input::Datagram { socket, .. }
        | Input::Unreachable { socket, .. }) = input;
        let place = socket.0.wrapping_sub(self.first_socket) / KEYS;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(sweep) = self.sweeps.get_mut(place) {
            sweep.lifetime.handle_input(input, now);
        }
        self.look(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for sweep in &mut self.sweeps {
            sweep.lifetime.handle_timeout(now);
        }
        self.look(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.sweeps
            .iter_mut()
            .find_map(|sweep| sweep.lifetime.poll_transmit())
    }

    fn poll_event(&mut self) -> Option<LifetimeEvent> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.sweeps
            .iter()
            .map(|sweep| sweep.lifetime.poll_timeout())
            .fold(None, earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_boxs_own_where_its_neighbours_were_open() {
        // The ends of the boxes, how long the mappings lived that were held open, and whose end is its own.
        type Row<'a> = (&'a [Option<u64>], &'a [u64], &'a [bool]);
        let rows: [Row<'_>; 10] = [
            (&[Some(35)], &[], &[true]),
            (&[Some(120), Some(35)], &[126], &[true, true]),
            (&[Some(120), Some(35)], &[36], &[false, true]),
            // Nothing is kept open: all of them die together.
            (&[Some(35), Some(35)], &[34], &[false, false]),
            (&[Some(30), Some(30)], &[30], &[true, true]),
            // The outer one cannot be kept open, and the inner one is gone before.
            (&[Some(30), Some(60)], &[59], &[true, true]),
            (&[Some(60), Some(60)], &[59], &[false, false]),
            (&[None, Some(35)], &[126], &[false, true]),
            (
                &[Some(60), Some(35), Some(90)],
                &[95, 91],
                &[true, true, true],
            ),
            (
                &[Some(60), Some(35), Some(90)],
                &[95, 34],
                &[true, false, false],
            ),
        ];
        let s = Duration::from_secs;
        for (dead, held, expected) in rows {
            let edge = |dead: Option<u64>| ShapeLifetime {
                alive: dead.map(|dead| s(dead - 1)),
                dead: dead.map(s),
                ..ShapeLifetime::default()
            };
            let alone = (1..).zip(dead.iter().copied().map(edge)).collect();
            let lived = (1..).zip(held.iter().copied().map(s)).collect();
            let timers = own(&alone, &lived);
            let owns: Vec<bool> = timers.iter().map(|timer| timer.is_own).collect();
            assert_eq!(owns, expected, "{dead:?} {held:?}");
        }
    }
}
