//! Two sockets that talk IAX2: who sends how much, who POKEs whom, and how long one was idle when the other's
//! requests still reached it.

use std::{
    net::{SocketAddr, SocketAddrV4},
    time::Duration,
};

use super::mark::Mark;
use crate::types::CallNumber;

/// Everything between two addresses.
#[derive(Clone, Debug)]
pub struct Flow {
    ends: Ends,
    /// Datagrams from each.
    pub packets: [u32; 2],
    /// The first datagram.
    pub first: Mark,
    /// The last one from each.
    pub last: [Option<Mark>; 2],
    /// Trunk frames from each.
    pub trunks: [u32; 2],
    /// Which end registers with the other.
    pub(super) client: Option<u8>,
    /// POKEs from each.
    pub pokes: [Option<Box<Pokes>>; 2],
    /// ICMP errors about datagrams from each.
    pub icmp: [Option<Box<Icmp>>; 2],
    /// What tells how long the client's NAT keeps the way open.
    pub idle: Option<Box<Idle>>,
}

/// The addresses of a flow; those of IPv4 take no room for more, for a capture may hold a hundred thousand flows.
#[derive(Clone, Debug)]
enum Ends {
    Ipv4([SocketAddrV4; 2]),
    Any(Box<[SocketAddr; 2]>),
}

/// ICMP errors about the datagrams of one end.
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    /// How many.
    pub count: u32,
    /// The first.
    pub first: Mark,
    /// The last.
    pub last: Mark,
    /// Who sent the first.
    pub from: std::net::IpAddr,
    /// Type and code of the first.
    pub kind: (u8, u8),
}

/// The POKEs of one end, each with its retransmissions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pokes {
    /// POKEs, without retransmissions.
    pub sent: u32,
    /// Those that were answered.
    pub answered: u32,
    /// Those that are known to have stayed unanswered.
    pub unanswered: u32,
    /// Retransmissions.
    pub again: u32,
    /// Round trips between the place of the capture and the other end: the shortest and the longest.
    pub round_trip: Option<(Duration, Duration)>,
    /// The first that stayed unanswered.
    pub first_unanswered: Option<Mark>,
    /// The last that stayed unanswered.
    pub last_unanswered: Option<Mark>,
    /// The last that was answered.
    pub last_answered: Option<Mark>,
    waiting: Option<Waiting>,
}

/// A POKE whose answer has not come.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: CallNumber,
    first: Mark,
    last: Mark,
    idle: Option<Duration>,
}

/// A request that nobody answered for so long was not answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// After how long a silence of the client requests to it were answered, and after how long they were not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    /// The longest silence after which a request was answered.
    pub alive: Option<(Duration, Mark)>,
    /// Requests that were answered.
    pub answered: u32,
    /// The shortest silence after which one was not.
    pub dead: Option<(Duration, Mark)>,
    /// Requests that were not answered.
    pub unanswered: u32,
    /// Those of them behind which the client was heard again, so that it was there.
    pub heard_again: u32,
    /// Some wait for the client to be heard again.
    pending: u32,
}

impl Idle {
    /// The client answered a request.
    pub(super) fn note_answered(&mut self, idle: Duration, at: Mark) {
        self.answered += 1;
        if self.alive.is_none_or(|(longest, _)| idle > longest) {
            self.alive = Some((idle, at));
        }
    }

    /// The client did not answer a request.
    pub(super) fn note_unanswered(&mut self, idle: Duration, at: Mark) {
        self.unanswered += 1;
        self.pending += 1;
        if self.dead.is_none_or(|(shortest, _)| idle < shortest) {
            self.dead = Some((idle, at));
        }
    }
}

impl Flow {
    /// A flow that begins with a datagram from `source`.
    pub(super) fn new(source: SocketAddr, destination: SocketAddr, first: Mark) -> Self {
        let ends = match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                Ends::Ipv4([source, destination])
            }
            _ => Ends::Any(Box::new([source, destination])),
        };
        Self {
            ends,
            packets: [0; 2],
            first,
            last: [None; 2],
            trunks: [0; 2],
            client: None,
            pokes: [None, None],
            icmp: [None, None],
            idle: None,
        }
    }

    /// The two; the first is the one that was seen sending first.
    #[must_use]
    pub fn ends(&self) -> [SocketAddr; 2] {
        match &self.ends {
            Ends::Ipv4(ends) => ends.map(SocketAddr::V4),
            Ends::Any(ends) => **ends,
        }
    }

    /// One of the two: 0 or 1.
    #[must_use]
    pub fn end(&self, end: usize) -> Option<SocketAddr> {
        self.ends().get(end).copied()
    }

    /// Which end registers with the other: 0 or 1.
    #[must_use]
    pub fn client(&self) -> Option<usize> {
        self.client.map(usize::from)
    }

    /// How long the other end of a request from `from` has been silent, where that is a registered client.
    pub(super) fn idle_of_client(&self, from: usize, at: Mark) -> Option<Duration> {
        let client = self.client().filter(|client| *client != from)?;
        let last = self.last.get(client).copied().flatten()?;
        Some(at.since(&last))
    }

    /// A client that is heard was there when it did not answer.
    pub(super) fn note_heard(&mut self, end: usize) {
        if self.client() == Some(end)
            && let Some(idle) = &mut self.idle
        {
            idle.heard_again += std::mem::take(&mut idle.pending);
        }
    }

    /// A POKE from this end.
    pub(super) fn poke(&mut self, end: usize, number: CallNumber, again: bool, at: Mark) {
        if let Some(pokes) = self.pokes.get_mut(end).and_then(Option::as_mut)
            && let Some(waiting) = &mut pokes.waiting
            && waiting.number == number
        {
            pokes.again += 1;
            waiting.last = at;
            return;
        }
        let idle = self.idle_of_client(end, at);
        self.settle(end, at, true);
        let Some(slot) = self.pokes.get_mut(end) else {
            return;
        };
        let pokes = slot.get_or_insert_default();
        pokes.sent += 1;
        pokes.again += u32::from(again);
        pokes.waiting = Some(Waiting {
            number,
            first: at,
            last: at,
            idle,
        });
    }

    /// A PONG from this end; whether it answers a POKE.
    pub(super) fn pong(&mut self, end: usize, number: CallNumber, at: Mark) -> bool {
        let Some(pokes) = self.pokes.get_mut(1 - end).and_then(Option::as_mut) else {
            return false;
        };
        let Some(waiting) = pokes.waiting.take_if(|waiting| waiting.number == number) else {
            return false;
        };
        pokes.answered += 1;
        pokes.last_answered = Some(at);
        let trip = at.since(&waiting.last);
        pokes.round_trip = Some(match pokes.round_trip {
            Some((least, most)) => (least.min(trip), most.max(trip)),
            None => (trip, trip),
        });
        // An answer to a retransmission says nothing of the first one.
        if waiting.first == waiting.last
            && let Some(idle) = waiting.idle
        {
            self.idle
                .get_or_insert_default()
                .note_answered(idle, waiting.first);
        }
        true
    }

    /// Gives up the POKE of this end that waits, where it has waited long enough; else it is forgotten where `over`
    /// says that nothing more of it comes.
    pub(super) fn settle(&mut self, end: usize, now: Mark, over: bool) {
        let Some(pokes) = self.pokes.get_mut(end).and_then(Option::as_mut) else {
            return;
        };
        let given_up = |waiting: &mut Waiting| now.since(&waiting.last) >= PATIENCE;
        let Some(waiting) = pokes.waiting.take_if(given_up) else {
            if over {
                pokes.waiting = None;
            }
            return;
        };
        pokes.unanswered += 1;
        pokes.first_unanswered.get_or_insert(waiting.first);
        pokes.last_unanswered = Some(waiting.first);
        if let Some(idle) = waiting.idle {
            self.idle
                .get_or_insert_default()
                .note_unanswered(idle, waiting.first);
        }
    }
}
