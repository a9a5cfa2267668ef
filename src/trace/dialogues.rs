//! Which dialogue a frame belongs to: by its flow, its direction and its call numbers (RFC 5456 §8.1.1).

use std::collections::HashMap;

use super::{call, hash::Keyed, mark::Mark, registration::Attempt};
use crate::types::CallNumber;

/// A dialogue under way.
#[derive(Debug)]
pub(super) enum Live {
    Call(Box<call::Live>),
    Registration(Box<Registration>),
}

/// A registration under way.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: u32,
    pub(super) flow: u32,
    /// Which end of the flow the client is.
    pub(super) client: usize,
    /// The registrar's call number.
    pub(super) far: CallNumber,
    pub(super) attempt: Attempt,
}

/// Where a dialogue is kept while it is under way.
pub(super) type Slot = u32;

/// One end's call number on a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(flow: u32, end: usize, number: CallNumber) -> Self {
        Self(u64::from(flow) << 16 | u64::from(end == 1) << 15 | u64::from(number.get()))
    }
}

/// All dialogues under way.
#[derive(Debug)]
pub(super) struct Dialogues {
    live: Vec<Option<Live>>,
    free: Vec<Slot>,
    by_number: HashMap<Key, Slot, Keyed>,
    /// Calls by both numbers, whatever the addresses: an end that moves keeps them.
    by_pair: HashMap<(CallNumber, CallNumber), Slot, Keyed>,
}

impl Dialogues {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self {
            live: Vec::new(),
            free: Vec::new(),
            by_number: HashMap::with_hasher(keyed),
            by_pair: HashMap::with_hasher(keyed),
        }
    }

    /// Dialogues under way.
    pub(super) fn len(&self) -> usize {
        self.live.len() - self.free.len()
    }

    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Slot> {
        self.by_number.get(&key).copied()
    }

    pub(super) fn find_pair(&self, one: CallNumber, other: CallNumber) -> Option<Slot> {
        self.by_pair.get(&(one, other)).copied()
    }

    #[inline]
    pub(super) fn get(&mut self, slot: Slot) -> Option<&mut Live> {
        self.live.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, key: Key, live: Live) -> Slot {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            self.live.push(None);
            u32::try_from(self.live.len() - 1).unwrap_or(u32::MAX)
        };
        if let Some(place) = self.live.get_mut(slot as usize) {
            *place = Some(live);
        }
        self.by_number.insert(key, slot);
        slot
    }

    /// The number of the other end is known now.
    pub(super) fn learn(&mut self, key: Key, slot: Slot) {
        self.by_number.insert(key, slot);
    }

    /// Both numbers of a call are known now.
    pub(super) fn learn_pair(&mut self, one: CallNumber, other: CallNumber, slot: Slot) {
        self.by_pair.insert((one, other), slot);
        self.by_pair.insert((other, one), slot);
    }

    /// Takes a dialogue out, and every way to it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Live> {
        let live = self.live.get_mut(slot as usize)?.take()?;
        let mut keys = Vec::with_capacity(4);
        match &live {
            Live::Call(live) => {
                let call = &live.call;
                let [one, other] = call.numbers;
                keys.push(Key::new(call.flow, call.caller, one));
                keys.push(Key::new(call.flow, 1 - call.caller, other));
                for pair in [(one, other), (other, one)] {
                    if self.by_pair.get(&pair) == Some(&slot) {
                        self.by_pair.remove(&pair);
                    }
                }
            }
            Live::Registration(live) => {
                keys.push(Key::new(live.flow, live.client, live.attempt.number));
                keys.push(Key::new(live.flow, 1 - live.client, live.far));
            }
        }
        for key in keys {
            if self.by_number.get(&key) == Some(&slot) {
                self.by_number.remove(&key);
            }
        }
        self.free.push(slot);
        Some(live)
    }

    /// The dialogues of which nothing more is to come, or all of them.
    pub(super) fn over(&self, now: Mark, all: bool) -> Vec<Slot> {
        let over = |live: &Live| match live {
            Live::Call(live) => live.is_done(now),
            Live::Registration(live) => live.attempt.is_done(now),
        };
        self.live
            .iter()
            .enumerate()
            .filter(|(_, live)| live.as_ref().is_some_and(|live| all || over(live)))
            .filter_map(|(slot, _)| u32::try_from(slot).ok())
            .collect()
    }
}
