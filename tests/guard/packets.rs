//! The NAT and the registrations of the simulated world.

use iax2_natcheck::guard::observation::{OwnPortFrame, Process, ProviderId, RegistryState, Seen};
use rand::RngExt as _;

use super::{Entry, SENT_AT, Source, World, s};

impl World {
    pub(super) fn start_registrations(&mut self) {
        for line in &mut self.lines {
            line.registration.began = self.now;
            line.registration.sent = 0;
            line.registration.due = self.now;
        }
    }

    /// A packet of Asterisk's leaves the PBX. Whether the provider gets it.
    pub(super) fn leave(&mut self, place: usize) -> bool {
        let (now, works) = (self.now, self.wan_works());
        let routed = self.wan.link == Some(true) || self.fallback;
        let source = match (self.wan.link, self.wan.has_address) {
            (Some(true), Some(true)) => Source::Wan(self.address),
            (Some(true), _) => Source::Inner,
            _ => Source::Private,
        };
        let (exchange, stream) = (self.exchange, self.stream);
        let is_lost = self.loss > 0 && self.rng.random_range(0..self.loss) == 0;
        let line = &mut self.lines[place];
        if line.held_until.is_some_and(|until| until > now) || !routed {
            return false;
        }
        let entry = line
            .entry
            .take_if(|entry| entry.expires > now)
            .unwrap_or(Entry {
                source,
                made: now,
                stream: false,
                expires: now,
            });
        let timer = if entry.stream { stream } else { exchange };
        line.entry = Some(Entry {
            expires: now + timer,
            ..entry
        });
        works && entry.source == Source::Wan(self.address) && line.up && !is_lost
    }

    /// An answer comes back: what lasts longer than an exchange becomes a stream.
    pub(super) fn answer(&mut self, place: usize) {
        let (now, stream, exchange) = (self.now, self.stream, self.exchange);
        if let Some(entry) = &mut self.lines[place].entry {
            entry.stream |= now.duration_since(entry.made) >= s(2);
            entry.expires = now + if entry.stream { stream } else { exchange };
        }
    }

    pub(super) fn turn_registration(&mut self, place: usize, watched: bool) {
        let now = self.now;
        if self.asterisk != Process::Up {
            self.lines[place].registration.due = now + s(3600);
            return;
        }
        let registration = &mut self.lines[place].registration;
        if usize::from(registration.sent) == SENT_AT.len() {
            if registration.state == RegistryState::Timeout {
                registration.sent = 0;
                registration.began = now;
            } else {
                registration.state = RegistryState::Timeout;
                registration.due = registration.began + s(50);
                return;
            }
        }
        if registration.sent == 0 {
            registration.began = now;
        }
        let again = registration.sent > 0;
        registration.sent += 1;
        registration.state = RegistryState::RequestSent;
        let next = SENT_AT.get(usize::from(registration.sent)).copied();
        registration.due = registration.began + s(next.unwrap_or(32));
        let is_held = self.lines[place]
            .held_until
            .is_some_and(|until| until > now);
        let arrives = self.leave(place);
        if watched && !is_held {
            self.captured(place, OwnPortFrame::RegReq { again });
        }
        if !arrives {
            return;
        }
        self.answer(place);
        let (accepts, naked) = (self.lines[place].accepts, self.lines[place].refuses_token);
        let registration = &mut self.lines[place].registration;
        registration.sent = 0;
        registration.due = now + s(50);
        registration.state = if accepts && !naked {
            RegistryState::Registered
        } else {
            RegistryState::Rejected
        };
        if accepts && !naked {
            self.lines[place].binding = Some((self.address, now + s(70)));
        }
        if watched {
            self.captured(place, OwnPortFrame::Challenge);
            let refresh = Some(s(60));
            self.captured(
                place,
                match (naked, accepts) {
                    (true, _) => OwnPortFrame::NakedReject,
                    (_, true) => OwnPortFrame::RegAck {
                        apparent: None,
                        refresh,
                    },
                    _ => OwnPortFrame::RegRej {
                        cause: None,
                        code: None,
                    },
                },
            );
        }
    }

    pub(super) fn captured(&mut self, place: usize, frame: OwnPortFrame) {
        if self.site.capture {
            let provider = ProviderId(u16::try_from(place).unwrap());
            self.observe(Seen::OwnPort { provider, frame });
        }
    }
}
