//! The survey's test calls: they begin with the sweep, on a socket of their own.

use std::time::Instant;

use super::{Survey, SurveyEvent};
use crate::{
    probe::calls::Calls,
    proto::contract::{Input, Machine as _, SocketKey},
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
    }

    /// What was heard in the one call that was to be recorded: samples at 8 kHz.
    #[must_use]
    pub fn recording(&self) -> Option<&[i16]> {
        self.calls.as_ref()?.recording()
    }

    /// The calls may share the socket of another experiment, which may have opened it before they began.
    pub(super) fn give_to_calls(&mut self, socket: SocketKey, input: Input<'_>, now: Instant) {
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

    pub(super) fn drain_calls(&mut self) {
        let Some(calls) = &mut self.calls else {
            return;
        };
        while let Some(transmit) = calls.poll_transmit() {
            self.outbox.push_back(transmit);
        }
        while let Some(event) = calls.poll_event() {
            self.events.push_back(SurveyEvent::Calls(event));
        }
    }
}
