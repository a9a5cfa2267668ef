//! POKEs that nobody behind the NAT has asked for by a packet of his own: is a port forwarded?
//!
//! The address is proven by a token; the port is not, and may be a neighbour's behind the same address. So a
//! knock is a bare POKE, shorter than what asked for it, to a port no lower than 1024, and a source has few.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::pong;
use crate::{
    probe::message::{Answer, Nonce},
    proto::{
        admission::{Rate, RateLimit},
        contract::{SocketKey, Transmit},
        door::Arrival,
        registration::random_call_number,
    },
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::iax2::frame::{Frame, FullFrame},
};

/// Knocks that one source may ask for in the long run, and at once.
const KNOCKS: Rate = Rate::per_second(1).with_burst(16);
/// The same for all together.
const KNOCKS_TOTAL: Rate = Rate::per_second(1_000);
/// The lowest port that is knocked at: none of a system's own services.
const LOWEST: u16 = 1024;
/// Knocks that are remembered, the latest ones, and for how long.
const REMEMBERED: usize = 4096;
const MEMORY: Duration = Duration::from_secs(3);

/// The knocks under way.
#[derive(Debug)]
pub(super) struct Knocks {
    rng: StdRng,
    limit: RateLimit,
    open: VecDeque<Knock>,
}

#[derive(Debug)]
struct Knock {
    number: CallNumber,
    at: Instant,
    /// Where it went to.
    target: PeerAddr,
    /// Who asked, on which socket, and how he numbers it.
    asker: PeerAddr,
    socket: SocketKey,
    call: (CallNumber, Timestamp),
    nonce: Nonce,
}

impl Knocks {
    pub(super) fn new(rng: &mut StdRng, now: Instant) -> Self {
        Self {
            limit: RateLimit::new(KNOCKS, KNOCKS_TOTAL, rng.random(), now),
            rng: StdRng::from_seed(rng.random()),
            open: VecDeque::new(),
        }
    }

    /// The POKE that was asked for; `None` where it is one too many, or goes to a port that is none of his.
    pub(super) fn knock(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        (nonce, port): (Nonce, u16),
        from: SocketKey,
        now: Instant,
    ) -> Option<Transmit> {
        let ip = arrival.peer.get().ip();
        if port < LOWEST || !self.limit.admit(ip, now) {
            return None;
        }
        let number = random_call_number(&mut self.rng);
        let target = PeerAddr::new(SocketAddr::new(ip, port));
        self.open.push_back(Knock {
            number,
            at: now,
            target,
            asker: arrival.peer,
            socket: arrival.socket,
            call: (frame.source, frame.timestamp),
            nonce,
        });
        if self.open.len() > REMEMBERED {
            self.open.pop_front();
        }
        Some(Transmit {
            socket: from,
            peer: target,
            payload: Frame::Full(FullFrame::poke_from(number, Timestamp::ZERO)).to_vec(),
            ttl: None,
        })
    }

    /// Whether a call number is that of a knock.
    pub(super) fn owns(&self, number: CallNumber) -> bool {
        self.open.iter().any(|knock| knock.number == number)
    }

    /// Takes a PONG; tells who asked for the knock that it answers.
    pub(super) fn answered(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        now: Instant,
    ) -> Option<Transmit> {
        while self
            .open
            .front()
            .is_some_and(|knock| knock.at + MEMORY < now)
        {
            self.open.pop_front();
        }
        let knock = self
            .open
            .iter()
            .find(|knock| knock.number == frame.destination && knock.target == arrival.peer)?;
        let echo = Answer::Echo {
            nonce: knock.nonce,
            which: 0,
            repeat: 0,
            elapsed: now.saturating_duration_since(knock.at),
            mapped: MappedAddr::new(knock.asker.get()),
        };
        Some(Transmit {
            socket: knock.socket,
            peer: knock.asker,
            payload: pong(knock.call.0, knock.call.1, &echo),
            ttl: None,
        })
    }
}
