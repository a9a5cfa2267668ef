//! From packets to datagrams: fragments are put together, what a mirror port shows twice is left out, and what was
//! lost on the way into the capture is counted.

use std::time::Duration;

use super::{
    fragments::Fragments,
    mark::{Mark, Seen},
};
use crate::wire::{
    link::{Carried, IcmpError, LinkError, Udp},
    pcap::Packet,
};

/// What is missing from a capture, or too much in it.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Packets read.
    pub packets: u64,
    /// Octets of them.
    pub octets: u64,
    /// Packets whose headers are damaged or of a link that is not known, and the first of these.
    pub unread: u64,
    /// The first of them.
    pub first_unread: Option<(Mark, LinkError)>,
    /// Datagrams that were not captured as a whole (snap length).
    pub cut: u64,
    /// Fragments of which the rest never came.
    pub fragments: u64,
    /// Datagrams that stood in the capture a second time.
    pub duplicates: u64,
    /// How often the clock went back, and by how much at most.
    pub backwards: u64,
    /// The most it went back.
    pub furthest_back: Duration,
    /// The capturing host says that it lost so many.
    pub dropped: Option<u64>,
    /// Where the file ends too early, or is damaged.
    pub damaged: Option<String>,
}

impl Losses {
    /// Adds those of another file.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.octets += other.octets;
        self.unread += other.unread;
        self.first_unread = self.first_unread.or(other.first_unread);
        self.cut += other.cut;
        self.fragments += other.fragments;
        self.duplicates += other.duplicates;
        self.backwards += other.backwards;
        self.furthest_back = self.furthest_back.max(other.furthest_back);
        self.dropped = match (self.dropped, other.dropped) {
            (None, None) => None,
            (one, two) => Some(one.unwrap_or(0) + two.unwrap_or(0)),
        };
        if self.damaged.is_none() {
            self.damaged.clone_from(&other.damaged);
        }
    }
}

/// What a packet gives.
#[derive(Clone, Copy, Debug)]
pub enum Got<'a> {
    /// A datagram.
    Datagram(Seen<'a>),
    /// An ICMP error about one.
    Icmp(IcmpError<'a>, Mark),
    /// Nothing of use.
    Nothing,
}

/// Reads the packets of one capture.
#[derive(Debug, Default)]
pub struct Reading {
    file: u16,
    fragments: Fragments,
    losses: Losses,
    last: Duration,
    recent: [Print; RECENT],
    next: usize,
}

/// As many datagrams are looked back for one that is there twice.
const RECENT: usize = 8;
/// A mirror port shows both within this time; nobody sends one again so soon.
const MIRRORED: Duration = Duration::from_millis(5);
/// A clock that goes back less is that of packets taken up by several processors.
const JUMP: Duration = Duration::from_millis(50);

/// What tells a datagram from those before it: its head, its length and its ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Print {
    head: [u8; 12],
    length: usize,
    ports: (u16, u16),
    hosts: u64,
    time: Duration,
}

impl Reading {
    /// Begins a capture; `file` is its place among several, from 0.
    #[must_use]
    pub fn new(file: u16) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses {
            fragments: self.fragments.given_up,
            ..self.losses.clone()
        }
    }

    /// The capture ended: packets that its host lost, and why it ended before its end.
    pub fn note_end(&mut self, dropped: Option<u64>, damaged: Option<&str>) {
        self.losses.dropped = dropped;
        self.losses.damaged = damaged.map(str::to_owned);
    }

    /// Takes a packet.
    #[inline]
    pub fn take<'a>(&'a mut self, packet: &Packet<'a>) -> Got<'a> {
        self.losses.packets += 1;
        self.losses.octets += packet.octets.len() as u64;
        let mark = Mark::new(self.file, self.losses.packets, packet.time);
        if packet.time + JUMP < self.last {
            self.losses.backwards += 1;
            let back = self.last.saturating_sub(packet.time);
            self.losses.furthest_back = self.losses.furthest_back.max(back);
        }
        self.last = packet.time;
        match Carried::read(packet.link, packet.octets) {
            Ok(Carried::Udp { datagram, missing }) => {
                if missing > 0 {
                    self.losses.cut += 1;
                }
                if self.is_mirrored(&datagram, packet.time) {
                    self.losses.duplicates += 1;
                    return Got::Nothing;
                }
                Got::Datagram(seen(mark, datagram, missing))
            }
            Ok(Carried::Icmp(error)) => Got::Icmp(error, mark),
            Ok(Carried::Fragment(piece)) => match self.fragments.take(&piece, packet.time) {
                Some(whole) => Got::Datagram(seen(mark, whole, 0)),
                None => Got::Nothing,
            },
            Ok(Carried::Other) => Got::Nothing,
            Err(error) => {
                self.losses.unread += 1;
                self.losses.first_unread.get_or_insert((mark, error));
                Got::Nothing
            }
        }
    }

    /// Whether the same datagram stood in the capture a moment ago. Frames that are sent again come much later, and
    /// audio has a clock.
    #[inline]
    fn is_mirrored(&mut self, datagram: &Udp<'_>, time: Duration) -> bool {
        let mut head = [0; 12];
        for (own, octet) in head.iter_mut().zip(datagram.payload) {
            *own = *octet;
        }
        let print = Print {
            head,
            length: datagram.payload.len(),
            ports: (datagram.source.port(), datagram.destination.port()),
            hosts: hosts(datagram),
            time,
        };
        let same = |other: &Print| {
            other.head == print.head
                && other.length == print.length
                && other.ports == print.ports
                && other.hosts == print.hosts
                && time.saturating_sub(other.time) < MIRRORED
        };
        if print.length >= 4 && self.recent.iter().any(same) {
            return true;
        }
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = print;
        }
        self.next = (self.next + 1) % RECENT;
        false
    }
}

/// The two addresses, mixed into a number.
fn hosts(datagram: &Udp<'_>) -> u64 {
    let number = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => u64::from(v4.to_bits()),
        std::net::IpAddr::V6(v6) => {
            let [high, low] = [v6.to_bits() >> 64, v6.to_bits()];
            #[allow(clippy::cast_possible_truncation)] // each half by itself
            let mixed = (high as u64).rotate_left(17) ^ low as u64;
            mixed
        }
    };
    number(datagram.source.ip()).rotate_left(32) ^ number(datagram.destination.ip())
}

const fn seen<'a>(mark: Mark, datagram: Udp<'a>, missing: usize) -> Seen<'a> {
    Seen {
        mark,
        source: datagram.source,
        destination: datagram.destination,
        payload: datagram.payload,
        missing,
    }
}
