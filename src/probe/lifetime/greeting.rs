//! The greeting: is the answerer there, and which token does it give?

use std::time::{Duration, Instant};

use super::{Lifetime, LifetimeEvent, Phase};
use crate::probe::message::Nonce;

/// Greetings before the answerer is given up on.
const GREETINGS: u8 = 8;
/// Time between them.
const GREETING_INTERVAL: Duration = Duration::from_millis(500);
/// A token that was to be renewed and was not is asked for again after this time.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

impl Lifetime {
    pub(super) fn greet(&mut self, transmissions: u8, now: Instant) {
        if transmissions >= GREETINGS {
            self.phase = Phase::Over;
            self.events.push_back(LifetimeEvent::NoAnswerer);
            return;
        }
        // Which greeting is answered is not told; the first errs on the side of patience, and control
        // probes soon know better.
        let sent_at = match self.phase {
            Phase::Greeting { sent_at, .. } if transmissions > 0 => sent_at,
            Phase::Greeting { .. } | Phase::Sweeping | Phase::Over => now,
        };
        self.phase = Phase::Greeting {
            due: now + GREETING_INTERVAL,
            sent_at,
            transmissions: transmissions + 1,
        };
        self.send_greeting(now);
    }

    /// A sweep may outlast its token. It is renewed before its end, so that a token that is refused all the
    /// same belongs to an answerer that has begun anew, and forgotten what it was to answer.
    pub(super) fn renew_later(&mut self, lifetime: Duration, now: Instant) {
        self.renew = Some(now + (lifetime / 2).max(RENEW_AGAIN));
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.renew = Some(now + RENEW_AGAIN);
        self.send_greeting(now);
    }

    fn send_greeting(&mut self, now: Instant) {
        let nonce = Nonce {
            session: self.session,
            index: 0,
        };
        let greeting = self.config.answerer.greeting(nonce);
        self.transmit(self.config.control, greeting, now);
    }
}
