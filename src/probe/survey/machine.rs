//! The five verbs of a survey: every input goes to the experiment whose socket it is for.

use std::time::Instant;

use super::{
    BUSY_SOCKETS, HAIRPIN_SOCKETS, MAPPING_SOCKET, REACH_SOCKET, REFLECTOR_REACH_SOCKET,
    REFRESH_SOCKETS, REGISTRATION_SOCKET, Stage, Survey, SurveyEvent, TICK, beside::Beside,
    sweep::Sweep,
};
use crate::{
    probe::{
        callback::Callback, calls::Calls, hairpin::Hairpin, lifetime::Lifetime, mapping::Mapping,
        reach::Reach, refresh::Refresh,
    },
    proto::{
        contract::{Input, Machine, Transmit, earlier},
        registration::Registration,
    },
};

impl Machine for Survey {
    type Event = SurveyEvent;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        let socket = match input {
            Input::Opened { socket, .. }
            | Input::Datagram { socket, .. }
            | Input::Unreachable { socket, .. } => socket,
        };
        self.give_to_calls(socket, input, now);
        match socket {
            REGISTRATION_SOCKET => {
                if let (Input::Opened { local, .. }, Some(record)) = (input, &mut self.record) {
                    record.note_local(local);
                }
                if let Some(reach) = &mut self.same_port {
                    reach.handle_input(input, now);
                }
                if let Some(registration) = &mut self.registration {
                    registration.handle_input(input, now);
                }
                for mapping in [&mut self.mapping, &mut self.registered_mapping]
                    .into_iter()
                    .flatten()
                {
                    mapping.handle_input(input, now);
                }
            }
            REACH_SOCKET => {
                if let Some(reach) = &mut self.reach {
                    reach.handle_input(input, now);
                }
            }
            REFLECTOR_REACH_SOCKET => {
                if let Some(reach) = &mut self.reflector_reach {
                    reach.handle_input(input, now);
                }
            }
            MAPPING_SOCKET => {
                if let Some(mapping) = &mut self.mapping {
                    mapping.handle_input(input, now);
                }
            }
            socket if Beside::owns(socket) => self.beside.handle_input(input, now),
            socket if HAIRPIN_SOCKETS.contains(&socket) => {
                if let Some(hairpin) = &mut self.hairpin {
                    hairpin.handle_input(input, now);
                }
            }
            socket if BUSY_SOCKETS.contains(&socket.0) => {
                if let Some(busy) = &mut self.busy {
                    busy.handle_input(input, now);
                }
            }
            socket if REFRESH_SOCKETS.contains(&socket.0) => {
                if let Some(refresh) = &mut self.refresh {
                    refresh.handle_input(input, now);
                }
            }
            _ => {
                if let Some(lifetime) = &mut self.lifetime {
                    lifetime.handle_input(input, now);
                }
            }
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        for reach in self.all_reaches() {
            reach.handle_timeout(now);
        }
        if let Some(registration) = &mut self.registration {
            registration.handle_timeout(now);
        }
        for mapping in [&mut self.mapping, &mut self.registered_mapping]
            .into_iter()
            .flatten()
        {
            mapping.handle_timeout(now);
        }
        self.beside.handle_timeout(now);
        if let Some(hairpin) = &mut self.hairpin {
            hairpin.handle_timeout(now);
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.handle_timeout(now);
        }
        if let Some(busy) = &mut self.busy {
            busy.handle_timeout(now);
        }
        if let Some(refresh) = &mut self.refresh {
            refresh.handle_timeout(now);
        }
        self.calls_timeout(now);
        if let (Some(due), Some(lifetime)) = (self.tick, &self.lifetime)
            && due <= now
        {
            self.tick = (!lifetime.is_finished()).then_some(now + TICK);
            self.events
                .push_back(SurveyEvent::Progress(lifetime.progress(now)));
        }
        if self.is_renewing() && self.renew.is_some_and(|due| due <= now) {
            self.register(now);
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<SurveyEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.stage == Stage::Over {
            return None;
        }
        let renew = self
            .renew
            .filter(|_| self.is_renewing())
            .map(|due| (due, "renew the registration"));
        [
            self.reach.as_ref().and_then(Reach::poll_timeout),
            self.reflector_reach.as_ref().and_then(Reach::poll_timeout),
            self.same_port.as_ref().and_then(Reach::poll_timeout),
            self.registration
                .as_ref()
                .and_then(Registration::poll_timeout),
            self.mapping.as_ref().and_then(Mapping::poll_timeout),
            self.registered_mapping
                .as_ref()
                .and_then(Mapping::poll_timeout),
            self.beside.poll_timeout(),
            self.hairpin.as_ref().and_then(Hairpin::poll_timeout),
            self.lifetime.as_ref().and_then(Sweep::poll_timeout),
            self.busy.as_ref().and_then(Lifetime::poll_timeout),
            self.refresh.as_ref().and_then(Refresh::poll_timeout),
            self.calls.as_ref().and_then(Calls::poll_timeout),
            self.callback.as_ref().and_then(Callback::poll_timeout),
            renew,
            self.tick.map(|due| (due, "tell how far the sweep is")),
        ]
        .into_iter()
        .fold(None, earlier)
    }
}
