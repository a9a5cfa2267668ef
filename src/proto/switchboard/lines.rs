//! The lines of a switchboard, and what finds one without looking at all: by the call numbers of a datagram,
//! and by the next deadline.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
    time::Instant,
};

use siphasher::sip::SipHasher13;

use super::line::Line;
use crate::{
    proto::numbers::Key,
    types::{CallNumber, PeerAddr},
};

/// Names a line while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId(u32);

/// Hashes by a key that nobody outside can predict: callers choose their numbers.
#[derive(Clone, Copy, Debug)]
struct Keyed([u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// All lines.
#[derive(Debug)]
pub(super) struct Lines {
    slots: Vec<Option<Box<Line>>>,
    free: Vec<u32>,
    /// By the peer's address and our call number. Nothing walks a map: its order is nobody's.
    by_local: HashMap<Key, LineId, Keyed>,
    /// By the peer's address and its call number.
    by_remote: HashMap<Key, LineId, Keyed>,
    deadlines: BTreeSet<(Instant, LineId)>,
}

impl Lines {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_local: HashMap::with_hasher(Keyed(key)),
            by_remote: HashMap::with_hasher(Keyed(key)),
            deadlines: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_local.len()
    }

    pub(super) fn get(&self, id: LineId) -> Option<&Line> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: LineId) -> Option<&mut Line> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn of_local(&self, peer: PeerAddr, local: CallNumber) -> Option<LineId> {
        self.by_local.get(&(peer, local)).copied()
    }

    pub(super) fn of_remote(&self, peer: PeerAddr, remote: CallNumber) -> Option<LineId> {
        self.by_remote.get(&(peer, remote)).copied()
    }

    pub(super) fn insert(&mut self, line: Line) -> LineId {
        let key = line.key();
        let remote = line.remote;
        let peer = line.peer;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let id = LineId(at);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            *slot = Some(Box::new(line));
        }
        self.by_local.insert(key, id);
        if !remote.is_none() {
            self.by_remote.insert((peer, remote), id);
        }
        id
    }

    /// The peer of a line that we dialled has shown its call number.
    pub(super) fn learn_remote(&mut self, id: LineId) {
        let Some(line) = self.get_mut(id) else {
            return;
        };
        let remote = line.call.remote();
        if line.remote.is_none() && !remote.is_none() {
            line.remote = remote;
            let key = (line.peer, remote);
            self.by_remote.insert(key, id);
        }
    }

    pub(super) fn remove(&mut self, id: LineId) -> Option<Box<Line>> {
        let line = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        self.by_local.remove(&line.key());
        let remote = (line.peer, line.remote);
        if self.by_remote.get(&remote) == Some(&id) {
            self.by_remote.remove(&remote);
        }
        if let Some(armed) = line.armed {
            self.deadlines.remove(&(armed, id));
        }
        Some(line)
    }

    /// Has the line's next deadline stand in the list, where it changed.
    pub(super) fn arm(&mut self, id: LineId) {
        let Some(line) = self.get_mut(id) else {
            return;
        };
        let due = line.due();
        if line.armed == Some(due) {
            return;
        }
        let before = line.armed.replace(due);
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.insert((due, id));
    }

    /// The next deadline.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Takes a line whose deadline has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<LineId> {
        let (_, id) = *self.deadlines.first().filter(|(due, _)| *due <= now)?;
        self.deadlines.pop_first();
        if let Some(line) = self.get_mut(id) {
            line.armed = None;
        }
        Some(id)
    }
}
