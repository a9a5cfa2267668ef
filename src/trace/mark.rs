//! Where in a capture something stands: the evidence of every finding.

use std::{fmt, net::SocketAddr, num::NonZeroU32, time::Duration};

/// One packet of a capture: its number, as every tool counts from 1, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    number: NonZeroU32,
    /// The high and the low half of the microseconds since 1970, below them the file: kept apart, so that a mark has
    /// 12 octets. A capture may hold a million of them.
    high: u32,
    low: u32,
}

/// Bits of the file: 4096 of them can be told apart, and the time has the bits that are left, until 2112.
const FILE_BITS: u32 = 12;
const LAST_FILE: u16 = (1 << FILE_BITS) - 1;

impl Mark {
    /// The packet with this number of this file (from 0), captured `time` after 1970-01-01T00:00:00Z; of the time,
    /// microseconds are kept. Files from the 4096th on share its place.
    #[must_use]
    pub fn new(file: u16, number: u64, time: Duration) -> Self {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let most = u64::MAX >> FILE_BITS;
        let micros = u64::try_from(time.as_micros()).unwrap_or(most).min(most);
        let both = micros << FILE_BITS | u64::from(file.min(LAST_FILE));
        Self {
            number: NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN),
            high: half(both >> u32::BITS),
            low: half(both),
        }
    }

    /// The number of the packet.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number.get()
    }

    /// Which file it is in, from 0.
    #[must_use]
    pub const fn file(&self) -> u16 {
        let [.., high, low] = self.low.to_be_bytes();
        u16::from_be_bytes([high, low]) & LAST_FILE
    }

    #[inline]
    const fn micros(&self) -> u64 {
        ((self.high as u64) << u32::BITS | self.low as u64) >> FILE_BITS
    }

    /// When it was captured, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_micros(self.micros())
    }

    /// How long after `earlier` it was captured; zero where the clock went back between the two.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// The same in microseconds, for what is asked of every packet.
    #[inline]
    pub(super) const fn micros_since(&self, earlier: &Self) -> u64 {
        self.micros().saturating_sub(earlier.micros())
    }
}

/// The low half.
#[inline]
#[allow(clippy::cast_possible_truncation)] // that is what is wanted
const fn half(both: u64) -> u32 {
    both as u32
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.micros() / 1000 % 86_400_000;
        let (seconds, millis) = (of_day / 1000, of_day % 1000);
        write!(
            f,
            "frame {} at {:02}:{:02}:{:02}.{millis:03}",
            self.number,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        match self.file() {
            0 => Ok(()),
            file => write!(f, " of file {}", file + 1),
        }
    }
}

/// A datagram as a capture shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where it stands.
    pub mark: Mark,
    /// Who sent it, or the NAT in front of them.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// What was captured of its data.
    pub payload: &'a [u8],
    /// Octets of its data that were not captured.
    pub missing: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_small_and_reads_well() {
        assert_eq!(size_of::<Option<Mark>>(), 12);
        let mark = Mark::new(0, 12, Duration::from_millis(1_795_392_554_250));
        assert_eq!(mark.to_string(), "frame 12 at 00:09:14.250");
        let other = Mark::new(1, 3, Duration::from_secs(1));
        assert_eq!(other.to_string(), "frame 3 at 00:00:01.000 of file 2");
        assert_eq!(other.since(&mark), Duration::ZERO);
        let last = Mark::new(u16::MAX, u64::MAX, Duration::MAX);
        assert_eq!((last.number(), last.file()), (u32::MAX, LAST_FILE));
        assert_eq!(Mark::new(7, 1, mark.time()).time(), mark.time());
    }
}
