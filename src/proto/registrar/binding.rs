//! Where a registered account is, and whether it still answers.

use std::time::{Duration, Instant};

use super::{Arrival, Registrar, RegistrarEvent};
use crate::{
    proto::{
        contract::{SocketKey, Transmit, earlier},
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
        qualify: Option<Duration>,
    ) -> Self {
        Self {
            peer,
            socket,
            expires,
            qualify,
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

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let qualify = self
            .poke
            .as_ref()
            .map(|poke| poke.due)
            .or(self.next_poke)
            .map(|due| (due, "qualify an account"));
        earlier(Some((self.expires, "drop a binding")), qualify)
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
        let found = self.bindings.iter_mut().find(|(_, binding)| {
            binding.peer == arrival.peer
                && binding
                    .poke
                    .as_ref()
                    .is_some_and(|poke| poke.number == frame.destination)
        });
        let Some((&index, binding)) = found else {
            return false;
        };
        let Some(poke) = binding.poke.take() else {
            return false;
        };
        binding.next_poke = binding.qualify.map(|period| now + period);
        let round_trip = now.saturating_duration_since(poke.sent);
        let acknowledgement =
            binding.transmit(stateless::acknowledgement(frame, frame.destination));
        self.outbox.push_back(acknowledgement);
        let user = self.name(index);
        self.events
            .push_back(RegistrarEvent::Reachable { user, round_trip });
        true
    }

    /// Drops bindings that were not renewed, and POKEs those that are to be.
    pub(super) fn expire_and_qualify(&mut self, now: Instant) {
        let due: Vec<usize> = self
            .bindings
            .iter()
            .filter(|(_, binding)| binding.poll_timeout().is_some_and(|(due, _)| due <= now))
            .map(|(&index, _)| index)
            .collect();
        for index in due {
            let user = self.name(index);
            let number = random_call_number(&mut self.rng);
            let Some(binding) = self.bindings.get_mut(&index) else {
                continue;
            };
            if binding.expires <= now {
                self.bindings.remove(&index);
                self.events.push_back(RegistrarEvent::Expired { user });
            } else if let Some(mut poke) = binding.poke.take() {
                if poke.transmissions >= TRANSMISSIONS {
                    binding.next_poke = Some(now + RETRY_UNREACHABLE);
                    self.events.push_back(RegistrarEvent::Unreachable { user });
                    continue;
                }
                poke.transmissions += 1;
                poke.interval = (poke.interval * 10).min(LAST_INTERVAL);
                poke.due = now + poke.interval;
                let transmit = binding.begin(poke);
                self.outbox.push_back(transmit);
            } else {
                let transmit = binding.begin(Poke::new(number, now));
                self.outbox.push_back(transmit);
            }
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
