//! *Callback*: does a call reach a registered socket that has been silent for nearly as long as it may be?
//! A second socket calls the extension that rings the account, and the first one waits for the NEW.
//!
//! The registration is not this machine's: its owner tells when the registrar acknowledged one. A call
//! late in the interval that does not arrive is followed by one right after the next registration: only
//! where that arrives was the first one lost on the way, and not for want of anybody to ring.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    proto::{
        auth::Credentials,
        call::{Call, CallEvent, DialConfig, EncryptionOffer, Ending, Manners, Reason, Stage},
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        registration::random_call_number,
    },
    types::{CallNumber, PeerAddr, SeqNo},
    wire::iax2::{
        cause::Cause,
        command::Command,
        format::Formats,
        frame::{Frame, FullFrame, Numbers},
    },
};

/// Whom to call, and from where.
#[derive(Clone, Debug)]
pub struct CallbackConfig {
    /// The provider.
    pub provider: PeerAddr,
    /// The extension that rings the account.
    pub number: String,
    /// The account.
    pub credentials: Credentials,
    /// The socket that is registered.
    pub registered: SocketKey,
    /// The socket that calls.
    pub caller: SocketKey,
    /// Seed of call numbers and of padding.
    pub seed: [u8; 32],
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackEvidence {
    /// The extension.
    pub number: String,
    /// The call late in the interval; `None`: not placed yet.
    pub late: Option<Attempt>,
    /// The call right after the next registration, where the late one did not arrive.
    pub control: Option<Attempt>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How long the registration had been acknowledged when the call was placed.
    pub after: Duration,
    /// Whether a NEW reached the registered socket; `None`: the provider did not come to ring it.
    pub arrived: Option<bool>,
    /// From the caller's NEW to the one that arrived.
    pub took: Option<Duration>,
    /// How the caller's call ended, or why it was not accepted.
    pub ending: Option<Ending>,
}

/// The machine. Its only event says that it is done.
#[derive(Debug)]
pub struct Callback {
    config: CallbackConfig,
    rng: StdRng,
    state: State,
    /// The calls that arrived at the registered socket, and are being declined.
    arrivals: Vec<Call>,
    evidence: CallbackEvidence,
    outbox: VecDeque<Transmit>,
    finished: Option<CallbackFinished>,
}

/// Nothing more comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackFinished;

#[derive(Debug)]
enum State {
    /// No registration was acknowledged yet.
    Unregistered,
    /// Silent until then.
    Silent {
        registered: Instant,
        call_at: Instant,
        cycle: Duration,
    },
    /// The caller's call is under way.
    Calling {
        call: Box<Call>,
        placed: Instant,
        accepted: bool,
        until: Instant,
        is_control: bool,
    },
    /// The late call did not arrive; the next registration is waited for.
    Missed,
    Done,
}

/// Calls that arrive at once, at most.
const MAX_ARRIVALS: usize = 4;
/// The late call is placed after this share of the interval between registrations, in tenths.
const LATE_TENTHS: u32 = 9;
/// The longest that a call is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// The control call comes so long after its registration: a registrar writes down first.
const SETTLED: Duration = Duration::from_millis(200);

impl Callback {
    /// Waits for a registration.
    #[must_use]
    pub fn new(config: CallbackConfig) -> Self {
        Self {
            rng: StdRng::from_seed(config.seed),
            state: State::Unregistered,
            arrivals: Vec::new(),
            evidence: CallbackEvidence {
                number: config.number.clone(),
                ..CallbackEvidence::default()
            },
            outbox: VecDeque::new(),
            finished: None,
            config,
        }
    }

    /// What was found so far.
    #[must_use]
    pub const fn evidence(&self) -> &CallbackEvidence {
        &self.evidence
    }

    /// Whether it is done.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The registrar acknowledged a registration of the registered socket; the next one comes after `cycle`.
    pub fn note_registered(&mut self, cycle: Duration, now: Instant) {
        match self.state {
            State::Unregistered => {
                self.state = State::Silent {
                    registered: now,
                    call_at: now + cycle * LATE_TENTHS / 10,
                    cycle,
                };
            }
            State::Missed => {
                self.state = State::Silent {
                    registered: now,
                    call_at: now + SETTLED,
                    cycle,
                };
            }
            State::Silent { .. } | State::Calling { .. } | State::Done => {}
        }
    }

    /// A registration failed: where one is waited for, what is not known stays so.
    pub fn note_failed(&mut self) {
        if matches!(self.state, State::Unregistered | State::Missed) {
            self.finish();
        }
    }

    /// Nobody registers any more: what is not known stays so.
    pub fn give_up(&mut self) {
        self.finish();
    }

    fn place(&mut self, registered: Instant, cycle: Duration, now: Instant) {
        let dial = DialConfig {
            number: self.config.number.clone(),
            context: None,
            credentials: Some(self.config.credentials.clone()),
            caller: None,
            formats: vec![Formats::ULAW, Formats::ALAW],
            encryption: EncryptionOffer::None,
            offer_token: true,
            renumbers: false,
            manners: Manners::OURS,
            seed: self.rng.random(),
        };
        let number = random_call_number(&mut self.rng);
        let after = now.saturating_duration_since(registered);
        let is_control = self.evidence.late.is_some();
        // The next registration opens the way again, and must not let this call in.
        let until = if is_control {
            now + PATIENCE
        } else {
            now + PATIENCE.min(cycle.saturating_sub(after) * 8 / 10)
        };
        let attempt = Attempt {
            after,
            arrived: None,
            took: None,
            ending: None,
        };
        *self.attempt(is_control) = Some(attempt);
        self.state = State::Calling {
            call: Box::new(Call::dial(dial, number, now)),
            placed: now,
            accepted: false,
            until,
            is_control,
        };
    }

    fn attempt(&mut self, is_control: bool) -> &mut Option<Attempt> {
        if is_control {
            &mut self.evidence.control
        } else {
            &mut self.evidence.late
        }
    }

    /// A NEW that arrived at the registered socket: it is noted, and declined as by a busy telephone.
    fn take_new(&mut self, frame: &FullFrame<'_>, now: Instant) {
        if let State::Calling {
            placed, is_control, ..
        } = self.state
            && let Some(attempt) = self.attempt(is_control)
            && attempt.arrived != Some(true)
        {
            attempt.arrived = Some(true);
            attempt.took = Some(now.saturating_duration_since(placed));
        }
        let known = self
            .arrivals
            .iter()
            .any(|call| call.remote() == frame.source);
        if known || self.arrivals.len() >= MAX_ARRIVALS {
            return;
        }
        let number = random_call_number(&mut self.rng);
        let mut call = Call::incoming(frame, number, Manners::OURS, self.rng.random(), now);
        call.reject(Reason::code(Cause::Busy.get()), now);
        self.arrivals.push(call);
    }

    /// What the caller's call says.
    fn drain_caller(&mut self, now: Instant) {
        let State::Calling {
            call,
            accepted,
            is_control,
            ..
        } = &mut self.state
        else {
            return;
        };
        let is_control = *is_control;
        let mut ended = None;
        while let Some(event) = call.poll_event() {
            match event {
                CallEvent::Accepted { .. } => *accepted = true,
                CallEvent::Ended(ending) => ended = Some(ending),
                _ => {}
            }
        }
        while let Some(payload) = call.poll_transmit() {
            self.outbox.push_back(Transmit {
                socket: self.config.caller,
                peer: self.config.provider,
                payload,
                ttl: None,
            });
        }
        let arrived = self
            .attempt(is_control)
            .as_ref()
            .is_some_and(|attempt| attempt.arrived == Some(true));
        if let State::Calling { call, until, .. } = &mut self.state
            && call.stage() < Stage::Closing
            && (arrived || *until <= now)
        {
            call.hang_up(Reason::code(Cause::Normal.get()), now);
            return self.drain_caller(now);
        }
        if let Some(ending) = ended {
            self.conclude(ending, is_control);
        }
    }

    fn conclude(&mut self, ending: Ending, is_control: bool) {
        let accepted = matches!(self.state, State::Calling { accepted: true, .. });
        let mut arrived = None;
        if let Some(attempt) = self.attempt(is_control) {
            // A provider that took the call had it ring, or would not say.
            let rang = accepted.then_some(false);
            attempt.arrived = attempt.arrived.or(rang);
            attempt.ending = Some(ending);
            arrived = attempt.arrived;
        }
        if is_control || arrived == Some(true) {
            self.finish();
        } else {
            self.state = State::Missed;
        }
    }

    fn finish(&mut self) {
        if !self.is_finished() {
            self.state = State::Done;
            self.finished = Some(CallbackFinished);
        }
    }

    fn drain(&mut self, now: Instant) {
        self.drain_caller(now);
        for call in &mut self.arrivals {
            while call.poll_event().is_some() {}
            while let Some(payload) = call.poll_transmit() {
                self.outbox.push_back(Transmit {
                    socket: self.config.registered,
                    peer: self.config.provider,
                    payload,
                    ttl: None,
                });
            }
        }
    }

    /// The call at the registered socket that a datagram is for.
    fn arrival(&mut self, destination: CallNumber) -> Option<&mut Call> {
        self.arrivals
            .iter_mut()
            .find(|call| call.local() == destination)
    }
}

impl Machine for Callback {
    type Event = CallbackFinished;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        let Input::Datagram {
            socket,
            source,
            payload,
        } = input
        else {
            return;
        };
        let Some(Numbers::Full { destination, .. }) = Numbers::of(payload) else {
            return;
        };
        if source != self.config.provider {
            return;
        }
        if socket == self.config.caller {
            if let State::Calling { call, .. } = &mut self.state
                && call.local() == destination
            {
                call.handle_datagram(payload, now);
            }
        } else if socket == self.config.registered {
            if let Some(call) = self.arrival(destination) {
                call.handle_datagram(payload, now);
            } else if let Ok(Frame::Full(frame)) = Frame::decode(payload)
                && frame.command() == Some(Command::New)
                && frame.destination.is_none()
                && frame.oseqno == SeqNo::ZERO
            {
                self.take_new(&frame, now);
            }
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let State::Silent {
            registered,
            call_at,
            cycle,
        } = self.state
            && call_at <= now
        {
            self.place(registered, cycle, now);
        }
        if let State::Calling { call, .. } = &mut self.state {
            call.handle_timeout(now);
        }
        for call in &mut self.arrivals {
            call.handle_timeout(now);
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<CallbackFinished> {
        self.finished.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let state = match &self.state {
            State::Silent { call_at, .. } => Some((*call_at, "call the registered socket")),
            State::Calling { call, until, .. } => {
                let limit = (call.stage() < Stage::Closing)
                    .then_some((*until, "wait for the call to arrive"));
                earlier(limit, call.poll_timeout())
            }
            State::Unregistered | State::Missed | State::Done => None,
        };
        self.arrivals
            .iter()
            .map(Call::poll_timeout)
            .fold(state, earlier)
    }
}
