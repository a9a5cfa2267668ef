//! Where in a capture something stands: the evidence of every finding.

use std::{fmt, net::SocketAddr, num::NonZeroU32, time::Duration};

/// One packet of a capture: its number, as every tool counts from 1, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    number: NonZeroU32,
    file: u16,
    nanos: u64,
}

impl Mark {
    /// The packet with this number of this file (from 0), captured `time` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn new(file: u16, number: u64, time: Duration) -> Self {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            number: NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN),
            file,
            nanos: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
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
        self.file
    }

    /// When it was captured, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// How long after `earlier` it was captured; zero where the clock went back between the two.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.nanos / 1_000_000 % 86_400_000;
        let (seconds, millis) = (of_day / 1000, of_day % 1000);
        write!(
            f,
            "frame {} at {:02}:{:02}:{:02}.{millis:03}",
            self.number,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        match self.file {
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
        assert_eq!(size_of::<Option<Mark>>(), 16);
        let mark = Mark::new(0, 12, Duration::from_millis(1_795_392_554_250));
        assert_eq!(mark.to_string(), "frame 12 at 00:09:14.250");
        let other = Mark::new(1, 3, Duration::from_secs(1));
        assert_eq!(other.to_string(), "frame 3 at 00:00:01.000 of file 2");
        assert_eq!(other.since(&mark), Duration::ZERO);
    }
}
