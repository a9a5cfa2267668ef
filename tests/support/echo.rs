//! A far end that echoes, and breaks the calls it is told to break: what no Asterisk does on demand.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::ControlFlow,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    net::{drive::drive, sockets::Sockets, udp::Ground},
    proto::{
        call::{Call, CallEvent, Manners, Reason},
        contract::{Input, Machine, SocketKey, Transmit, earlier},
        stateless,
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::Command,
        format::Formats,
        frame::{Frame, FullFrame, Numbers},
    },
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// The caller hangs up.
    Echoed,
    /// So long after the answer it is forgotten, and every full frame of it is answered by INVAL.
    Forgotten(Duration),
    /// So long after the answer it is hung up, with this cause or without any.
    HungUp(Duration, Option<u8>),
}

/// The far end. The fate of a call is told by its number, from 0.
pub struct Echo {
    fate: fn(usize) -> Fate,
    lines: BTreeMap<(PeerAddr, CallNumber), Line>,
    count: u16,
    outbox: VecDeque<Transmit>,
}

struct Line {
    call: Call,
    fate: Fate,
    /// When its fate is due.
    due: Option<Instant>,
    forgotten: bool,
}

impl Echo {
    /// A far end that deals with calls so.
    pub fn new(fate: fn(usize) -> Fate) -> Self {
        Self {
            fate,
            lines: BTreeMap::new(),
            count: 0,
            outbox: VecDeque::new(),
        }
    }

    fn send(&mut self, peer: PeerAddr, payload: Vec<u8>) {
        self.outbox.push_back(Transmit {
            socket: SocketKey(0),
            peer,
            payload,
            ttl: None,
        });
    }

    fn take(&mut self, peer: PeerAddr, payload: &[u8], now: Instant) {
        let Some(Numbers::Full { source, .. } | Numbers::Mini { source }) = Numbers::of(payload)
        else {
            return;
        };
        let frame = match Frame::decode(payload) {
            Ok(Frame::Full(frame)) => Some(frame),
            _ => None,
        };
        let command = frame.as_ref().and_then(FullFrame::command);
        match (self.lines.get_mut(&(peer, source)), frame) {
            (_, Some(frame)) if command == Some(Command::Poke) => {
                self.send(peer, stateless::reply(&frame, Command::Pong, &[]));
            }
            (Some(line), Some(frame)) if line.forgotten => {
                let invalid = stateless::invalid(&frame);
                self.outbox.extend(invalid.map(|payload| Transmit {
                    socket: SocketKey(0),
                    peer,
                    payload,
                    ttl: None,
                }));
            }
            (Some(line), _) if !line.forgotten => line.call.handle_datagram(payload, now),
            (None, Some(frame)) if command == Some(Command::New) => {
                self.answer(peer, &frame, now);
            }
            _ => {}
        }
    }

    fn answer(&mut self, peer: PeerAddr, frame: &FullFrame<'_>, now: Instant) {
        let fate = (self.fate)(usize::from(self.count));
        // Numbers 0 and 1 have a meaning of their own.
        let local = CallNumber::from_bits(self.count + 2);
        self.count += 1;
        let mut call = Call::incoming(frame, local, Manners::RFC, [7; 32], now);
        call.accept(Formats::ULAW, now);
        call.answer(now);
        let due = match fate {
            Fate::Echoed => None,
            Fate::Forgotten(after) | Fate::HungUp(after, _) => Some(now + after),
        };
        let line = Line {
            call,
            fate,
            due,
            forgotten: false,
        };
        self.lines.insert((peer, frame.source), line);
    }

    fn drain(&mut self, now: Instant) {
        for ((peer, _), line) in &mut self.lines {
            while let Some(event) = line.call.poll_event() {
                if let CallEvent::Audio(audio) = event {
                    line.call.send_audio(&audio.payload, audio.format, 20, now);
                }
            }
            while let Some(payload) = line.call.poll_transmit() {
                if !line.forgotten {
                    self.outbox.push_back(Transmit {
                        socket: SocketKey(0),
                        peer: *peer,
                        payload,
                        ttl: None,
                    });
                }
            }
        }
    }
}

impl Machine for Echo {
    type Event = ();

    fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let Input::Datagram {
            source, payload, ..
        } = input
        {
            self.take(source, payload, now);
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for line in self.lines.values_mut() {
            line.call.handle_timeout(now);
            if line.due.is_some_and(|due| due <= now) {
                line.due = None;
                match line.fate {
                    Fate::HungUp(_, code) => {
                        let cause = Reason { text: None, code };
                        line.call.hang_up(cause, now);
                    }
                    _ => line.forgotten = true,
                }
            }
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.lines
            .values()
            .filter(|line| !line.forgotten)
            .flat_map(|line| {
                let due = line.due.map(|due| (due, "break a call"));
                [due, line.call.poll_timeout()]
            })
            .fold(None, earlier)
    }
}

/// A far end on a socket of this host, until it is dropped.
pub struct Served {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Listens at `local`.
    pub fn start(local: SocketAddr, fate: fn(usize) -> Fate) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut sockets = Sockets::server(Ground::host(), &[local]).unwrap();
                ready.send(()).unwrap();
                let mut echo = Echo::new(fate);
                let ended = drive(
                    &mut echo,
                    &mut sockets,
                    |(), _| ControlFlow::<()>::Continue(()),
                    stopped,
                );
                ended.await.map(|_| ()).unwrap();
            });
        });
        is_ready.recv().unwrap();
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only where the far end is gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
