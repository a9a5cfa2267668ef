//! A whole server: the registrar's endpoint and the reflector on the same sockets. `serve` runs it on
//! the network, the demonstration and the tests in virtual ones.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    probe::reflector::{Reflector, ReflectorCounts},
    proto::{
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        door::Arrival,
        endpoint::{Endpoint, EndpointConfig, EndpointCounts, EndpointEvent},
        token::Tokens,
    },
    types::PeerAddr,
    wire::iax2::frame::Frame,
};

/// How a provider behaves.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// The IAX2 end.
    pub endpoint: EndpointConfig,
    /// Makes and checks probe tokens.
    pub tokens: Tokens,
    /// The sockets, as [`Reflector::new`] numbers them.
    pub sockets: BTreeMap<SocketKey, PeerAddr>,
    /// Seed of hash keys.
    pub seed: [u8; 32],
}

/// A test provider.
#[derive(Debug)]
pub struct Provider {
    endpoint: Endpoint,
    reflector: Reflector,
}

impl Provider {
    /// A provider that nobody has called yet.
    #[must_use]
    pub fn new(config: ProviderConfig, now: Instant) -> Self {
        Self {
            endpoint: Endpoint::new(config.endpoint, now),
            reflector: Reflector::new(config.tokens, config.sockets, config.seed, now),
        }
    }

    /// The IAX2 end.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> (EndpointCounts, ReflectorCounts) {
        (self.endpoint.counts(), self.reflector.counts())
    }
}

impl Machine for Provider {
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
        if self.endpoint.handle_live(payload, arrival, now) {
            return;
        }
        if let Ok(Frame::Full(frame)) = Frame::decode(payload)
            && self.reflector.handle_frame(&frame, arrival, now)
        {
            return;
        }
        self.endpoint.handle_other(payload, arrival, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.reflector.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint
            .poll_transmit()
            .or_else(|| self.reflector.poll_transmit())
    }

    fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.endpoint.poll_event()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        earlier(self.endpoint.poll_timeout(), self.reflector.poll_timeout())
    }
}
