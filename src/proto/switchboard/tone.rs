//! The milliwatt: 1004 Hz at 0 dBm0 (ITU-T O.6, G.711), in packets of 20 ms.

use std::f64::consts::TAU;

use crate::wire::iax2::format::Formats;

/// Octets of a packet.
const OCTETS: usize = 160;
/// 251 periods of 1004 Hz are 2000 samples of 8000 a second; 25 packets are twice that, and begin anew
/// without a seam.
const PACKETS: usize = 25;
/// The peak of 0 dBm0, of 32 768: G.711 overloads 3.17 dB above it.
const PEAK: f64 = 22_657.0;

/// One loop of the tone in both laws.
#[derive(Debug)]
pub(super) struct Milliwatt {
    ulaw: Vec<[u8; OCTETS]>,
    alaw: Vec<[u8; OCTETS]>,
}

impl Milliwatt {
    pub(super) fn new() -> Self {
        let samples = |law: fn(i32) -> u8| {
            (0..PACKETS)
                .map(|packet| std::array::from_fn(|at| law(sample(packet * OCTETS + at))))
                .collect()
        };
        Self {
            ulaw: samples(ulaw),
            alaw: samples(alaw),
        }
    }

    /// The packet number `tick` of the tone; `None` in formats that it does not come in.
    pub(super) fn packet(&self, format: Formats, tick: u64) -> Option<&[u8]> {
        let packets = match format {
            Formats::ULAW => &self.ulaw,
            Formats::ALAW => &self.alaw,
            _ => return None,
        };
        let at = usize::try_from(tick % PACKETS as u64).ok()?;
        packets.get(at).map(<[u8; OCTETS]>::as_slice)
    }
}

fn sample(at: usize) -> i32 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // 4000 samples, 16 bits
    let sample = (PEAK * (TAU * 1004.0 / 8000.0 * at as f64).sin()).round() as i32;
    sample
}

fn ulaw(sample: i32) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + 0x84;
    !(sign | segment(magnitude))
}

fn alaw(sample: i32) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = if sample < 0 { !sample } else { sample }.unsigned_abs();
    // The two lowest segments have one step.
    let value = match magnitude {
        0..256 => u8::try_from(magnitude >> 4).unwrap_or(0),
        _ => segment(magnitude),
    };
    (sign | value) ^ 0x55
}

/// Segment and step of a magnitude of 15 bits, 128 or more.
fn segment(magnitude: u32) -> u8 {
    let exponent = magnitude.max(128).ilog2().min(14) - 7;
    let step = magnitude >> (exponent + 3) & 0x0f;
    u8::try_from(exponent << 4 | step).unwrap_or(0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_laws_are_those_of_g_711() {
        for (sample, in_ulaw, in_alaw) in [
            (0, 0xff, 0xd5),
            (-1, 0x7f, 0x55),
            (32_767, 0x80, 0xaa),
            (-32_768, 0x00, 0x2a),
            (1000, 0xce, 0xfa),
            (-1000, 0x4e, 0x7a),
            (255, 0xe7, 0xda),
            (256, 0xe7, 0xc5),
        ] {
            assert_eq!((ulaw(sample), alaw(sample)), (in_ulaw, in_alaw), "{sample}");
        }
    }

    #[test]
    fn the_loop_has_no_seam() {
        assert_eq!(sample(PACKETS * OCTETS), sample(0));
        let tone = Milliwatt::new();
        assert_eq!(
            tone.packet(Formats::ULAW, 25),
            tone.packet(Formats::ULAW, 0)
        );
        assert_ne!(tone.packet(Formats::ULAW, 1), tone.packet(Formats::ULAW, 0));
        assert_eq!(tone.packet(Formats::GSM, 0), None);
    }
}
