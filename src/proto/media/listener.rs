//! What came back of the audio we sent, and in what state.
//!
//! Each packet is compared with what was sent lately: octet by octet, as an echo of the same codec
//! returns it, else sample by sample, so that our signal is found after transcoding, at another level,
//! or cut into packets elsewhere. Beside that the timestamps are read as any receiver reads them. All of
//! it is kept in structures of fixed size: a call may last for hours.

mod arrivals;
mod correlator;
mod sent;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::{
    BLOCK, BLOCK_TIME, SAMPLE_RATE, g711::Law, jitter::Variation, report::ReceiverReport,
    signal::TestSignal,
};
use crate::types::Timestamp;
use arrivals::{Arrivals, Content};
use correlator::{Correlator, Packet};
use sent::{SentBlocks, fingerprint};

/// Listens to one call. The audio sent is noted with [`Listener::note_sent`], that which arrives is
/// given to [`Listener::handle_audio`], and [`Listener::evidence`] says what it was.
#[derive(Clone, Debug)]
pub struct Listener {
    sent: SentBlocks,
    arrivals: Arrivals,
    correlator: Correlator,
    samples: Vec<i16>,
    exact: u64,
    correlated: u64,
    silent: u64,
    foreign: u64,
    paused: bool,
    latest: Option<Instant>,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Audio of ours.
    Ours,
    /// Digital silence.
    Silence,
    /// Something else, or ours in a form that is not recognised (yet).
    Foreign,
}

/// What is known of a call's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioEvidence {
    /// Blocks we sent.
    pub sent: u64,
    /// The stream that arrived, by its timestamps.
    pub inbound: Inbound,
    /// Our blocks in it.
    pub returned: Returned,
    /// How late its packets were; `None` where too few came to compare.
    pub variation: Option<Variation>,
}

/// A stream of audio by its timestamps.
///
/// A sender that stops during silence leaves the same hole in them as loss does. The two are told apart
/// where the silence was announced ([`Listener::note_pause`]), where the hole is no whole number of
/// packets, where it spans more time than has passed, and where the blocks around it are ours and
/// nothing of ours is missing. Elsewhere a hole counts as loss: a far end that suppresses silence
/// without saying so, and plays something that is not ours, seems to lose it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// Packets received, duplicates included.
    pub packets: u64,
    /// Packets that never came, by the holes in the timestamps.
    pub lost: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Seconds of the stream in which any did. A host that stalls once shakes up one of them, a path that
    /// reorders goes on doing so.
    pub disordered_seconds: u64,
    /// Packets whose timestamp had come before.
    pub duplicated: u64,
    /// Runs of lost packets.
    pub gaps: u64,
    /// How long the longest of them would have lasted.
    pub longest_gap: Duration,
    /// Holes that were announced as silence.
    pub pauses: u64,
    /// Holes and jumps back that are no loss: the sender set its clock anew.
    pub clock_jumps: u64,
    /// The interarrival jitter at the end (RFC 3550 §6.4.1); `None` for fewer than two packets.
    pub jitter: Option<Duration>,
    /// The highest it has been.
    pub worst_jitter: Option<Duration>,
    /// Packets of digital silence.
    pub silent: u64,
    /// Packets of something that is neither silence nor recognised as ours.
    pub foreign: u64,
}

/// What became of our blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Blocks that came back at least once.
    pub blocks: u64,
    /// Packets recognised octet by octet.
    pub exact: u64,
    /// Packets recognised by correlation: transcoded, amplified or cut elsewhere.
    pub correlated: u64,
    /// Blocks before the first that came back. They need not be lost: the echo may not have begun.
    pub before_first: u64,
    /// Blocks after the first that never came back, whichever way they were lost.
    pub missing: u64,
    /// Where: the first runs of missing blocks, in order, 64 at most.
    pub missing_runs: Vec<Run>,
    /// Of the missing, those that no hole in the timestamps of the way back explains: lost on the way
    /// out, or by the far end.
    pub lost_outbound: u64,
    /// Blocks that came again.
    pub duplicated: u64,
    /// Blocks that came after a later one.
    pub out_of_order: u64,
    /// Seconds of our audio in which any did.
    pub disordered_seconds: u64,
    /// Blocks sent so late that their return cannot be expected yet.
    pub in_flight: u64,
    /// From a block's sending to its return.
    pub round_trip: Option<RoundTrip>,
}

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number of the first.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

/// The round trip of the audio. Median and p95 are exact to 1/32 of their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// The shortest.
    pub min: Duration,
    /// As many are longer as are shorter.
    pub median: Duration,
    /// 95 of 100 are no longer.
    pub p95: Duration,
    /// The longest.
    pub max: Duration,
}

impl Listener {
    /// Listens for this signal.
    #[must_use]
    pub fn new(signal: TestSignal) -> Self {
        Self {
            sent: SentBlocks::new(),
            arrivals: Arrivals::new(),
            correlator: Correlator::new(signal),
            samples: Vec::with_capacity(BLOCK),
            exact: 0,
            correlated: 0,
            silent: 0,
            foreign: 0,
            paused: false,
            latest: None,
        }
    }

    /// Notes that the block with this number left as `payload`; numbers rise, and stay
    /// below 2^48. The payload of a codec that we cannot decode need not be of the signal: its echo is
    /// found as long as it comes back octet by octet.
    pub fn note_sent(&mut self, number: u64, payload: &[u8], at: Instant) {
        self.sent.note(number, payload, at);
        self.latest = Some(at);
    }

    /// Notes that the far end announced silence (a comfort noise frame, QUELCH, hold): the next hole in
    /// its timestamps is no loss.
    pub fn note_pause(&mut self) {
        self.paused = true;
    }

    /// Takes the audio of one packet. `law` is `None` for formats that are not G.711; `timestamp` is the
    /// full one, where the packet carried its low bits only.
    pub fn handle_audio(
        &mut self,
        payload: &[u8],
        law: Option<Law>,
        timestamp: Timestamp,
        at: Instant,
    ) -> Carries {
        self.take(payload, law, (timestamp, false), at)
    }

    /// Takes the audio of one packet that waited at its sender, with the timestamp of the one before it
    /// ([`Carrier::Queued`](crate::proto::call::Carrier::Queued)): where it belongs is not told, only that it
    /// came.
    pub fn handle_queued(
        &mut self,
        payload: &[u8],
        law: Option<Law>,
        timestamp: Timestamp,
        at: Instant,
    ) -> Carries {
        self.take(payload, law, (timestamp, true), at)
    }

    fn take(
        &mut self,
        payload: &[u8],
        law: Option<Law>,
        (timestamp, queued): (Timestamp, bool),
        at: Instant,
    ) -> Carries {
        self.latest = Some(at);
        let content = self.recognise(payload, law, timestamp, at);
        let lasts = match law {
            Some(_) => Duration::from_secs(payload.len() as u64) / SAMPLE_RATE,
            None => BLOCK_TIME,
        };
        let paused = std::mem::take(&mut self.paused);
        self.arrivals
            .take((timestamp, queued), lasts, paused, content, at);
        match (content, law) {
            (Some(_), _) => Carries::Ours,
            (None, Some(law)) if law.is_silence(payload) => {
                self.silent += 1;
                Carries::Silence
            }
            (None, _) => {
                self.foreign += 1;
                Carries::Foreign
            }
        }
    }

    /// What is known so far.
    #[must_use]
    pub fn evidence(&self) -> AudioEvidence {
        let mut returned = self.sent.returned(self.latest);
        returned.exact = self.exact;
        returned.correlated = self.correlated;
        returned.lost_outbound = self.arrivals.lost_outbound().min(returned.missing);
        AudioEvidence {
            sent: self.sent.sent(),
            inbound: Inbound {
                silent: self.silent,
                foreign: self.foreign,
                ..self.arrivals.inbound()
            },
            returned,
            variation: self.arrivals.variation(),
        }
    }

    /// The report that a PONG of ours carries. Delay and drops are those of a jitter buffer, and we have
    /// none.
    #[must_use]
    pub fn report(&self) -> ReceiverReport {
        let inbound = self.arrivals.inbound();
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let all = inbound.lost + inbound.packets;
        let jitter = inbound.jitter.unwrap_or_default().as_millis();
        ReceiverReport {
            jitter_ms: u32::try_from(jitter).unwrap_or(u32::MAX),
            loss_percent: u8::try_from(inbound.lost * 100 / all.max(1)).unwrap_or(100),
            lost: narrow(inbound.lost),
            packets: narrow(inbound.packets),
            delay_ms: 0,
            dropped: 0,
            out_of_order: narrow(inbound.reordered),
        }
    }

    /// Finds out which of our blocks a packet carries, if any, and books them.
    fn recognise(
        &mut self,
        payload: &[u8],
        law: Option<Law>,
        timestamp: Timestamp,
        at: Instant,
    ) -> Option<Content> {
        let expected = self.correlator.expected_block();
        if let Some(number) = self.sent.find(fingerprint(payload), expected) {
            let position = number * BLOCK as u64;
            self.correlator.fix(position, BLOCK, timestamp);
            self.exact += 1;
            return Some(self.book(position, BLOCK, at));
        }
        let law = law.filter(|law| !law.is_silence(payload))?;
        self.samples.clear();
        law.decode_block(payload, &mut self.samples);
        let packet = Packet::new(payload, &self.samples, timestamp, at);
        let placed = self.correlator.place(&packet, &self.sent)?;
        self.correlated += 1;
        if let Some((position, samples, earlier)) = placed.earlier {
            self.correlated += 1;
            self.foreign = self.foreign.saturating_sub(1);
            self.book(position, samples, earlier);
        }
        Some(self.book(placed.position, payload.len(), at))
    }

    /// Books the return of the blocks whose middle lies in these samples of the signal.
    fn book(&mut self, position: u64, samples: usize, at: Instant) -> Content {
        let mut content = Content::of(position, samples);
        if let Some(next) = self.arrivals.next_block() {
            content.left_out = self.sent.left_out(next..content.blocks().start);
        }
        for number in content.blocks() {
            content.fresh |= self.sent.book(number);
        }
        self.sent.book_round_trip(position, at);
        content
    }
}
