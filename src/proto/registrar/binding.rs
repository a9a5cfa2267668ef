//! Where a registered account is, and whether it still answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Registrar, RegistrarEvent};
use crate::{
    proto::{
        contract::{SocketKey, Transmit},
        door::Arrival,
        numbers::Key,
        registration::random_call_number,
        stateless,
    },
    types::{CallNumber, PeerAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

/// A registered account's place.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its address as seen from here.
    pub peer: PeerAddr,
    /// The socket of ours that it registered at.
    pub socket: SocketKey,
    /// When it is dropped unless renewed.
    pub expires: Instant,
    /// Whether a call token or the answer to a challenge proved the address.
    pub proven: bool,
    pub(super) qualify: Option<Duration>,
    pub(super) poke: Option<Poke>,
    pub(super) next_poke: Option<Instant>,
}

/// A qualify POKE under way.
#[derive(Clone, Debug)]
pub(super) struct Poke {
    number: CallNumber,
    sent: Instant,
    due: Instant,
    interval: Duration,
    transmissions: u8,
}

/// As Asterisk with its default limit of 2 s: sent at 0, 0.5 and 5.5 s; then unreachable.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
const LAST_INTERVAL: Duration = Duration::from_secs(5);
const TRANSMISSIONS: u8 = 3;
/// After an unanswered POKE the next comes sooner (`qualifyfreqnotok`).
const RETRY_UNREACHABLE: Duration = Duration::from_secs(10);

impl Poke {
    pub(super) fn new(number: CallNumber, now: Instant) -> Self {
        Self {
            number,
            sent: now,
            due: now + FIRST_INTERVAL,
            interval: FIRST_INTERVAL,
            transmissions: 1,
        }
    }

    fn frame(&self) -> Vec<u8> {
        let poke = FullFrame {
            retransmission: self.transmissions > 1,
            ..FullFrame::poke_from(self.number, Timestamp::ZERO)
        };
        Frame::Full(poke).to_vec()
    }
}

impl Binding {
    pub(super) fn new(
        peer: PeerAddr,
        socket: SocketKey,
        expires: Instant,
        proven: bool,
        qualify: Option<Duration>,
    ) -> Self {
        Self {
            peer,
            socket,
            expires,
            proven,
            qualify: qualify.filter(|_| proven),
            poke: None,
            next_poke: None,
        }
    }

    /// Begins a POKE; returns its first datagram.
    pub(super) fn begin(&mut self, poke: Poke) -> Transmit {
        let transmit = self.transmit(poke.frame());
        self.next_poke = None;
        self.poke = Some(poke);
        transmit
    }

    /// The next deadline, and what for.
    fn due(&self) -> (Instant, &'static str) {
        let qualify = self.poke.as_ref().map(|poke| poke.due).or(self.next_poke);
        match qualify {
            Some(due) if due < self.expires => (due, "qualify an account"),
            _ => (self.expires, "drop a binding"),
        }
    }

    fn poke_key(&self) -> Option<Key> {
        self.poke.as_ref().map(|poke| (self.peer, poke.number))
    }

    fn transmit(&self, payload: Vec<u8>) -> Transmit {
        Transmit {
            socket: self.socket,
            peer: self.peer,
            payload,
            ttl: None,
        }
    }
}

/// All bindings, by account, and what finds one without looking at all.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    of: BTreeMap<usize, Binding>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// By where a POKE under way went, and its call number.
    pokes: BTreeMap<Key, usize>,
}

impl Bindings {
    pub(super) fn get(&self, index: usize) -> Option<&Binding> {
        self.of.get(&index)
    }

    /// Takes an account's binding out, to be changed and put back, or to be forgotten.
    pub(super) fn take(&mut self, index: usize) -> Option<Binding> {
        let binding = self.of.remove(&index)?;
        self.deadlines.remove(&(binding.due().0, index));
        if let Some(key) = binding.poke_key()
            && self.pokes.get(&key) == Some(&index)
        {
            self.pokes.remove(&key);
        }
        Some(binding)
    }

    pub(super) fn put(&mut self, index: usize, binding: Binding) {
        self.deadlines.insert((binding.due().0, index));
        if let Some(key) = binding.poke_key() {
            self.pokes.insert(key, index);
        }
        self.of.insert(index, binding);
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (_, index) = self.deadlines.first()?;
        self.of.get(index).map(Binding::due)
    }

    /// Takes out a binding that something is due for.
    fn take_due(&mut self, now: Instant) -> Option<(usize, Binding)> {
        let (_, index) = *self.deadlines.first().filter(|(due, _)| *due <= now)?;
        self.take(index).map(|binding| (index, binding))
    }
}

impl Registrar {
    /// Takes the PONG to a qualify POKE; false where none of ours fits.
    pub(super) fn handle_pong(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        now: Instant,
    ) -> bool {
        if frame.command() != Some(Command::Pong) {
            return false;
        }
        let Some(&index) = self.bindings.pokes.get(&(arrival.peer, frame.destination)) else {
            return false;
        };
        let Some(mut binding) = self.bindings.take(index) else {
            return false;
        };
        if let Some(poke) = binding.poke.take() {
            binding.next_poke = binding.qualify.map(|period| now + period);
            let acknowledgement = stateless::acknowledgement(frame, frame.destination);
            self.outbox.push_back(binding.transmit(acknowledgement));
            self.events.push_back(RegistrarEvent::Reachable {
                user: self.name(index),
                round_trip: now.saturating_duration_since(poke.sent),
            });
        }
        self.bindings.put(index, binding);
        true
    }

    /// Drops bindings that were not renewed, and POKEs those that are to be.
    pub(super) fn expire_and_qualify(&mut self, now: Instant) {
        while let Some((index, mut binding)) = self.bindings.take_due(now) {
            if binding.expires <= now {
                let user = self.name(index);
                self.events.push_back(RegistrarEvent::Expired { user });
                continue;
            }
            match binding.poke.take() {
                Some(poke) if poke.transmissions >= TRANSMISSIONS => {
                    binding.next_poke = Some(now + RETRY_UNREACHABLE);
                    let user = self.name(index);
                    self.events.push_back(RegistrarEvent::Unreachable { user });
                }
                Some(mut poke) => {
                    poke.transmissions += 1;
                    poke.interval = (poke.interval * 10).min(LAST_INTERVAL);
                    poke.due = now + poke.interval;
                    self.outbox.push_back(binding.begin(poke));
                }
                None => {
                    let poke = Poke::new(random_call_number(&mut self.rng), now);
                    self.outbox.push_back(binding.begin(poke));
                }
            }
            self.bindings.put(index, binding);
        }
    }

    fn name(&self, index: usize) -> String {
        self.config
            .accounts
            .get(index)
            .map(|account| account.name.clone())
            .unwrap_or_default()
    }
}
