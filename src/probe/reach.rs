//! *Reach*: a train of POKEs. Does anybody answer, how fast, and how many are lost?

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    probe::evidence::ReachEvidence,
    proto::{
        contract::{Input, Machine, SocketKey, Transmit},
        registration::random_call_number,
        stateless,
    },
    types::{CallNumber, PeerAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

/// A train of POKEs.
#[derive(Clone, Copy, Debug)]
pub struct ReachConfig {
    /// Who is asked.
    pub peer: PeerAddr,
    /// The socket it leaves from.
    pub socket: SocketKey,
    /// How many POKEs.
    pub count: u32,
    /// Time between them.
    pub interval: Duration,
    /// How long after the last one answers are waited for.
    pub patience: Duration,
    /// Seed of the call numbers.
    pub seed: [u8; 32],
}

impl ReachConfig {
    /// Ten POKEs in two seconds, and one second for the last answer.
    #[must_use]
    pub const fn new(peer: PeerAddr, socket: SocketKey, seed: [u8; 32]) -> Self {
        Self {
            peer,
            socket,
            count: 10,
            interval: Duration::from_millis(200),
            patience: Duration::from_secs(1),
            seed,
        }
    }
}

impl ReachConfig {
    /// Five POKEs that begin and end within the ten of [`ReachConfig::new`], so that these tell
    /// whether the way was open all the while.
    #[must_use]
    pub const fn within(peer: PeerAddr, socket: SocketKey, seed: [u8; 32]) -> Self {
        Self {
            count: 5,
            interval: Duration::from_millis(400),
            ..Self::new(peer, socket, seed)
        }
    }
}

/// The machine. Its only event says that the train is over.
#[derive(Debug)]
pub struct Reach {
    config: ReachConfig,
    born: Instant,
    rng: StdRng,
    sent: Vec<Sent>,
    next: Option<Instant>,
    ends: Option<Instant>,
    evidence: ReachEvidence,
    outbox: VecDeque<Transmit>,
    finished: Option<ReachFinished>,
}

/// Every POKE was answered, or waited for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachFinished;

/// One POKE: a call number of its own each, because some peers keep a transaction by it.
#[derive(Debug)]
struct Sent {
    number: CallNumber,
    timestamp: Timestamp,
    at: Instant,
    answered: bool,
}

impl Reach {
    /// Begins: the first POKE is the first transmit.
    #[must_use]
    pub fn new(config: ReachConfig, now: Instant) -> Self {
        let mut reach = Self {
            config,
            born: now,
            rng: StdRng::from_seed(config.seed),
            sent: Vec::new(),
            next: Some(now),
            ends: None,
            evidence: ReachEvidence::default(),
            outbox: VecDeque::new(),
            finished: None,
        };
        reach.handle_timeout(now);
        reach
    }

    /// What was found so far.
    #[must_use]
    pub const fn evidence(&self) -> &ReachEvidence {
        &self.evidence
    }

    /// Whether the train is over.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.next.is_none() && self.ends.is_none()
    }

    fn poke(&mut self, now: Instant) {
        let number = random_call_number(&mut self.rng);
        let timestamp = Timestamp::from_elapsed(now.saturating_duration_since(self.born));
        self.sent.push(Sent {
            number,
            timestamp,
            at: now,
            answered: false,
        });
        self.evidence.sent += 1;
        self.send(Frame::Full(FullFrame::poke_from(number, timestamp)).to_vec());
    }

    fn handle_pong(&mut self, frame: &FullFrame<'_>, source: PeerAddr, now: Instant) {
        let found = self
            .sent
            .iter_mut()
            .find(|sent| sent.number == frame.destination && sent.timestamp == frame.timestamp);
        let Some(sent) = found else { return };
        if source != self.config.peer {
            self.evidence.answered_from = Some(source);
            return;
        }
        if !sent.answered {
            sent.answered = true;
            self.evidence.received += 1;
            self.evidence
                .rtts
                .push(now.saturating_duration_since(sent.at));
        }
        // Yate sends a PONG again until it is acknowledged; Asterisk ignores the ACK.
        self.send(stateless::acknowledgement(frame, frame.destination));
        if self.next.is_none() && self.sent.iter().all(|sent| sent.answered) {
            self.finish();
        }
    }

    fn send(&mut self, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: self.config.socket,
            peer: self.config.peer,
            payload,
            ttl: None,
        });
    }

    fn finish(&mut self) {
        if self.ends.take().is_some() {
            self.finished = Some(ReachFinished);
        }
    }
}

impl Machine for Reach {
    type Event = ReachFinished;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Datagram {
                socket,
                source,
                payload,
            } if socket == self.config.socket => {
                if let Ok(Frame::Full(frame)) = Frame::decode(payload)
                    && frame.command() == Some(Command::Pong)
                {
                    self.handle_pong(&frame, source, now);
                }
            }
            Input::Unreachable {
                socket,
                peer,
                cause,
                ..
            } if socket == self.config.socket && peer == self.config.peer => {
                self.evidence.unreachable = Some(cause);
            }
            Input::Opened { socket, local } if socket == self.config.socket => {
                self.evidence.local = Some(local);
            }
            Input::Datagram { .. } | Input::Unreachable { .. } | Input::Opened { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.next
            && due <= now
        {
            self.poke(now);
            if self.evidence.sent < self.config.count {
                self.next = Some(now + self.config.interval);
            } else {
                self.next = None;
                self.ends = Some(now + self.config.patience);
            }
        }
        if self.ends.is_some_and(|ends| ends <= now) {
            self.finish();
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<ReachFinished> {
        self.finished.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next
            .map(|due| (due, "send a POKE"))
            .or(self.ends.map(|ends| (ends, "give up on PONGs")))
    }
}
