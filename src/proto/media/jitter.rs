//! How deep a jitter buffer must be for the packets that came, and how an Asterisk is told so.

use std::time::Duration;

/// How late packets were, each against the earliest of the ten seconds around it.
///
/// An echo repeats what arrives when it arrives, so its packets vary by both ways of the path; those of
/// a tone vary by the way back alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variation {
    /// Packets it rests on.
    pub packets: u64,
    /// 3 of 100 packets were no later than this.
    pub p3: Duration,
    /// 97 of 100.
    pub p97: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// The latest.
    pub max: Duration,
}

/// What to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The depth at which 1 % of the packets would come too late.
    pub depth: Duration,
    /// The settings of the Asterisk that receives this audio.
    pub asterisk: AsteriskBuffer,
}

/// Settings of `iax.conf`, in milliseconds, beside `jitterbuffer=yes`. Each counts for the audio that
/// this Asterisk receives; what it sends is the other side's to smooth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsteriskBuffer {
    /// The deepest the buffer may get; audio beyond it is dropped.
    pub maxjitterbuffer: u32,
    /// Added to the variation that Asterisk itself measures.
    pub jittertargetextra: u32,
    /// Frames whose delay changes by more than this, and twice the variation, are dropped, until the
    /// fourth in a row sets the clock anew.
    pub resyncthreshold: u32,
}

/// Fewer packets than this say nothing about one in a hundred.
const ENOUGH: u64 = 300;
/// Asterisk's defaults: `jittertargetextra` and `resyncthreshold`.
const DEFAULT_EXTRA: u32 = 40;
const DEFAULT_RESYNC: u32 = 1000;
/// A maximum below this would cut into the spikes of any line.
const LEAST_MAXIMUM: u32 = 200;

impl AsteriskBuffer {
    /// Names and values as they stand in `iax.conf`.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("jitterbuffer", "yes".to_owned()),
            ("maxjitterbuffer", self.maxjitterbuffer.to_string()),
            ("jittertargetextra", self.jittertargetextra.to_string()),
            ("resyncthreshold", self.resyncthreshold.to_string()),
        ]
    }
}

/// The depth for 1 % late packets and the settings that give it; `None` where too few packets came to
/// tell (six seconds of audio).
///
/// Asterisk's buffer aims at the span between the 3rd and the 97th percentile of the last 500 packets,
/// plus `jittertargetextra`: the extra has to reach from the 97th to the 99th.
#[must_use]
pub fn advise(variation: &Variation) -> Option<Advice> {
    if variation.packets < ENOUGH {
        return None;
    }
    let extra = round_up(variation.p99.saturating_sub(variation.p97), 10).max(DEFAULT_EXTRA);
    let span = round_up(variation.p97.saturating_sub(variation.p3), 10);
    // Twice what is needed now leaves room for a worse hour, and still bounds the delay.
    let maximum = (span + extra).saturating_mul(2).next_multiple_of(100);
    Some(Advice {
        depth: variation.p99,
        asterisk: AsteriskBuffer {
            maxjitterbuffer: maximum.max(LEAST_MAXIMUM),
            jittertargetextra: extra,
            resyncthreshold: round_up(variation.max, 100).max(DEFAULT_RESYNC),
        },
    })
}

/// Milliseconds, up to the next multiple of `step`; a minute at most.
fn round_up(duration: Duration, step: u32) -> u32 {
    let millis = duration.as_micros().div_ceil(1000).min(60_000);
    u32::try_from(millis)
        .unwrap_or(60_000)
        .next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variation(millis: [u64; 4]) -> Variation {
        let [p3, p97, p99, max] = millis.map(Duration::from_millis);
        Variation {
            packets: 1000,
            p3,
            p97,
            p99,
            max,
        }
    }

    #[test]
    fn a_calm_line_keeps_the_defaults() {
        let advice = advise(&variation([0, 2, 3, 9])).unwrap();
        assert_eq!(advice.depth, Duration::from_millis(3));
        assert_eq!(
            advice
                .asterisk
                .settings()
                .map(|(name, value)| format!("{name}={value}")),
            [
                "jitterbuffer=yes",
                "maxjitterbuffer=200",
                "jittertargetextra=40",
                "resyncthreshold=1000"
            ]
        );
    }

    #[test]
    fn rare_spikes_raise_what_is_added() {
        // Two packets in a hundred come 180 ms late: Asterisk's own measure does not see them.
        let advice = advise(&variation([1, 10, 180, 300])).unwrap();
        assert_eq!(advice.depth, Duration::from_millis(180));
        assert_eq!(advice.asterisk.jittertargetextra, 170);
        assert_eq!(advice.asterisk.maxjitterbuffer, 400);
        // The 97th percentile and the extra reach the 99th, below the maximum.
        let reach = 10 + advice.asterisk.jittertargetextra;
        assert!(reach >= 180 && advice.asterisk.maxjitterbuffer > reach);
    }

    #[test]
    fn jumps_beyond_a_second_raise_the_threshold() {
        let advice = advise(&variation([0, 700, 900, 2310])).unwrap();
        assert_eq!(advice.asterisk.maxjitterbuffer, 1800);
        assert_eq!(advice.asterisk.resyncthreshold, 2400);
    }

    #[test]
    fn few_packets_are_no_ground_for_advice() {
        let few = Variation {
            packets: 299,
            ..variation([0, 2, 3, 9])
        };
        assert_eq!(advise(&few), None);
    }
}
