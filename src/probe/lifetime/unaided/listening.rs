//! The registrar's own POKEs as they arrive: each that comes through a mapping that was left alone proves
//! that it lived so long. One that does not come proves nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    probe::{behaviour::Shape, evidence::ShapeLifetime},
    proto::{
        contract::{Input, Machine as _, Transmit},
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
    },
    types::PeerAddr,
    wire::iax2::{command::Command, frame::Frame},
};

/// One registration, and what comes after it.
#[derive(Debug)]
pub(super) struct Listening {
    registrar: PeerAddr,
    registration: Registration,
    longest: Duration,
    opened: Instant,
    last_packet: Instant,
    /// When enough was listened; `None`: not registered yet.
    until: Option<Instant>,
    is_over: bool,
    registered: bool,
    exchange: Option<Duration>,
    stream: Option<Duration>,
    pub(super) outbox: VecDeque<Transmit>,
}

/// A POKE sooner than this after another packet shows no idle mapping.
const IDLE: Duration = Duration::from_secs(1);
/// What lies farther apart than this is a stream to Linux and its like.
const EXCHANGE: Duration = Duration::from_secs(2);
/// A registrar may keep a binding a little longer than it granted; Asterisk does so for 10 s.
const GRACE: Duration = Duration::from_secs(5);

impl Listening {
    pub(super) fn new(config: RegistrationConfig, longest: Duration, now: Instant) -> Self {
        let mut listening = Self {
            registrar: config.registrar,
            registration: Registration::new(config, now),
            longest,
            opened: now,
            last_packet: now,
            until: None,
            is_over: false,
            registered: false,
            exchange: None,
            stream: None,
            outbox: VecDeque::new(),
        };
        listening.drain(now);
        listening
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) const fn is_registered(&self) -> bool {
        self.registered
    }

    /// What was proven, for each kind of traffic.
    pub(super) fn shapes(&self) -> Vec<(Shape, ShapeLifetime)> {
        [
            (Shape::Exchange, self.exchange),
            (Shape::Stream, self.stream),
        ]
        .into_iter()
        .filter_map(|(shape, alive)| {
            let alive = alive?;
            let lifetime = ShapeLifetime {
                alive: Some(alive),
                samples: vec![(alive, Some(true))],
                ..ShapeLifetime::default()
            };
            Some((shape, lifetime))
        })
        .collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        self.until
            .or_else(|| self.registration.poll_timeout().map(|(at, _)| at))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.registration.handle_timeout(now);
        self.is_over |= self.until.is_some_and(|until| until <= now);
        self.drain(now);
    }

    pub(super) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram {
            source, payload, ..
        } = input
        {
            if source == self.registrar
                && self.registered
                && let Ok(Frame::Full(frame)) = Frame::decode(payload)
                && frame.command() == Some(Command::Poke)
            {
                self.poked(now);
            }
            self.last_packet = now;
        }
        self.registration.handle_input(input, now);
        self.drain(now);
    }

    /// A POKE of the registrar came through.
    fn poked(&mut self, now: Instant) {
        let idle = now.saturating_duration_since(self.last_packet);
        if idle < IDLE {
            return;
        }
        let was_exchange = self.last_packet.saturating_duration_since(self.opened) < EXCHANGE;
        let longest = if was_exchange {
            &mut self.exchange
        } else {
            &mut self.stream
        };
        *longest = (*longest).max(Some(idle));
        // Later ones come as far apart as these.
        self.is_over |= self.exchange.is_some() && self.stream.is_some();
    }

    fn drain(&mut self, now: Instant) {
        while let Some(transmit) = self.registration.poll_transmit() {
            self.last_packet = now;
            self.outbox.push_back(transmit);
        }
        while let Some(event) = self.registration.poll_event() {
            let RegistrationEvent::Ended(outcome) = event else {
                continue;
            };
            if let Outcome::Acknowledged { refresh, .. } = outcome {
                self.registered = true;
                self.until = Some(now + self.longest.min(refresh + GRACE));
            } else {
                self.is_over = true;
            }
        }
    }
}
