//! The survey's test calls: a burst that begins with the sweep, on a socket of its own, and the call that is to
//! reach the registered one.

use std::time::Instant;

use rand::RngExt as _;

use super::{CALLBACK_SOCKET, REGISTRATION_SOCKET, Stage, Survey, SurveyEvent};
use crate::{
    probe::{
        callback::{Callback, CallbackConfig},
        calls::Calls,
    },
    proto::{
        contract::{Input, Machine as _, SocketKey},
        registration::Outcome,
    },
};

impl Survey {
    pub(super) fn begin_calls(&mut self, now: Instant) {
        if let Some(config) = self.config.calls.clone() {
            let mut calls = Calls::new(*config, self.born, now);
            if let Some((socket, local)) = self.calls_local {
                calls.handle_input(Input::Opened { socket, local }, now);
            }
            self.calls = Some(calls);
        }
        // A registration that was refused is not made again, and no call will reach it.
        if !self.is_registered()
            && let Some(callback) = &mut self.callback
        {
            callback.give_up();
        }
    }

    pub(super) fn begin_callback(&mut self) {
        if let (Some(number), Some(credentials)) = (&self.config.callback, &self.config.credentials)
        {
            self.callback = Some(Callback::new(CallbackConfig {
                provider: self.config.provider,
                number: number.clone(),
                credentials: credentials.clone(),
                registered: REGISTRATION_SOCKET,
                caller: CALLBACK_SOCKET,
                seed: self.rng.random(),
            }));
        }
    }

    /// What was heard in the one call that was to be recorded: samples at 8 kHz.
    #[must_use]
    pub fn recording(&self) -> Option<&[i16]> {
        self.calls.as_ref()?.recording()
    }

    /// Whether nothing more comes of any call.
    pub(super) fn calls_are_over(&self) -> bool {
        self.calls.as_ref().is_none_or(Calls::is_finished)
            && self.callback.as_ref().is_none_or(Callback::is_finished)
    }

    /// The calls may share the socket of another experiment, which may have opened it before they began.
    pub(super) fn give_to_calls(&mut self, socket: SocketKey, input: Input<'_>, now: Instant) {
        if let Some(callback) = &mut self.callback {
            callback.handle_input(input, now);
        }
        let Some(config) = &self.config.calls else {
            return;
        };
        if let (Input::Opened { local, .. }, true) = (input, socket == config.socket) {
            self.calls_local = Some((socket, local));
        }
        if let Some(calls) = self.calls.as_mut().filter(|_| config.owns(socket)) {
            calls.handle_input(input, now);
        }
    }

    pub(super) fn calls_timeout(&mut self, now: Instant) {
        if let Some(calls) = &mut self.calls {
            calls.handle_timeout(now);
        }
        if let Some(callback) = &mut self.callback {
            callback.handle_timeout(now);
        }
    }

    pub(super) fn drain_calls(&mut self) {
        if let Some(calls) = &mut self.calls {
            while let Some(transmit) = calls.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while let Some(event) = calls.poll_event() {
                self.events.push_back(SurveyEvent::Calls(event));
            }
        }
        if let Some(callback) = &mut self.callback {
            while let Some(transmit) = callback.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while callback.poll_event().is_some() {
                self.events.push_back(SurveyEvent::CalledBack);
            }
        }
    }

    /// Tells the one who calls the registered socket how a registration of it ended. While a measurement
    /// is to move the account's binding, or has moved it, no call comes to that socket.
    pub(super) fn tell_callback(&mut self, outcome: &Outcome, now: Instant) {
        let moves = self.owes_binding || (self.stage == Stage::First && self.may_move_binding());
        let Some(callback) = self.callback.as_mut().filter(|_| !moves) else {
            return;
        };
        match (outcome, self.renew) {
            (Outcome::Acknowledged { .. }, Some(renew)) => {
                callback.note_registered(renew.saturating_duration_since(now), now);
            }
            // One that failed in the first stage may be tried again.
            _ if self.stage == Stage::First => {}
            _ => callback.note_failed(),
        }
    }
}
