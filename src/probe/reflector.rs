//! The far end of our probe protocol: answers at once, later, from its other sockets, and with the
//! time to live that it is asked for.
//!
//! Nothing is remembered of an address before a token has proven it, and what is remembered afterwards
//! is bounded: see the constants. A client may ask for many answers by one request, so that delayed answers
//! are charged when they are asked for, to the IPv4 address or the IPv6 /64 that they go to.

mod knocks;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::knocks::Knocks;
use crate::{
    probe::message::{
        Answer, AnswerFrom, Ask, MAX_STATUS, Mirror, Mirrored, Nonce, Refused, Request,
    },
    proto::{
        admission::{Rate, RateLimit, source_prefix},
        contract::{SocketKey, Transmit, earlier},
        door::Arrival,
        stateless,
        token::Tokens,
    },
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
        ie::{IeId, IeWriter},
        ie_value::Ie,
    },
};

/// The longest delay of an answer.
pub const MAX_DELAY: Duration = Duration::from_secs(900);
/// Delayed answers that may be pending for one client, repeats not counted.
pub const MAX_PENDING: usize = 4096;
/// Delayed answers that may be pending in all.
const MAX_PENDING_TOTAL: usize = 262_144;
/// How often a delayed answer is sent at most: for some minutes, where it keeps a NAT on the way open.
pub const MAX_REPEATS: u8 = 64;
/// Delayed answers, every repeat counted, that one client may ask for a second in the long run. A whole
/// sweep, whose answers spread over minutes, is asked for within seconds: as many as may be pending, at once.
const ANSWERS: Rate = Rate::per_second(2_000).with_burst(8_192);
/// The same for all clients together.
const ANSWERS_TOTAL: Rate = Rate::per_second(50_000);
/// Time between repeats, at least.
const MIN_SPACING: Duration = Duration::from_millis(20);
/// Time between repeats, at most.
const MAX_SPACING: Duration = Duration::from_secs(30);
/// Answers are never sent with a time to live above this.
const MAX_TTL: u8 = 64;
/// How long an arrival is remembered for STATUS.
const MEMORY: Duration = Duration::from_secs(30);
/// Arrivals remembered for one client: of requests that are not answered at once, the only ones that
/// STATUS is needed for.
const MAX_ARRIVALS: usize = 512;
/// Clients that anything is remembered of.
const MAX_CLIENTS: usize = 4096;

/// Counts of what a reflector did, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReflectorCounts {
    /// Clients that came, or came again after a while.
    pub clients: u64,
    /// Tokens given.
    pub hellos: u64,
    /// Requests served.
    pub asks: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests beyond a rate, not answered.
    pub limited: u64,
}

/// The reflector behind a server's sockets.
#[derive(Debug)]
pub struct Reflector {
    tokens: Tokens,
    sockets: BTreeMap<SocketKey, PeerAddr>,
    unproven: RateLimit,
    proven: RateLimit,
    answers: RateLimit,
    knocks: Knocks,
    pending: BTreeMap<(Instant, u64), Pending>,
    count: u64,
    /// By [`source_prefix`].
    clients: BTreeMap<IpAddr, Client>,
    next_cleaning: Option<Instant>,
    counts: ReflectorCounts,
    outbox: VecDeque<Transmit>,
}

/// An answer that is not due yet.
#[derive(Debug)]
struct Pending {
    socket: SocketKey,
    peer: PeerAddr,
    number: CallNumber,
    timestamp: Timestamp,
    nonce: Nonce,
    which: u8,
    repeat: u8,
    repeats: u8,
    spacing: Duration,
    ttl: Option<u8>,
    arrived: Instant,
}

/// What is remembered of a proven address, and of its neighbours that count as the same source.
#[derive(Debug, Default)]
struct Client {
    /// When each pending answer is due, by session and count: the key of the reflector's list.
    pending: BTreeMap<(u32, u64), Instant>,
    arrivals: Arrivals,
    last: Option<Instant>,
}

/// Requests that arrived, the latest so many.
#[derive(Debug, Default)]
struct Arrivals {
    known: BTreeSet<Nonce>,
    in_order: VecDeque<Nonce>,
}

impl Arrivals {
    fn insert(&mut self, nonce: Nonce) {
        if !self.known.insert(nonce) {
            return;
        }
        self.in_order.push_back(nonce);
        if self.in_order.len() > MAX_ARRIVALS
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// Which socket is which: the bits that tell the alternates of one server apart.
const OTHER_PORT: u32 = 1;
const OTHER_ADDRESS: u32 = 2;

impl Reflector {
    /// A reflector on these sockets. Key 0 is address and port 1, bit 0 stands for the other port, bit 1
    /// for the other address: with A1:P1 and A2:P2 the four combinations are keys 0 to 3, as RFC 5780
    /// §6 asks of a STUN server.
    #[must_use]
    pub fn new(
        tokens: Tokens,
        sockets: BTreeMap<SocketKey, PeerAddr>,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            tokens,
            sockets,
            unproven: RateLimit::new(
                Rate::per_second(50),
                Rate::per_second(20_000),
                rng.random(),
                now,
            ),
            proven: RateLimit::new(
                Rate::per_second(8_000),
                Rate::per_second(100_000),
                rng.random(),
                now,
            ),
            answers: RateLimit::new(ANSWERS, ANSWERS_TOTAL, rng.random(), now),
            knocks: Knocks::new(&mut rng, now),
            pending: BTreeMap::new(),
            count: 0,
            clients: BTreeMap::new(),
            next_cleaning: None,
            counts: ReflectorCounts::default(),
            outbox: VecDeque::new(),
        }
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> ReflectorCounts {
        self.counts
    }

    /// Answers that are not due yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes a POKE with a PROBE element; false where it is another frame, or the element is none of ours.
    pub fn handle_frame(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) -> bool {
        if frame.command() == Some(Command::Pong) {
            let told = self.knocks.answered(frame, arrival, now);
            self.outbox.extend(told);
            // Nobody else of this server sends POKEs from these sockets.
            return self.knocks.owns(frame.destination);
        }
        if frame.command() != Some(Command::Poke) {
            return false;
        }
        let Some(request) = frame.ies().find(IeId::Probe).and_then(Request::read) else {
            return false;
        };
        let mapped = MappedAddr::new(arrival.peer.get());
        let is_proven = match &request {
            Request::Hello => false,
            Request::Ask(Ask { token, .. })
            | Request::Status { token, .. }
            | Request::Cancel { token, .. }
            | Request::Knock { token, .. }
            | Request::Mirror(Mirror { token, .. }) => self.tokens.verify(token, arrival.peer, now),
        };
        let rate = if is_proven {
            &mut self.proven
        } else {
            &mut self.unproven
        };
        if !rate.admit(arrival.peer.get().ip(), now) {
            self.counts.limited += 1;
            return true;
        }
        if !is_proven && request != Request::Hello {
            self.refuse(frame, arrival, Refused::Token);
            return true;
        }
        match request {
            Request::Hello => {
                self.counts.hellos += 1;
                let key = arrival.socket.0;
                let other = |bits: u32| self.sockets.get(&SocketKey(key ^ bits));
                let answer = Answer::Hello {
                    token: self.tokens.issue(arrival.peer, now),
                    lifetime: Tokens::PROBE_LIFETIME,
                    mapped,
                    other_port: other(OTHER_PORT).map(|address| address.get().port()),
                    other_address: other(OTHER_ADDRESS).map(|address| address.get().ip()),
                };
                self.reply(frame, arrival, &answer);
            }
            Request::Ask(ask) => self.serve(frame, arrival, &ask, now),
            Request::Status {
                session, indices, ..
            } => {
                let client = self.clients.get(&source_prefix(arrival.peer.get().ip()));
                let arrived = indices
                    .into_iter()
                    .take(MAX_STATUS)
                    .filter(|&index| {
                        client.is_some_and(|client| {
                            client.arrivals.known.contains(&Nonce { session, index })
                        })
                    })
                    .collect();
                self.reply(frame, arrival, &Answer::Status { session, arrived });
            }
            Request::Knock { nonce, port, .. } => {
                let other = SocketKey(arrival.socket.0 ^ (OTHER_PORT | OTHER_ADDRESS));
                if !self.sockets.contains_key(&other) {
                    self.refuse(frame, arrival, Refused::NoSocket);
                } else if let Some(poke) =
                    self.knocks.knock(frame, arrival, (nonce, port), other, now)
                {
                    self.outbox.push_back(poke);
                } else {
                    self.refuse(frame, arrival, Refused::Quota);
                }
            }
            Request::Mirror(mirror) => {
                // What was decoded is written again as it came.
                let mut octets = Frame::Full(*frame).to_vec();
                octets.truncate(mirror.repeated());
                let mirrored = Mirrored {
                    nonce: mirror.nonce,
                    length: u16::try_from(arrival.length).unwrap_or(u16::MAX),
                    hidden: mapped,
                    plain: mapped,
                    octets,
                };
                self.reply(frame, arrival, &Answer::Mirrored(mirrored));
            }
            Request::Cancel { session, .. } => {
                self.cancel(source_prefix(arrival.peer.get().ip()), session);
            }
        }
        true
    }

    /// Sends the answers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.pending.first_entry()
            && entry.key().0 <= now
        {
            let ((due, count), mut answer) = entry.remove_entry();
            if let Some(client) = self.clients.get_mut(&answer.client()) {
                client.pending.remove(&(answer.nonce.session, count));
            }
            let echo = Answer::Echo {
                nonce: answer.nonce,
                which: answer.which,
                repeat: answer.repeat,
                elapsed: now.saturating_duration_since(answer.arrived),
                mapped: MappedAddr::new(answer.peer.get()),
            };
            self.outbox.push_back(Transmit {
                socket: answer.socket,
                peer: answer.peer,
                payload: pong(answer.number, answer.timestamp, &echo),
                ttl: answer.ttl,
            });
            answer.repeat += 1;
            if answer.repeat < answer.repeats {
                self.queue(due.max(now) + answer.spacing, answer);
            }
        }
        if self.next_cleaning.is_some_and(|due| due <= now) {
            self.clients.retain(|_, client| {
                !client.pending.is_empty() || client.last.is_some_and(|last| now < last + MEMORY)
            });
            self.next_cleaning = (!self.clients.is_empty()).then_some(now + MEMORY);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// When the next answer is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let answer = self
            .pending
            .first_key_value()
            .map(|((due, _), _)| (*due, "answer a probe"));
        earlier(
            answer,
            self.next_cleaning.map(|due| (due, "forget idle clients")),
        )
    }

    fn serve(&mut self, frame: &FullFrame<'_>, arrival: Arrival, ask: &Ask, now: Instant) {
        let Some(socket) = self.socket(arrival.socket, ask.from) else {
            return self.refuse(frame, arrival, Refused::NoSocket);
        };
        let address = source_prefix(arrival.peer.get().ip());
        let repeats = ask.repeats.clamp(1, MAX_REPEATS);
        let delays = u32::try_from(ask.delays.len()).unwrap_or(u32::MAX);
        let answers = delays.saturating_mul(repeats.into());
        let is_new = !self.clients.contains_key(&address);
        let pending = self
            .clients
            .get(&address)
            .map_or(0, |client| client.pending.len());
        if pending + ask.delays.len() > MAX_PENDING
            || self.pending.len() + ask.delays.len() > MAX_PENDING_TOTAL
            || (is_new && self.clients.len() >= MAX_CLIENTS)
            || !self.answers.admit_many(address, answers, now)
        {
            return self.refuse(frame, arrival, Refused::Quota);
        }
        let client = self.clients.entry(address).or_default();
        client.last = Some(now);
        if !ask.at_once {
            client.arrivals.insert(ask.nonce);
        }
        self.counts.clients += u64::from(is_new);
        self.next_cleaning.get_or_insert(now + MEMORY);
        self.counts.asks += 1;
        let ttl = (ask.ttl != 0).then_some(ask.ttl.min(MAX_TTL));
        if ask.at_once {
            let echo = Answer::Echo {
                nonce: ask.nonce,
                which: 0,
                repeat: 0,
                elapsed: Duration::ZERO,
                mapped: MappedAddr::new(arrival.peer.get()),
            };
            self.outbox.push_back(Transmit {
                socket,
                peer: arrival.peer,
                payload: pong(frame.source, frame.timestamp, &echo),
                ttl: None,
            });
        }
        for (which, delay) in (1..).zip(&ask.delays) {
            let pending = Pending {
                socket,
                peer: arrival.peer,
                number: frame.source,
                timestamp: frame.timestamp,
                nonce: ask.nonce,
                which,
                repeat: 0,
                repeats,
                spacing: ask.spacing.clamp(MIN_SPACING, MAX_SPACING),
                ttl,
                arrived: now,
            };
            self.queue(now + (*delay).min(MAX_DELAY), pending);
        }
    }

    fn queue(&mut self, due: Instant, pending: Pending) {
        self.count += 1;
        if let Some(client) = self.clients.get_mut(&pending.client()) {
            let key = (pending.nonce.session, self.count);
            client.pending.insert(key, due);
        }
        self.pending.insert((due, self.count), pending);
    }

    fn socket(&self, arrived_on: SocketKey, from: AnswerFrom) -> Option<SocketKey> {
        let bits =
            u32::from(from.other_port) * OTHER_PORT + u32::from(from.other_address) * OTHER_ADDRESS;
        let socket = SocketKey(arrived_on.0 ^ bits);
        (bits == 0 || self.sockets.contains_key(&socket)).then_some(socket)
    }

    fn cancel(&mut self, address: IpAddr, session: u32) {
        let Some(client) = self.clients.get_mut(&address) else {
            return;
        };
        let mut later = client.pending.split_off(&(session, 0));
        let others = later.split_off(&(session, u64::MAX));
        client.pending.extend(others);
        for ((_, count), due) in later {
            self.pending.remove(&(due, count));
        }
    }

    fn refuse(&mut self, frame: &FullFrame<'_>, arrival: Arrival, reason: Refused) {
        self.counts.refused += 1;
        let mapped = MappedAddr::new(arrival.peer.get());
        self.reply(frame, arrival, &Answer::Refused { reason, mapped });
    }

    /// Answers from the socket that was asked, unless the answer would exceed the request.
    fn reply(&mut self, frame: &FullFrame<'_>, arrival: Arrival, answer: &Answer) {
        let payload = pong(frame.source, frame.timestamp, answer);
        if payload.len() <= arrival.length {
            self.outbox.push_back(Transmit {
                socket: arrival.socket,
                peer: arrival.peer,
                payload,
                ttl: None,
            });
        }
    }
}

impl Pending {
    /// Whom it is charged to.
    fn client(&self) -> IpAddr {
        source_prefix(self.peer.get().ip())
    }
}

/// A state-less PONG that carries an answer.
fn pong(destination: CallNumber, timestamp: Timestamp, answer: &Answer) -> Vec<u8> {
    // Answers are shorter than 255 octets by construction.
    let elements = IeWriter::new()
        .ie(Ie::Probe(&answer.to_octets()))
        .finish()
        .unwrap_or_default();
    let request = FullFrame::poke_from(destination, timestamp);
    stateless::reply(&request, Command::Pong, &elements)
}

#[cfg(test)]
mod tests;
