//! The audio of one test call: our signal out, what comes back judged.

use std::time::{Duration, Instant};

use crate::{
    proto::{
        call::{Audio, Call, Carrier},
        media::{
            BLOCK, BLOCK_TIME, SAMPLE_RATE,
            g711::Law,
            listener::{AudioEvidence, Listener},
            signal::TestSignal,
        },
    },
    types::Timestamp,
    wire::iax2::format::Formats,
};

/// Both ends of the audio at this side.
#[derive(Debug)]
pub(super) struct Talk {
    format: Formats,
    signal: TestSignal,
    listener: Listener,
    /// When the next block is due.
    next: Instant,
    block: u64,
    /// Blocks that were never sent, because the host kept us waiting.
    left_out: u64,
    recording: Option<Recording>,
}

/// What was heard, in order of its clock.
#[derive(Debug)]
struct Recording {
    samples: Vec<i16>,
    /// The clock of the first packet, in milliseconds.
    begin: Option<u32>,
}

/// The longest recording: an hour.
const LONGEST_RECORDING: usize = 3600 * SAMPLE_RATE as usize;

impl Talk {
    /// Begins with the first tick after `now` of the clock that ticks at `begin`.
    pub(super) fn new(
        format: Formats,
        seed: u64,
        record: bool,
        begin: Instant,
        now: Instant,
    ) -> Self {
        let signal = TestSignal::new(seed);
        Self {
            format,
            signal,
            listener: Listener::new(signal),
            next: if begin < now {
                begin + BLOCK_TIME
            } else {
                begin
            },
            block: 0,
            left_out: 0,
            recording: record.then_some(Recording {
                samples: Vec::new(),
                begin: None,
            }),
        }
    }

    /// When the next block is due.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// What is known of the audio so far.
    pub(super) fn evidence(&self) -> AudioEvidence {
        self.listener.evidence()
    }

    /// Blocks that were never sent, because the host kept us waiting.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The longest that a block took to come back.
    pub(super) fn longest_echo(&self) -> Option<Duration> {
        let evidence = self.listener.evidence();
        evidence.returned.round_trip.map(|trip| trip.max)
    }

    /// Sends the block that is due. Where the host was late, those before it are left out: several at once
    /// would show what the far end does with a bunch, and not what the line does.
    pub(super) fn speak(&mut self, call: &mut Call, now: Instant) {
        let mut due = None;
        while self.next <= now {
            self.next += BLOCK_TIME;
            // The number of a block tells its time, whether it is sent or left out.
            self.left_out += u64::from(due.is_some());
            due = Some(self.block);
            self.block += 1;
        }
        let Some(number) = due else {
            return;
        };
        let payload = self.payload(number);
        if call.send_audio(&payload, self.format, 20, now) {
            self.listener.note_sent(number, &payload, now);
        }
    }

    /// Takes one packet.
    pub(super) fn hear(&mut self, audio: &Audio, now: Instant) {
        let law = Law::of(audio.format);
        let timestamp = Timestamp::from_millis(audio.timestamp);
        if audio.carrier == Carrier::Queued {
            self.listener
                .handle_queued(&audio.payload, law, timestamp, now);
        } else {
            self.listener
                .handle_audio(&audio.payload, law, timestamp, now);
        }
        if let (Some(recording), Some(law)) = (&mut self.recording, law) {
            recording.add(audio, law);
        }
    }

    /// What was heard, where it was kept.
    pub(super) fn into_recording(self) -> Option<Vec<i16>> {
        self.recording.map(|recording| recording.samples)
    }

    /// A block in the call's format. What we cannot encode is noise of the right length: an echo returns
    /// it all the same.
    fn payload(&self, number: u64) -> Vec<u8> {
        let samples = self.signal.block(number);
        let mut octets = Vec::with_capacity(BLOCK);
        if let Some(law) = Law::of(self.format) {
            law.encode_block(&samples, &mut octets);
            return octets;
        }
        octets.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
        octets.truncate(octets_of_a_block(self.format));
        // A GSM frame begins with this signature (GSM 06.10 §5.1).
        if self.format == Formats::GSM
            && let Some(first) = octets.first_mut()
        {
            *first = 0xd0 | (*first & 0x0f);
        }
        octets
    }
}

impl Recording {
    fn add(&mut self, audio: &Audio, law: Law) {
        let begin = *self.begin.get_or_insert(audio.timestamp);
        let millis = audio.timestamp.wrapping_sub(begin);
        let at = usize::try_from(millis).unwrap_or(usize::MAX) * (SAMPLE_RATE as usize / 1000);
        let end = at.saturating_add(audio.payload.len());
        // What came before the first packet, or lies beyond all reason, is not kept.
        if end > LONGEST_RECORDING {
            return;
        }
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        let place = self.samples.iter_mut().skip(at);
        for (sample, octet) in place.zip(&audio.payload) {
            *sample = law.decode(*octet);
        }
    }
}

/// Octets of 20 ms in a format that is carried and not decoded; for formats of variable length, a length that
/// they can have.
fn octets_of_a_block(format: Formats) -> usize {
    match format {
        Formats::G723 => 24,
        Formats::GSM => 33,
        Formats::G729 => 20,
        Formats::ILBC | Formats::SPEEX => 38,
        Formats::OPUS => 60,
        Formats::G722 => 160,
        other => match other.name() {
            Some("slin") => 320,
            // G.726 and ADPCM: four bits a sample.
            _ => 80,
        },
    }
}
