//! What is sent on a mapping while it idles: to keep some of the boxes on the way open, or to see whether it is
//! kept open by that.
//!
//! One box of several in a row is timed by itself: the others are kept open while it idles, by packets that die
//! before they reach it.
//!
//! A packet of ours with a low time to live passes the boxes near to us and dies, one of the answerer does the
//! same from the other side. Linux counts a packet before it looks at the time to live, so that the box it dies
//! at is kept open too; whether a certain box does that is for the caller to find out.

use std::time::{Duration, Instant};

use super::{Lifetime, candidate::Stage, question::Later};
use crate::{
    probe::{message::MAX_DELAYS, reflector::MAX_REPEATS},
    proto::{contract::Transmit, stateless},
    types::{CallNumber, Timestamp},
    wire::iax2::{command::Command, frame::FullFrame},
};

/// What passes while a mapping idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Our packets; `None`: none are sent.
    pub near: Option<Near>,
    /// The time to live of the answerer's packets; `None`: it is asked for none.
    pub far: Option<u8>,
    /// Time between packets, below a third of what any box is known to keep.
    pub every: Duration,
}

/// Packets of ours on a mapping that idles otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// Their time to live; `None`: the host's own.
    pub ttl: Option<u8>,
    /// What they are.
    pub content: Content,
    /// They end so long before the idle time does.
    pub pause: Duration,
}

/// What is in a packet that asks for nothing and is answered by nobody, should it arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An empty meta frame: four zero octets.
    Nothing,
    /// INVAL, as from a PBX that is sent a frame of a call that it does not know.
    Inval,
}

impl Near {
    /// Packets that die on the way.
    #[must_use]
    pub const fn dying(ttl: u8) -> Self {
        Self {
            ttl: Some(ttl),
            content: Content::Nothing,
            pause: Duration::ZERO,
        }
    }
}

impl Content {
    fn octets(self) -> Vec<u8> {
        const NOTHING: [u8; 4] = [0; 4];
        match self {
            Self::Nothing => NOTHING.to_vec(),
            Self::Inval => {
                // To a frame of a call that nobody has.
                let frame = FullFrame {
                    destination: CallNumber::from_bits(2),
                    ..FullFrame::poke_from(CallNumber::from_bits(3), Timestamp::ZERO)
                };
                let ping = FullFrame {
                    subclass: Command::Ping.into(),
                    ..frame
                };
                stateless::invalid(&ping).unwrap_or_else(|| NOTHING.to_vec())
            }
        }
    }
}

impl Isolation {
    /// What the answerer sends while the mapping idles for this long.
    pub(super) fn far_packets(&self, idle: Duration) -> Later {
        let Some(ttl) = self.far else {
            return Later::default();
        };
        let most = u128::from(MAX_REPEATS);
        let count = idle.as_millis() / self.every.as_millis().max(1);
        let rows = count.div_ceil(most).min(MAX_DELAYS as u128);
        let rows = u32::try_from(rows).unwrap_or(1);
        Later {
            delays: (0..rows)
                .map(|row| self.every * (row * u32::from(MAX_REPEATS) + 1))
                .collect(),
            copies: (
                u8::try_from(count.min(most)).unwrap_or(MAX_REPEATS),
                self.every,
            ),
            ttl,
        }
    }
}

impl Lifetime {
    /// The candidate idles from now on: the boxes near to us are kept open.
    pub(super) fn keep_later(&mut self, place: usize, since: Instant) {
        if let Some(Isolation {
            near: Some(_),
            every,
            ..
        }) = self.config.isolation
        {
            self.kept.insert((since + every, place));
        }
    }

    /// Sends what keeps the boxes near to us open.
    pub(super) fn keep_near(&mut self, now: Instant) {
        let Some(Isolation {
            near: Some(near),
            every,
            ..
        }) = self.config.isolation
        else {
            return;
        };
        while let Some(&(due, place)) = self.kept.first()
            && due <= now
        {
            self.kept.pop_first();
            let Some(candidate) = self.candidates.get(place) else {
                continue;
            };
            let end = candidate.idle_since + candidate.first_idle();
            if candidate.stage == Stage::Idle && now + near.pause <= end {
                self.outbox.push_back(Transmit {
                    socket: candidate.socket,
                    peer: self.config.answerer.peer(),
                    payload: near.content.octets(),
                    ttl: near.ttl,
                });
                self.kept.insert((now + every, place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_packets_last_as_long_as_the_mapping_idles() {
        let isolation = Isolation {
            near: None,
            far: Some(1),
            every: Duration::from_secs(3),
        };
        let seconds = |later: &Later| -> Vec<u64> {
            let starts = later.delays.iter().map(Duration::as_secs);
            starts
                .flat_map(|start| (0..later.copies.0).map(move |copy| start + u64::from(copy) * 3))
                .collect()
        };
        assert_eq!(
            seconds(&isolation.far_packets(Duration::from_secs(10))),
            [3, 6, 9]
        );
        let long = seconds(&isolation.far_packets(Duration::from_secs(300)));
        assert_eq!(long.first(), Some(&3));
        assert!(long.last() >= Some(&300) && long.windows(2).all(|pair| pair[1] == pair[0] + 3));
        assert_eq!(isolation.far_packets(Duration::from_secs(2)).delays, []);
        let near = Isolation {
            far: None,
            ..isolation
        };
        assert_eq!(near.far_packets(Duration::from_secs(10)), Later::default());
    }
}
