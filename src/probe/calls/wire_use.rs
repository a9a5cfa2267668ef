//! What calls take on the wire, measured, and how many of them a line carries, computed.

use std::time::Duration;

use crate::wire::iax2::frame::{MINI_HEADER, TRUNK_HEADER};

/// Datagrams of calls that were talking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireUse {
    /// Datagrams sent.
    pub packets: u64,
    /// Their UDP payload in octets.
    pub octets: u64,
    /// The time that the calls talked, added up over all calls.
    pub talked: Duration,
    /// The most calls that talked at once.
    pub at_once: u32,
}

impl WireUse {
    /// Bits a second and call, one way, as IP packets: with `headers` octets of IP and UDP around each
    /// payload (28 for IPv4, 48 for IPv6). `None` where nobody talked.
    #[must_use]
    pub fn bits_per_second(&self, headers: u32) -> Option<f64> {
        let octets = self.octets + self.packets * u64::from(headers);
        #[allow(clippy::cast_precision_loss)] // a count of bits needs no 53 bits of precision
        let bits = (octets * 8) as f64;
        (!self.talked.is_zero()).then(|| bits / self.talked.as_secs_f64())
    }
}

/// How calls share datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Each call has datagrams of its own.
    Plain,
    /// Trunk frames of at most `mtu` octets carry as many calls as fit.
    Trunk {
        /// Octets of UDP payload, at most.
        mtu: usize,
        /// Octets before the audio of each call: 4, or 6 with a timestamp.
        entry: usize,
    },
}

/// IP bits a second, one way, of so many calls that send `audio` octets 50 times a second.
#[must_use]
pub fn bits_of(calls: u64, audio: usize, packing: Packing, headers: u32) -> u64 {
    const PER_SECOND: u64 = 50;
    let headers = u64::from(headers);
    let wide = |octets: usize| u64::try_from(octets).unwrap_or(u64::MAX);
    let octets = match packing {
        Packing::Plain => calls * (headers + wide(MINI_HEADER + audio)),
        Packing::Trunk { mtu, entry } => {
            let room = mtu.saturating_sub(TRUNK_HEADER) / (entry + audio).max(1);
            let frames = calls.div_ceil(wide(room.max(1)));
            frames * (headers + wide(TRUNK_HEADER)) + calls * wide(entry + audio)
        }
    };
    octets * 8 * PER_SECOND
}

/// How many such calls a line of `line` bits a second carries, one way, if nothing else uses it.
#[must_use]
pub fn calls_on(line: u64, audio: usize, packing: Packing, headers: u32) -> u64 {
    let one = bits_of(1, audio, packing, headers).max(1);
    // A call takes no more in company than alone, and no less than its entry.
    let mut low = line / one;
    let mut high = low.saturating_mul(4).saturating_add(4);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if bits_of(middle, audio, packing, headers) <= line {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUNK: Packing = Packing::Trunk {
        mtu: 1240,
        entry: 6,
    };

    #[test]
    fn a_line_of_one_megabit() {
        // One call of µ-law: 160 + 4 + 28 octets, 50 times a second.
        assert_eq!(bits_of(1, 160, Packing::Plain, 28), 76_800);
        assert_eq!(calls_on(1_000_000, 160, Packing::Plain, 28), 13);
        // Seven calls a trunk frame.
        assert_eq!(bits_of(7, 160, TRUNK, 28), 8 * 50 * (36 + 7 * 166));
        let trunked = calls_on(1_000_000, 160, TRUNK, 28);
        assert_eq!(trunked, 14);
        assert!(bits_of(trunked, 160, TRUNK, 28) <= 1_000_000);
        assert!(bits_of(trunked + 1, 160, TRUNK, 28) > 1_000_000);
        // Small packets gain more.
        assert_eq!(calls_on(1_000_000, 20, Packing::Plain, 28), 48);
        assert!(calls_on(1_000_000, 20, TRUNK, 28) > 90);
        assert_eq!(calls_on(0, 160, TRUNK, 28), 0);
    }

    #[test]
    fn measured_bits_are_those_of_ip_packets() {
        let used = WireUse {
            packets: 500,
            octets: 500 * 164,
            talked: Duration::from_secs(10),
            at_once: 1,
        };
        assert_eq!(used.bits_per_second(28), Some(76_800.0));
        assert_eq!(WireUse::default().bits_per_second(28), None);
    }
}
