//! Two captures of one NAT, taken on its LAN and on its WAN side: which datagram of one is which of the other, how
//! each was translated, and what went in and did not come out.
//!
//! A NAT changes addresses and nothing else, so the content tells: call numbers, clocks and sequence numbers make
//! datagrams differ. What is alike but not the same was rewritten on the way.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::BuildHasher,
    net::SocketAddr,
    time::Duration,
};

use super::{
    hash::Keyed,
    mark::{Mark, Seen},
};
use crate::wire::iax2::frame::{FULL_HEADER, Frame};

/// Which side of the NAT a capture is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Inside.
    Lan,
    /// Outside, and which of several lines.
    Wan(u16),
}

/// How datagrams of one inner socket to one peer leave.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The socket inside.
    pub inner: SocketAddr,
    /// Its address outside.
    pub outer: SocketAddr,
    /// The line it leaves by.
    pub line: u16,
    /// The peer.
    pub peer: SocketAddr,
    /// Datagrams that went out.
    pub out: u64,
    /// Datagrams that came in and went on inside.
    pub inward: u64,
    /// Datagrams that came in outside, to this address.
    pub answers: u64,
    /// The first that went out, as it left.
    pub first: Mark,
    /// The last.
    pub last: Mark,
    /// The last of these for which an answer came afterwards.
    pub answered: Option<Mark>,
}

/// One datagram that was seen on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Matched {
    /// Inside.
    pub lan: Mark,
    /// Outside.
    pub wan: Mark,
    /// It went out; else it came in.
    pub outward: bool,
    /// Its address inside.
    pub inner: SocketAddr,
    /// Its address outside.
    pub outer: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// Its content is not the same on both sides.
    pub rewritten: bool,
}

/// Datagrams that did not pass.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// The first of them: where, from whom, to whom.
    pub first: Vec<(Mark, SocketAddr, SocketAddr)>,
}

/// What two captures tell of the NAT between them.
#[derive(Debug, Default)]
pub struct Pairing {
    /// The translations, in the order in which they were first seen.
    pub translations: Vec<Translation>,
    /// Datagrams from inside that did not come out.
    pub dropped_outward: Dropped,
    /// Datagrams from outside that did not come in.
    pub dropped_inward: Dropped,
    /// Datagrams that were seen on both sides.
    pub matched: u64,
    /// Those of them whose content differs, and the first.
    pub rewritten: Vec<Matched>,
    /// How many.
    pub rewritten_count: u64,
}

/// As many marks are kept of what was dropped, and of what was rewritten.
const KEPT: usize = 20;
/// A datagram passes a NAT within this time, or not at all. The clocks of both captures may differ by as much
/// beyond what was reckoned out.
const PATIENCE: Duration = Duration::from_secs(2);

/// A datagram that waits for its other half.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    mark: Mark,
    at: Duration,
    source: SocketAddr,
    destination: SocketAddr,
    exact: u64,
    wire: u16,
}

/// Matches the datagrams of both sides. They have to be handed over in the order of their times, those of the WAN
/// after the difference of the clocks was taken off.
#[derive(Debug)]
pub struct Matcher {
    keyed: Keyed,
    lan: HashMap<u64, VecDeque<Waiting>, Keyed>,
    wan: HashMap<u64, VecDeque<Waiting>, Keyed>,
    order: VecDeque<(bool, u64, Duration)>,
    index: BTreeMap<(SocketAddr, SocketAddr, u16, SocketAddr), usize>,
    /// Inner sockets by the outer address that was last seen, to tell what comes in for whom.
    pairing: Pairing,
}

impl Matcher {
    /// Has seen nothing yet; the key is from chance.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        let keyed = Keyed::new(seed);
        Self {
            keyed,
            lan: HashMap::with_hasher(keyed),
            wan: HashMap::with_hasher(keyed),
            order: VecDeque::new(),
            index: BTreeMap::new(),
            pairing: Pairing::default(),
        }
    }

    /// Takes a datagram; the match where its other half was there. `at` is its time by the clock of the LAN.
    pub fn handle_input(&mut self, wire: Wire, seen: &Seen<'_>, at: Duration) -> Option<Matched> {
        self.expire(at);
        let key = self.keyed.hash_one(head(seen.payload));
        let here = Waiting {
            mark: seen.mark,
            at,
            source: seen.source,
            destination: seen.destination,
            exact: self.keyed.hash_one(seen.payload),
            wire: match wire {
                Wire::Lan => 0,
                Wire::Wan(line) => line,
            },
        };
        if let Wire::Wan(line) = wire {
            self.note_answer(seen, line);
        }
        let other_side = match wire {
            Wire::Lan => &mut self.wan,
            Wire::Wan(_) => &mut self.lan,
        };
        // One of both addresses is the same on both sides: the peer's.
        let fits = |there: &Waiting| {
            (there.destination == here.destination) != (there.source == here.source)
                || (there.destination == here.destination && there.source == here.source)
        };
        if let Some(queue) = other_side.get_mut(&key)
            && let Some(place) = queue
                .iter()
                .position(|there| fits(there) && there.exact == here.exact)
                .or_else(|| queue.iter().position(fits))
            && let Some(there) = queue.remove(place)
        {
            if queue.is_empty() {
                other_side.remove(&key);
            }
            return Some(match wire {
                Wire::Lan => self.matched(&here, &there),
                Wire::Wan(_) => self.matched(&there, &here),
            });
        }
        let own = match wire {
            Wire::Lan => &mut self.lan,
            Wire::Wan(_) => &mut self.wan,
        };
        own.entry(key).or_default().push_back(here);
        self.order.push_back((wire == Wire::Lan, key, at));
        None
    }

    /// What is known when both captures are over.
    #[must_use]
    pub fn finish(mut self) -> Pairing {
        self.expire(Duration::MAX);
        self.pairing
    }

    fn matched(&mut self, lan: &Waiting, wan: &Waiting) -> Matched {
        let outward = if lan.destination == wan.destination && lan.source == wan.source {
            // Untranslated: who passed first tells the way.
            lan.at <= wan.at
        } else {
            lan.destination == wan.destination
        };
        let (inner, outer, peer) = if outward {
            (lan.source, wan.source, lan.destination)
        } else {
            (lan.destination, wan.destination, lan.source)
        };
        let rewritten = lan.exact != wan.exact;
        let matched = Matched {
            lan: lan.mark,
            wan: wan.mark,
            outward,
            inner,
            outer,
            peer,
            rewritten,
        };
        self.pairing.matched += 1;
        if rewritten {
            self.pairing.rewritten_count += 1;
            if self.pairing.rewritten.len() < KEPT {
                self.pairing.rewritten.push(matched);
            }
        }
        let key = (inner, outer, wan.wire, peer);
        let place = *self.index.entry(key).or_insert_with(|| {
            self.pairing.translations.push(Translation {
                inner,
                outer,
                line: wan.wire,
                peer,
                out: 0,
                inward: 0,
                answers: 0,
                first: wan.mark,
                last: wan.mark,
                answered: None,
            });
            self.pairing.translations.len() - 1
        });
        if let Some(translation) = self.pairing.translations.get_mut(place) {
            if outward {
                translation.out += 1;
                translation.last = wan.mark;
            } else {
                translation.inward += 1;
                translation.answered = Some(wan.mark);
            }
        }
        matched
    }

    /// A datagram from outside answers every translation to its address.
    fn note_answer(&mut self, seen: &Seen<'_>, line: u16) {
        for translation in &mut self.pairing.translations {
            if translation.outer == seen.destination
                && translation.peer == seen.source
                && translation.line == line
            {
                translation.answers += 1;
                translation.answered = Some(seen.mark);
            }
        }
    }

    /// Gives up what has waited for too long: it did not pass.
    fn expire(&mut self, now: Duration) {
        while let Some((lan, key, at)) = self.order.front().copied() {
            if now.saturating_sub(at) < PATIENCE {
                return;
            }
            self.order.pop_front();
            let side = if lan { &mut self.lan } else { &mut self.wan };
            let Some(queue) = side.get_mut(&key) else {
                continue;
            };
            let given_up = queue.front().copied().filter(|waiting| waiting.at == at);
            if given_up.is_some() {
                queue.pop_front();
            }
            if queue.is_empty() {
                side.remove(&key);
            }
            if let Some(waiting) = given_up {
                self.drop(lan, &waiting);
            }
        }
    }

    /// What is seen on one side alone is a drop where it was on its way to the other: from an inner socket, or to
    /// the outer address of one.
    fn drop(&mut self, lan: bool, waiting: &Waiting) {
        let passes = |translation: &Translation| {
            if lan {
                translation.inner == waiting.source
            } else {
                translation.outer == waiting.destination
            }
        };
        // Before anything passed, the inner sockets are not known; what the LAN sends to a peer outside is.
        let known = self.pairing.translations.iter().any(passes);
        let to_peer = lan
            && (self.pairing.translations.is_empty()
                || self
                    .pairing
                    .translations
                    .iter()
                    .any(|translation| translation.peer == waiting.destination));
        if !known && !to_peer {
            return;
        }
        let dropped = if lan {
            &mut self.pairing.dropped_outward
        } else {
            &mut self.pairing.dropped_inward
        };
        dropped.count += 1;
        if dropped.first.len() < KEPT {
            dropped
                .first
                .push((waiting.mark, waiting.source, waiting.destination));
        }
    }
}

/// What a rewritten datagram keeps: numbers, clock and kind.
fn head(datagram: &[u8]) -> &[u8] {
    match Frame::decode(datagram) {
        Ok(Frame::Full(_)) => datagram.get(..FULL_HEADER).unwrap_or(datagram),
        _ => datagram,
    }
}

/// How much later the clock of the WAN's capture is, by datagrams that both show once; `None` where none is. The
/// way through a NAT takes no time worth speaking of.
#[must_use]
pub fn clock_difference(
    seed: [u64; 2],
    lan: &[(Duration, Vec<u8>)],
    wan: &[(Duration, Vec<u8>)],
) -> Option<(Duration, bool)> {
    let keyed = Keyed::new(seed);
    let once = |side: &[(Duration, Vec<u8>)]| {
        let mut seen: BTreeMap<u64, Option<Duration>> = BTreeMap::new();
        for (at, octets) in side {
            seen.entry(keyed.hash_one(octets.as_slice()))
                .and_modify(|at| *at = None)
                .or_insert(Some(*at));
        }
        seen
    };
    let (lan, wan) = (once(lan), once(wan));
    let mut differences: Vec<i128> = lan
        .iter()
        .filter_map(|(key, at)| {
            let here = (*at)?;
            let there = wan.get(key).copied().flatten()?;
            Some(nanos(there) - nanos(here))
        })
        .collect();
    differences.sort_unstable();
    let middle = *differences.get(differences.len() / 2)?;
    let size = Duration::from_nanos(u64::try_from(middle.unsigned_abs()).ok()?);
    Some((size, middle < 0))
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}
