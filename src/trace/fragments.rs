//! Puts datagrams together that were sent in fragments, within bounds.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::wire::link::{Fragment, Udp};

/// As many datagrams are put together at once.
const AT_ONCE: usize = 64;
/// Their pieces come within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// No datagram is longer.
const LONGEST: usize = 65_535;
/// Nor in more pieces.
const PIECES: usize = 128;
const UDP_HEADER: usize = 8;

/// Datagrams of which pieces are missing.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: VecDeque<Partial>,
    whole: Vec<u8>,
    /// Datagrams that were given up.
    pub(super) given_up: u64,
}

#[derive(Debug)]
struct Partial {
    key: (IpAddr, IpAddr, u32),
    since: Duration,
    pieces: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
}

impl Fragments {
    /// Takes a piece; the datagram where it was the last that was missing.
    pub(super) fn take(&mut self, piece: &Fragment<'_>, now: Duration) -> Option<Udp<'_>> {
        let before = self.waiting.len();
        self.waiting
            .retain(|partial| now.saturating_sub(partial.since) < PATIENCE);
        self.given_up += (before - self.waiting.len()) as u64;
        let key = (piece.source, piece.destination, piece.id);
        let end = piece.position + piece.octets.len();
        if end > LONGEST {
            return None;
        }
        let place = self.waiting.iter().position(|partial| partial.key == key);
        let mut partial = if let Some(partial) = place.and_then(|at| self.waiting.remove(at)) {
            partial
        } else {
            if self.waiting.len() >= AT_ONCE {
                self.waiting.pop_front();
                self.given_up += 1;
            }
            Partial {
                key,
                since: now,
                pieces: Vec::new(),
                length: None,
            }
        };
        if !piece.more {
            partial.length = Some(end);
        }
        if partial.pieces.len() < PIECES {
            partial.pieces.push((piece.position, piece.octets.to_vec()));
        }
        if !partial.put_together(&mut self.whole) {
            self.waiting.push_back(partial);
            return None;
        }
        let (&[s0, s1, d0, d1, ..], payload) = self.whole.split_first_chunk::<UDP_HEADER>()?;
        Some(Udp {
            source: SocketAddr::new(piece.source, u16::from_be_bytes([s0, s1])),
            destination: SocketAddr::new(piece.destination, u16::from_be_bytes([d0, d1])),
            payload,
        })
    }
}

impl Partial {
    /// Lays the pieces side by side; whether none is missing.
    fn put_together(&mut self, whole: &mut Vec<u8>) -> bool {
        let Some(length) = self.length else {
            return false;
        };
        self.pieces.sort_by_key(|(position, _)| *position);
        whole.clear();
        for (position, octets) in &self.pieces {
            let Some(fresh) = whole
                .len()
                .checked_sub(*position)
                .and_then(|known| octets.get(known.min(octets.len())..))
            else {
                return false;
            };
            whole.extend_from_slice(fresh);
        }
        whole.len() >= length
    }
}
