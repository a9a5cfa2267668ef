//! The event loop, the only one: it drives one machine over its sockets by the drain law of
//! [`contract`](crate::proto::contract).
//!
//! A turn begins when a socket, the machine's deadline or the caller's stop wakes the loop. The
//! clock is read then, and for each datagram. What one turn does is bounded, so that a flood on one
//! socket delays neither the other sockets nor the deadline nor the stop by more than one batch. Datagrams
//! come and go many at a time, see `batch`.

use std::{
    future::Future,
    io,
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    net::{
        NetError,
        batch::{self, BATCH, Inbox},
        clock,
        sockets::Sockets,
        udp::{Refusal, Socket, send_cause},
    },
    proto::contract::{Input, Machine, SocketKey, Transmit, Unreachable},
    types::PeerAddr,
    wire::{iax2::show::Show, stun},
};

/// ICMP errors taken from one socket in a turn, which takes as many datagrams.
const ERRORS: usize = BATCH;
/// Datagrams that wait to leave together, at most.
const QUEUE: usize = 256;
/// Datagrams and events taken from the machine before the other sides get their chance.
const DRAIN: usize = 256;
/// How often, and how far apart, a full send buffer is tried again before the datagram is dropped.
const RETRIES: usize = 20;
const RETRY: Duration = Duration::from_millis(1);

/// Why the loop ended. The machine stays as it is, and may be driven again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<B, S> {
    /// The callback broke off at an event.
    Event(B),
    /// The stop came.
    Stopped(S),
    /// Nothing can happen any more: no deadline, and no socket is open.
    Idle,
}

/// Drives `machine` until `on_event` breaks, `stop` is done, or nothing can happen any more.
///
/// Every event goes to `on_event` in order, with the time of its turn. A client's sockets are opened
/// when the first datagram leaves from their key; a socket that cannot be opened, or a datagram that
/// the host refuses to send, is told to the machine as [`Input::Unreachable`]. Must run inside a
/// tokio runtime with I/O and time.
///
/// # Errors
///
/// [`NetError::Host`] where a server's sockets cannot be watched.
pub async fn drive<M: Machine, B, S>(
    machine: &mut M,
    sockets: &mut Sockets,
    on_event: impl FnMut(M::Event, Instant) -> ControlFlow<B>,
    stop: impl Future<Output = S>,
) -> Result<Ended<B, S>, NetError> {
    sockets.start()?;
    let mut turn = Turn {
        machine,
        sockets,
        on_event,
        now: clock::now(),
        queue: Vec::new(),
        holds: false,
    };
    let mut inbox = Inbox::new();
    let mut stop = pin!(stop);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut armed = None;
    loop {
        let more = match turn.drain().await {
            ControlFlow::Break(result) => return Ok(Ended::Event(result)),
            ControlFlow::Continue(Drained::All) => false,
            ControlFlow::Continue(Drained::Some) => true,
        };
        let deadline = turn.machine.poll_timeout();
        if deadline.is_none() && turn.sockets.is_closed() && !more {
            return Ok(Ended::Idle);
        }
        if let Some((at, _)) = deadline
            && armed != Some(at)
        {
            armed = Some(at);
            timer.as_mut().reset(wake_at(at));
        }
        // The branches are tried in random order, so none starves.
        tokio::select! {
            stopped = &mut stop => return Ok(Ended::Stopped(stopped)),
            () = &mut timer, if deadline.is_some() => {
                armed = None;
                turn.now = clock::now();
                turn.machine.handle_timeout(turn.now);
            }
            (key, socket) = turn.sockets.ready() => {
                turn.now = clock::now();
                if let ControlFlow::Break(result) = turn.receive(key, &socket, &mut inbox).await {
                    return Ok(Ended::Event(result));
                }
            }
            () = tokio::task::yield_now(), if more => turn.now = clock::now(),
        }
    }
}

/// When to wake up for a deadline of our clock. The timer's own clock stands still while the host sleeps, so
/// that a long wait is cut into shorter ones; a call of `handle_timeout` too early changes nothing.
fn wake_at(deadline: Instant) -> tokio::time::Instant {
    const LONGEST: Duration = Duration::from_secs(5);
    let left = deadline.saturating_duration_since(clock::now());
    tokio::time::Instant::now() + left.min(LONGEST)
}

/// A datagram in one line, for the log.
fn shown(payload: &[u8]) -> String {
    if stun::is_stun(payload) {
        format!("STUN, {} octets", payload.len())
    } else {
        Show(payload).to_string()
    }
}

/// Whether the machine had nothing more to say.
enum Drained {
    All,
    Some,
}

/// The loop's hands: the machine and what it is connected to.
struct Turn<'a, M, F> {
    machine: &'a mut M,
    sockets: &'a mut Sockets,
    on_event: F,
    now: Instant,
    /// What is to leave, in order.
    queue: Vec<Transmit>,
    /// More may join the queue before it leaves.
    holds: bool,
}

impl<M: Machine, B, F: FnMut(M::Event, Instant) -> ControlFlow<B>> Turn<'_, M, F> {
    /// Takes transmits and events until both are empty, or until [`DRAIN`] is reached.
    async fn drain(&mut self) -> ControlFlow<B, Drained> {
        for _ in 0..DRAIN {
            let transmit = self.machine.poll_transmit();
            let event = self.machine.poll_event();
            if transmit.is_none() && event.is_none() {
                if self.holds || self.queue.is_empty() {
                    return ControlFlow::Continue(Drained::All);
                }
                // What the host says to them may be news to the machine.
                self.flush().await;
                continue;
            }
            self.queue.extend(transmit);
            if self.queue.len() >= QUEUE {
                self.flush().await;
            }
            if let Some(event) = event
                && let ControlFlow::Break(result) = (self.on_event)(event, self.now)
            {
                // What was to leave beside it leaves: the last event may come with the last farewells.
                for transmit in std::iter::from_fn(|| self.machine.poll_transmit()).take(DRAIN) {
                    self.queue.push(transmit);
                }
                self.flush().await;
                return ControlFlow::Break(result);
            }
        }
        self.flush().await;
        ControlFlow::Continue(Drained::Some)
    }

    /// Sends what waits, runs of equal datagrams by one system call each.
    async fn flush(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        let mut rest = queue.as_slice();
        while !rest.is_empty() {
            let (run, others) = rest.split_at(batch::run_length(rest));
            rest = others;
            if run.len() == 1 || !self.send_run(run) {
                for transmit in run {
                    self.send(transmit).await;
                }
            }
        }
        // The room is kept for the next ones; what the host said meanwhile may have asked for more.
        let asked = std::mem::replace(&mut self.queue, queue);
        self.queue.clear();
        self.queue.extend(asked);
    }

    /// Whether the whole run left by one system call. A host or a path that does not take that gets them one by
    /// one.
    fn send_run(&mut self, run: &[Transmit]) -> bool {
        // What a client sends is measured packet by packet: on its way through a host a run is one, and may be
        // lost as one.
        if !self.sockets.are_a_servers() {
            return false;
        }
        let socket = run.first().and_then(|first| self.sockets.get(first.socket));
        let sent = socket.is_some_and(|socket| socket.send_run(run).is_ok());
        if sent && tracing::enabled!(tracing::Level::DEBUG) {
            for transmit in run {
                tracing::debug!("→ {} {}", transmit.peer, shown(&transmit.payload));
            }
        }
        sent
    }

    /// Gives the machine what one socket has, at most [`BATCH`] datagrams and as many errors.
    async fn receive(
        &mut self,
        key: SocketKey,
        socket: &Socket,
        inbox: &mut Inbox,
    ) -> ControlFlow<B> {
        // What fails is an ICMP error, which the error queue tells in full; or nothing is there.
        if socket.receive(inbox).is_ok() {
            self.holds = true;
            let taken = self.take(key, inbox).await;
            self.holds = false;
            taken?;
        }
        for _ in 0..ERRORS {
            let Some(refusal) = socket.refusal() else {
                break;
            };
            self.unreachable(key, refusal);
            if let Drained::Some = self.drain().await? {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Gives the machine each datagram that came.
    async fn take(&mut self, key: SocketKey, inbox: &Inbox) -> ControlFlow<B> {
        let mut index = 0;
        while let Some((payload, source)) = inbox.get(index) {
            index += 1;
            if tracing::enabled!(tracing::Level::DEBUG) {
                tracing::debug!("← {source} {}", shown(payload));
            }
            // Frames that answer each other arrive in one turn, and their order shows in the time.
            self.now = clock::now();
            let input = Input::Datagram {
                socket: key,
                source: PeerAddr::new(source),
                payload,
            };
            self.machine.handle_input(input, self.now);
            // A machine that has more to say is heard out before the next datagram: none is lost.
            while let Drained::Some = self.drain().await? {}
        }
        ControlFlow::Continue(())
    }

    async fn send(&mut self, transmit: &Transmit) {
        let (key, peer) = (transmit.socket, transmit.peer);
        let Some(socket) = self.socket(key, peer) else {
            return;
        };
        let send = || socket.send(&transmit.payload, peer.get(), transmit.ttl);
        let mut result = send();
        for _ in 0..RETRIES {
            if !result.as_ref().is_err_and(buffer_is_full) {
                break;
            }
            tokio::time::sleep(RETRY).await;
            result = send();
        }
        match result {
            Ok(()) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    tracing::debug!("→ {peer} {}", shown(&transmit.payload));
                }
            }
            Err(error) if buffer_is_full(&error) => {
                tracing::debug!(?key, %peer, "send buffer full, datagram dropped");
                self.sockets.drop_one();
            }
            Err(error) => {
                tracing::debug!(?key, %peer, %error, "not sent");
                let refusal = Refusal {
                    peer,
                    cause: send_cause(&error),
                    reporter: None,
                };
                self.unreachable(key, refusal);
            }
        }
    }

    /// The socket of `key`, opened if need be; the machine is told either way.
    fn socket(&mut self, key: SocketKey, peer: PeerAddr) -> Option<Arc<Socket>> {
        if let Some(socket) = self.sockets.get(key) {
            return Some(socket);
        }
        match self.sockets.open(key, peer) {
            Ok((socket, local)) => {
                tracing::debug!(?key, %local, "opened");
                let input = Input::Opened { socket: key, local };
                self.machine.handle_input(input, self.now);
                Some(socket)
            }
            Err(error) => {
                tracing::warn!("{error}");
                let refusal = Refusal {
                    peer,
                    cause: Unreachable::NoSocket,
                    reporter: None,
                };
                self.unreachable(key, refusal);
                None
            }
        }
    }

    fn unreachable(&mut self, socket: SocketKey, refusal: Refusal) {
        let Refusal {
            peer,
            cause,
            reporter,
        } = refusal;
        let input = Input::Unreachable {
            socket,
            peer,
            cause,
            reporter,
        };
        self.machine.handle_input(input, self.now);
    }
}

fn buffer_is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(nix::Error::ENOBUFS as i32)
}

#[cfg(test)]
mod tests;
