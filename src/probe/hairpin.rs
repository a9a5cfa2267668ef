//! *Hairpin*: do two hosts behind the NAT reach each other by their public addresses (RFC 4787 REQ-9)?
//!
//! Two sockets of this host learn where the NAT maps them, and then each sends to the other's public
//! address, so that no filter holds back what was sent to. One packet that arrives is proof, and its
//! source tells whether the NAT shows the public address on the way back, too (REQ-9a). On request only:
//! there are firewalls that take a packet to oneself for an attack.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    probe::{
        evidence::HairpinEvidence,
        mapping::{Mapping, MappingConfig},
    },
    proto::{
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        registration::random_call_number,
    },
    types::{CallNumber, LocalAddr, MappedAddr, PeerAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

/// Who is asked, and from where.
#[derive(Clone, Debug)]
pub struct HairpinConfig {
    /// The two sockets.
    pub sockets: [SocketKey; 2],
    /// Reflectors, or providers that may be one.
    pub reflectors: Vec<PeerAddr>,
    /// STUN servers.
    pub stun: Vec<PeerAddr>,
    /// Seed of call numbers and transactions.
    pub seed: [u8; 32],
}

/// The machine. Its only event says that it is over.
#[derive(Debug)]
pub struct Hairpin {
    ends: [End; 2],
    stage: Stage,
    evidence: HairpinEvidence,
    outbox: VecDeque<Transmit>,
    finished: Option<HairpinFinished>,
}

/// One packet came through, or all were waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HairpinFinished;

/// One of the two sockets.
#[derive(Debug)]
struct End {
    socket: SocketKey,
    learner: Mapping,
    local: Option<LocalAddr>,
    /// The call number of what it sends.
    number: CallNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Both sockets ask where they are mapped.
    Learning,
    /// Each has sent so often to the other, and sends again then.
    Sending(u32, Instant),
    /// All is sent; what comes is waited for until then.
    Waiting(Instant),
    Over,
}

/// Packets from each end: the first may find no mapping or a closed filter.
const TIMES: u32 = 5;
/// Time between them.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long the last one is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

impl Hairpin {
    /// Begins: both sockets ask where they are mapped.
    #[must_use]
    pub fn new(config: &HairpinConfig, now: Instant) -> Self {
        let mut rng = StdRng::from_seed(config.seed);
        let ends = config.sockets.map(|socket| {
            let mapping = MappingConfig {
                socket,
                reflectors: config.reflectors.clone(),
                stun: config.stun.clone(),
                hold: false,
                // It is over before.
                again: Duration::from_secs(24 * 3600),
                epoch: now,
                seed: rng.random(),
            };
            End {
                socket,
                learner: Mapping::new(mapping, now),
                local: None,
                number: random_call_number(&mut rng),
            }
        });
        let mut hairpin = Self {
            ends,
            stage: Stage::Learning,
            evidence: HairpinEvidence::default(),
            outbox: VecDeque::new(),
            finished: None,
        };
        hairpin.drain(now);
        hairpin
    }

    /// What was found so far.
    #[must_use]
    pub const fn evidence(&self) -> &HairpinEvidence {
        &self.evidence
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Over
    }

    fn drain(&mut self, now: Instant) {
        for end in &mut self.ends {
            while let Some(transmit) = end.learner.poll_transmit() {
                self.outbox.push_back(transmit);
            }
            while end.learner.poll_event().is_some() {}
        }
        let is_settled = self.ends.iter().all(|end| end.learner.is_settled());
        if self.stage == Stage::Learning && is_settled {
            self.learned(now);
        }
    }

    /// Both ends know where they are mapped, or never will.
    fn learned(&mut self, now: Instant) {
        let [a, b] = &self.ends;
        let is_translated = |end: &End| {
            let mapped = end.mapped().map(MappedAddr::get);
            let local = end.local.map(LocalAddr::get);
            mapped
                .zip(local)
                .map(|(mapped, local)| mapped.ip() != local.ip())
        };
        self.evidence.translated = is_translated(a).or(is_translated(b));
        if (a.mapped().is_some() && b.mapped().is_some()) && self.evidence.translated == Some(true)
        {
            self.stage = Stage::Sending(0, now);
            self.send(0, now);
        } else {
            self.finish();
        }
    }

    fn send(&mut self, times: u32, now: Instant) {
        let [a, b] = &self.ends;
        for (from, to) in [(a, b), (b, a)] {
            let Some(mapped) = to.mapped() else { continue };
            // Harmless to whoever else may get it: any IAX2 peer answers it, anybody else drops it.
            let frame = FullFrame::poke_from(from.number, Timestamp::from_millis(times));
            self.outbox.push_back(Transmit {
                socket: from.socket,
                peer: PeerAddr::new(mapped.get()),
                payload: Frame::Full(frame).to_vec(),
                ttl: None,
            });
            self.evidence.sent += 1;
        }
        self.stage = if times + 1 < TIMES {
            Stage::Sending(times + 1, now + INTERVAL)
        } else {
            Stage::Waiting(now + PATIENCE)
        };
    }

    /// A POKE arrived on one of the sockets.
    fn arrived(&mut self, socket: SocketKey, frame: &FullFrame<'_>, source: PeerAddr) {
        let other = self.ends.iter().find(|end| end.socket != socket);
        let Some(sender) = other.filter(|sender| sender.number == frame.source) else {
            return;
        };
        let shows_public = sender
            .mapped()
            .map(|mapped| mapped.get().ip() == source.get().ip());
        self.evidence.received += 1;
        self.evidence.external_source = self.evidence.external_source.or(shows_public);
        self.finish();
    }

    fn finish(&mut self) {
        self.stage = Stage::Over;
        self.evidence.supported = match (self.evidence.received, self.evidence.sent) {
            (0, 0) => None,
            (received, _) => Some(received > 0),
        };
        self.finished = Some(HairpinFinished);
    }
}

impl End {
    /// Where it is mapped, as the first who saw it says.
    fn mapped(&self) -> Option<MappedAddr> {
        let seen = self.learner.evidence().observations.first()?;
        Some(seen.mapped)
    }
}

impl Machine for Hairpin {
    type Event = HairpinFinished;

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if self.stage == Stage::Over {
            return;
        }
        if let Input::Opened { socket, local } = input
            && let Some(end) = self.ends.iter_mut().find(|end| end.socket == socket)
        {
            end.local = Some(local);
        }
        if let Input::Datagram {
            socket,
            source,
            payload,
        } = input
            && let Ok(Frame::Full(frame)) = Frame::decode(payload)
            && frame.command() == Some(Command::Poke)
        {
            self.arrived(socket, &frame, source);
        }
        for end in &mut self.ends {
            end.learner.handle_input(input, now);
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Learning => {
                for end in &mut self.ends {
                    end.learner.handle_timeout(now);
                }
            }
            Stage::Sending(times, at) if at <= now => self.send(times, now),
            Stage::Waiting(until) if until <= now => self.finish(),
            Stage::Sending(..) | Stage::Waiting(_) | Stage::Over => {}
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<HairpinFinished> {
        self.finished.take()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.stage {
            Stage::Learning => self
                .ends
                .iter()
                .map(|end| end.learner.poll_timeout())
                .fold(None, earlier),
            Stage::Sending(_, at) => Some((at, "send to the public address again")),
            Stage::Waiting(until) => Some((until, "give the hairpin up")),
            Stage::Over => None,
        }
    }
}
