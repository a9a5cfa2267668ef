//! The front door of a server: tells apart what arrives on its sockets and answers, without state,
//! whatever belongs to no dialogue.

use std::{collections::VecDeque, time::Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    proto::{
        admission::{Rate, RateLimit},
        contract::{Input, Machine, Transmit, earlier},
        door::Arrival,
        registrar::{Registrar, RegistrarConfig, RegistrarEvent},
        stateless,
        switchboard::{Switchboard, SwitchboardConfig, SwitchboardEvent},
    },
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

/// The manners of a server towards frames that belong to no dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As Asterisk: dropped silently.
    Asterisk,
    /// As RFC 5456 §6.9.2 asks: INVAL.
    Rfc,
}

/// How an endpoint behaves.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The registrar behind the door; `None`: POKE alone is answered.
    pub registrar: Option<RegistrarConfig>,
    /// The switchboard behind the door; `None`: calls are not answered.
    pub switchboard: Option<SwitchboardConfig>,
    /// Manners.
    pub profile: Profile,
    /// Seed of hash keys.
    pub seed: [u8; 32],
}

/// Counts of what an endpoint did, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// POKEs answered.
    pub pokes: u64,
    /// Datagrams that are no IAX2 frame.
    pub malformed: u64,
    /// Frames that belong to no dialogue.
    pub strays: u64,
    /// Datagrams that were not answered because their source, or all together, exceeded a rate.
    pub limited: u64,
}

/// What happened at a server.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointEvent {
    /// At its registrar.
    Registrar(RegistrarEvent),
    /// At its switchboard.
    Switchboard(SwitchboardEvent),
}

/// A server's front door.
#[derive(Debug)]
pub struct Endpoint {
    registrar: Option<Registrar>,
    switchboard: Option<Switchboard>,
    profile: Profile,
    pokes: RateLimit,
    counts: EndpointCounts,
    outbox: VecDeque<Transmit>,
}

impl Endpoint {
    /// An endpoint without dialogues.
    #[must_use]
    pub fn new(config: EndpointConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        Self {
            registrar: config
                .registrar
                .map(|registrar| Registrar::new(registrar, now)),
            switchboard: config
                .switchboard
                .map(|switchboard| Switchboard::new(switchboard, now)),
            profile: config.profile,
            pokes: RateLimit::new(
                Rate::per_second(50),
                Rate::per_second(20_000),
                rng.random(),
                now,
            ),
            counts: EndpointCounts::default(),
            outbox: VecDeque::new(),
        }
    }

    /// The registrar, where there is one.
    #[must_use]
    pub const fn registrar(&self) -> Option<&Registrar> {
        self.registrar.as_ref()
    }

    /// The switchboard, where there is one.
    #[must_use]
    pub const fn switchboard(&self) -> Option<&Switchboard> {
        self.switchboard.as_ref()
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> EndpointCounts {
        self.counts
    }

    /// Takes a datagram of a call under way; false where it is none. Nothing else may read it before: an
    /// encrypted frame looks like anything.
    pub fn handle_live(&mut self, datagram: &[u8], arrival: Arrival, now: Instant) -> bool {
        let taken = self
            .switchboard
            .as_mut()
            .is_some_and(|switchboard| switchboard.handle_live(datagram, arrival, now));
        if taken {
            self.counts.datagrams += 1;
            self.look_up(now);
        }
        taken
    }

    /// Takes a datagram that belongs to no call under way.
    pub fn handle_other(&mut self, datagram: &[u8], arrival: Arrival, now: Instant) {
        self.counts.datagrams += 1;
        match Frame::decode(datagram) {
            Ok(Frame::Full(frame)) => self.handle_full(&frame, datagram, arrival, now),
            Ok(Frame::Mini(_) | Frame::Video(_) | Frame::Trunk(_)) => self.counts.strays += 1,
            // Four zero octets keep a mapping open; nobody answers them.
            Ok(Frame::Meta(_)) => {}
            Err(_) => self.counts.malformed += 1,
        }
    }

    /// Tells the switchboard where accounts are that it wants to ring.
    fn look_up(&mut self, now: Instant) {
        let Some(switchboard) = &mut self.switchboard else {
            return;
        };
        while let Some((line, user)) = switchboard.poll_lookup() {
            let binding = self
                .registrar
                .as_ref()
                .and_then(|registrar| registrar.binding(user))
                .filter(|binding| binding.proven);
            let place = binding.map(|binding| (binding.socket, binding.peer));
            switchboard.ring(line, place, now);
        }
    }

    fn handle_full(
        &mut self,
        frame: &FullFrame<'_>,
        datagram: &[u8],
        arrival: Arrival,
        now: Instant,
    ) {
        // A POKE is answered whatever its destination number, as by Asterisk.
        if frame.command() == Some(Command::Poke) {
            if self.admit(arrival, now) {
                self.counts.pokes += 1;
                self.answer(arrival, stateless::reply(frame, Command::Pong, &[]));
            }
            return;
        }
        let taken =
            self.registrar
                .as_mut()
                .is_some_and(|registrar| registrar.handle_frame(frame, arrival, now))
                || self.switchboard.as_mut().is_some_and(|switchboard| {
                    switchboard.handle_first(frame, datagram, arrival, now)
                });
        if taken {
            return;
        }
        self.counts.strays += 1;
        if self.profile == Profile::Rfc
            && let Some(invalid) = stateless::invalid(frame)
            && self.admit(arrival, now)
        {
            self.answer(arrival, invalid);
        }
    }

    fn admit(&mut self, arrival: Arrival, now: Instant) -> bool {
        let admitted = self.pokes.admit(arrival.peer.get().ip(), now);
        if !admitted {
            self.counts.limited += 1;
        }
        admitted
    }

    fn answer(&mut self, arrival: Arrival, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: arrival.socket,
            peer: arrival.peer,
            payload,
            ttl: None,
        });
    }
}

impl Machine for Endpoint {
    type Event = EndpointEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let Input::Datagram {
            socket,
            source,
            payload,
        } = input
        else {
            return;
        };
        let arrival = Arrival {
            socket,
            peer: source,
            length: payload.len(),
        };
        if self.handle_live(payload, arrival, now) {
            return;
        }
        self.handle_other(payload, arrival, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(registrar) = &mut self.registrar {
            registrar.handle_timeout(now);
        }
        if let Some(switchboard) = &mut self.switchboard {
            switchboard.handle_timeout(now);
            self.look_up(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let calls = self.switchboard.as_mut();
        calls
            .and_then(Switchboard::poll_transmit)
            .or_else(|| self.registrar.as_mut().and_then(Registrar::poll_transmit))
            .or_else(|| self.outbox.pop_front())
    }

    fn poll_event(&mut self) -> Option<EndpointEvent> {
        let registrar = self.registrar.as_mut().and_then(Registrar::poll_event);
        registrar.map(EndpointEvent::Registrar).or_else(|| {
            let switchboard = self.switchboard.as_mut();
            let event = switchboard.and_then(Switchboard::poll_event);
            event.map(EndpointEvent::Switchboard)
        })
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        earlier(
            self.registrar.as_ref().and_then(Registrar::poll_timeout),
            self.switchboard
                .as_ref()
                .and_then(Switchboard::poll_timeout),
        )
    }
}
