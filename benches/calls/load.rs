//! A load of echo calls, and what comes back of it in time.

use std::{
    collections::HashMap,
    io::{IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    ops::Range,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    proto::{
        auth::Credentials,
        call::{Call, CallEvent, DialConfig, EncryptionOffer, Manners, Reason, Stage},
        trunk::{MTU, TrunkSender},
    },
    types::CallNumber,
    wire::iax2::{
        format::Formats,
        frame::{Frame, Numbers},
    },
};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::process::poll;

/// Calls of one source address and socket.
const A_SOURCE: usize = 800;
/// Slots of a packet's 20 ms: a call sends in one of them.
const SLOTS: u32 = 20;
const SLOT: Duration = Duration::from_millis(1);
/// What is in time is back by then.
const IN_TIME: Duration = Duration::from_millis(20);
/// Calls begun in one slot, at most: 100 a second.
const BEGIN_EVERY: u32 = 10;
/// Datagrams of one system call.
const BATCH: usize = 64;
/// Audio octets of a packet; the first ones say when it left.
const AUDIO: usize = 160;

/// What one watch saw.
pub(crate) struct Seen {
    pub(crate) sent: u64,
    /// Not back within 20 ms.
    pub(crate) late: u64,
    /// How late the generator itself was, at worst.
    pub(crate) own_delay: Duration,
}

pub(crate) struct Load {
    server: SocketAddr,
    trunk: bool,
    sources: Vec<Source>,
    rng: StdRng,
    born: Instant,
    slot: u32,
    /// Frames sent and frames back in time, by the watch that is under way.
    sent: u64,
    in_time: u64,
    /// When the frames left that are watched, in microseconds since the beginning.
    watched: Range<u32>,
    own_delay: Duration,
    buffers: Vec<[u8; 2048]>,
}

/// A mini frame that is sent again and again, with another clock and stamp each time: the load is to cost the
/// generator as little as can be.
struct Mini {
    timestamp: u16,
    datagram: [u8; 4 + AUDIO],
}

struct Source {
    socket: UdpSocket,
    lines: Vec<Call>,
    /// The next mini frame of each line, once its first full frame has left.
    minis: Vec<Option<Mini>>,
    by_local: HashMap<u16, usize>,
    by_remote: HashMap<u16, usize>,
    trunk: TrunkSender,
    outbox: Vec<Vec<u8>>,
}

impl Load {
    pub(crate) fn new(server: SocketAddr, trunk: bool) -> Self {
        Self {
            server,
            trunk,
            sources: Vec::new(),
            rng: StdRng::seed_from_u64(7),
            born: Instant::now(),
            slot: 0,
            sent: 0,
            in_time: 0,
            watched: 0..0,
            own_delay: Duration::ZERO,
            buffers: vec![[0; 2048]; BATCH],
        }
    }

    /// Calls that are up.
    pub(crate) fn up(&self) -> usize {
        let lines = self.sources.iter().flat_map(|source| &source.lines);
        lines.filter(|call| call.stage() == Stage::Up).count()
    }

    /// Begins calls until there are so many, and gives them time to come up.
    pub(crate) fn raise(&mut self, wanted: usize) {
        let mut missing = wanted.saturating_sub(self.sources.iter().map(|it| it.lines.len()).sum());
        while missing > 0 {
            if self.slot.is_multiple_of(BEGIN_EVERY) {
                self.begin();
                missing -= 1;
            }
            self.turn();
        }
        let settled = Instant::now() + Duration::from_secs(2);
        while Instant::now() < settled {
            self.turn();
        }
    }

    /// Watches what comes back for so long.
    pub(crate) fn watch(&mut self, window: Duration) -> Seen {
        (self.sent, self.in_time, self.own_delay) = (0, 0, Duration::ZERO);
        let began = self.micros();
        let ends = began + u32::try_from(window.as_micros()).unwrap();
        self.watched = began..ends;
        // What left last may be back in time still.
        let until = Instant::now() + window + IN_TIME * 2;
        while Instant::now() < until {
            self.turn();
        }
        self.watched = 0..0;
        Seen {
            sent: self.sent,
            late: self.sent.saturating_sub(self.in_time),
            own_delay: self.own_delay,
        }
    }

    /// Hangs every call up, and listens for a while.
    pub(crate) fn hang_up(&mut self) {
        for source in &mut self.sources {
            for call in &mut source.lines {
                call.hang_up(Reason::code(16), Instant::now());
                while let Some(datagram) = call.poll_transmit() {
                    source.outbox.push(datagram);
                }
            }
            source.flush();
        }
    }

    fn micros(&self) -> u32 {
        u32::try_from(self.born.elapsed().as_micros()).unwrap()
    }

    fn begin(&mut self) {
        if self
            .sources
            .last()
            .is_none_or(|source| source.lines.len() == A_SOURCE)
        {
            let number = u8::try_from(self.sources.len() + 1).unwrap();
            self.sources.push(Source::new(number, self.server));
        }
        let source = self.sources.last_mut().unwrap();
        let number = loop {
            let number = self.rng.random_range(2..0x4000);
            if !source.by_local.contains_key(&number) {
                break number;
            }
        };
        let dial = DialConfig {
            number: "600".into(),
            context: None,
            credentials: Some(Credentials::with_secret("load", "s3cret")),
            caller: None,
            formats: vec![Formats::ULAW],
            encryption: EncryptionOffer::None,
            offer_token: true,
            renumbers: false,
            manners: Manners {
                ping_every: Duration::from_secs(21),
                ..Manners::OURS
            },
            seed: self.rng.random(),
        };
        let mut call = Call::dial(dial, CallNumber::from_bits(number), Instant::now());
        call.set_trunked(self.trunk);
        source.by_local.insert(number, source.lines.len());
        source.lines.push(call);
        source.minis.push(None);
        source.drain(source.lines.len() - 1);
        source.flush();
    }

    /// One slot: its calls send, and everything that came is taken.
    fn turn(&mut self) {
        let due = self.born + SLOT * self.slot;
        let mut now = Instant::now();
        while now < due {
            self.receive();
            let left = due.saturating_duration_since(Instant::now());
            if left > Duration::from_micros(200) {
                std::thread::sleep(Duration::from_micros(100));
            }
            now = Instant::now();
        }
        if !self.watched.is_empty() {
            self.own_delay = self.own_delay.max(now - due);
        }
        // A generator that fell behind by more goes on from here: it would send bursts else.
        if now > due + IN_TIME {
            self.slot += u32::try_from((now - due).as_millis()).unwrap() / SLOTS * SLOTS;
        }
        let phase = usize::try_from(self.slot % SLOTS).unwrap();
        let stamp = self.micros();
        let trunk = self.trunk;
        for (index, source) in self.sources.iter_mut().enumerate() {
            let mut sent = 0;
            if trunk {
                if index % SLOTS as usize == phase {
                    sent = source.speak(0, 1, stamp, now, true);
                    source.trunk.flush(now);
                    while let Some(datagram) = source.trunk.poll_transmit() {
                        source.outbox.push(datagram);
                    }
                }
            } else {
                sent = source.speak(phase, SLOTS as usize, stamp, now, false);
            }
            if self.watched.contains(&stamp) {
                self.sent += sent;
            }
            if self.slot.is_multiple_of(100) {
                source.tick(now);
            }
            source.flush();
        }
        self.receive();
        self.slot += 1;
    }

    fn receive(&mut self) {
        for index in 0..self.sources.len() {
            loop {
                let lengths = self.sources[index].receive(&mut self.buffers);
                let now = Instant::now();
                let micros = self.micros();
                for (buffer, length) in self.buffers.iter().zip(&lengths) {
                    let Some(payload) = buffer.get(..*length) else {
                        continue;
                    };
                    self.in_time += self.sources[index].take(payload, micros, &self.watched, now);
                }
                self.sources[index].flush();
                if lengths.len() < BATCH {
                    break;
                }
            }
        }
    }
}

impl Source {
    fn new(number: u8, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 8, 9, number), 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_nonblocking(true).unwrap();
        let raw = socket2::SockRef::from(&socket);
        raw.set_recv_buffer_size(4 << 20).unwrap();
        raw.set_send_buffer_size(4 << 20).unwrap();
        Self {
            socket,
            lines: Vec::new(),
            minis: Vec::new(),
            by_local: HashMap::new(),
            by_remote: HashMap::new(),
            trunk: TrunkSender::new(MTU, true, Instant::now()),
            outbox: Vec::new(),
        }
    }

    /// Each call of these sends one packet that says when it left.
    fn speak(&mut self, first: usize, step: usize, stamp: u32, now: Instant, trunk: bool) -> u64 {
        let mut audio = [0x55; AUDIO];
        audio[..4].copy_from_slice(&stamp.to_be_bytes());
        let mut sent = 0;
        let mut at = first;
        while at < self.lines.len() {
            let call = &mut self.lines[at];
            if let Some(mini) = &mut self.minis[at] {
                mini.timestamp = mini.timestamp.wrapping_add(20);
                mini.datagram[2..4].copy_from_slice(&mini.timestamp.to_be_bytes());
                mini.datagram[4..8].copy_from_slice(&audio[..4]);
                self.outbox.push(mini.datagram.to_vec());
                sent += 1;
            } else if call.stage() == Stage::Up && call.send_audio(&audio, Formats::ULAW, 20, now) {
                sent += 1;
                let source = call.local().get().to_be_bytes();
                self.drain(at);
                if !trunk {
                    let mut datagram = [0x55; 4 + AUDIO];
                    datagram[..2].copy_from_slice(&source);
                    // The server takes the clock as it comes; the first frame's is near enough.
                    let timestamp = 0;
                    self.minis[at] = Some(Mini {
                        timestamp,
                        datagram,
                    });
                }
            }
            at += step;
        }
        sent
    }

    fn tick(&mut self, now: Instant) {
        for at in 0..self.lines.len() {
            self.lines[at].handle_timeout(now);
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) {
        let call = &mut self.lines[at];
        while let Some(event) = call.poll_event() {
            if let CallEvent::Accepted { .. } = event {
                self.by_remote.insert(call.remote().get(), at);
            }
        }
        while let Some(datagram) = call.poll_transmit() {
            self.outbox.push(datagram);
        }
        while let Some(audio) = call.poll_trunk() {
            self.trunk.push(audio, Instant::now()).unwrap();
        }
    }

    /// Takes one datagram; returns how many frames of a watch it brings back in time.
    fn take(&mut self, payload: &[u8], micros: u32, watched: &Range<u32>, now: Instant) -> u64 {
        let good = |audio: &[u8]| {
            let left = audio.first_chunk().map(|chunk| u32::from_be_bytes(*chunk));
            let in_time =
                |left: u32| Duration::from_micros(micros.wrapping_sub(left).into()) <= IN_TIME;
            u64::from(left.is_some_and(|left| watched.contains(&left) && in_time(left)))
        };
        match Numbers::of(payload) {
            Some(Numbers::Mini { .. }) => good(payload.get(4..).unwrap_or_default()),
            Some(Numbers::Full { destination, .. }) => {
                let Some(&at) = self.by_local.get(&destination.get()) else {
                    return 0;
                };
                let audio = match Frame::decode(payload) {
                    Ok(Frame::Full(frame)) if frame.format().is_some() => good(frame.payload),
                    _ => 0,
                };
                self.lines[at].handle_datagram(payload, now);
                self.drain(at);
                audio
            }
            Some(Numbers::Meta) => match Frame::decode(payload) {
                Ok(Frame::Trunk(trunk)) => trunk.entries().map(|entry| good(entry.payload)).sum(),
                _ => 0,
            },
            None => 0,
        }
    }

    fn receive(&mut self, buffers: &mut [[u8; 2048]]) -> Vec<usize> {
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        match recvmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        ) {
            Ok(received) => received.map(|message| message.bytes).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn flush(&mut self) {
        for batch in self.outbox.chunks(BATCH) {
            let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(batch.len(), None);
            let slices: Vec<[IoSlice<'_>; 1]> = batch
                .iter()
                .map(|datagram| [IoSlice::new(datagram)])
                .collect();
            let addresses = vec![None; batch.len()];
            // A full buffer loses what the network would lose.
            let _ = sendmmsg(
                self.socket.as_raw_fd(),
                &mut headers,
                slices.iter(),
                &addresses,
                [],
                MsgFlags::MSG_DONTWAIT,
            );
        }
        self.outbox.clear();
    }
}

pub(crate) fn wait_for_pong(server: SocketAddr) {
    const POKE: [u8; 12] = [0x80, 0x4d, 0, 0, 0, 0, 0, 1, 0, 0, 6, 0x1e];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let answered = poll(Duration::from_secs(20), || {
        let _ = socket.send_to(&POKE, server);
        socket.recv_from(&mut [0; 64]).ok()
    });
    assert!(answered.is_some(), "{server} does not answer");
}
