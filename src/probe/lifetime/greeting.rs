//! The greeting: is the answerer there, and which token does it give?

use std::time::{Duration, Instant};

use super::{Lifetime, LifetimeEvent, Phase};
use crate::probe::message::Nonce;

/// Greetings before the answerer is given up on.
const GREETINGS: u8 = 8;
/// Time between them.
const GREETING_INTERVAL: Duration = Duration::from_millis(500);

impl Lifetime {
    pub(super) fn greet(&mut self, transmissions: u8, now: Instant) {
        if transmissions >= GREETINGS {
            self.phase = Phase::Over;
            self.events.push_back(LifetimeEvent::NoAnswerer);
            return;
        }
        self.phase = Phase::Greeting {
            due: now + GREETING_INTERVAL,
            sent_at: now,
            transmissions: transmissions + 1,
        };
        let nonce = Nonce {
            session: self.session,
            index: 0,
        };
        self.transmit(
            self.config.control,
            self.config.answerer.greeting(nonce),
            now,
        );
    }
}
