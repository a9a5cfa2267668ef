//! Who keeps an entry alive, and when it would die by itself.

use std::time::Duration;

use crate::os::{conntrack::Entry, sysctl::Timers};

/// What the time that an entry has left tells. Packets are not counted by default, so this is all
/// there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Packets came while it was looked at (true), or it ended meanwhile without one (false);
    /// `None`: none was seen.
    pub kept_alive: Option<bool>,
    /// How long ago the last packet was, to a second; `None` where its timer is not known.
    pub last_packet: Option<Duration>,
    /// How long it lives yet without a packet, in whole seconds.
    pub expires: Option<Duration>,
    /// How long each packet keeps it alive.
    pub timer: Option<Duration>,
}

/// Compares an entry with itself a while later; `later` is `None` where it has gone. `timers` are all
/// that may hold for it: the general ones, and those of policies.
#[must_use]
pub fn liveness(
    entry: &Entry,
    later: Option<&Entry>,
    while_: Duration,
    timers: &[Timers],
) -> Liveness {
    let kept_alive = match (entry.expires, later.map(|later| later.expires)) {
        // Whole seconds are rounded down, so without a packet it would have lost all of them.
        (Some(before), Some(Some(now))) => {
            let lost = Duration::from_secs(while_.as_secs());
            (now > before.saturating_sub(lost) && !now.is_zero()).then_some(true)
        }
        (Some(before), None) => (before <= while_).then_some(false),
        _ => None,
    };
    let latest = later.unwrap_or(entry);
    let timer = only_timer(latest, timers);
    Liveness {
        kept_alive,
        last_packet: timer
            .zip(latest.expires)
            .and_then(|(timer, left)| timer.checked_sub(left)),
        expires: latest.expires,
        timer,
    }
}

/// The timer of an entry; `None` where two would fit, or none does.
fn only_timer(entry: &Entry, timers: &[Timers]) -> Option<Duration> {
    let left = entry.expires?;
    let mut fitting: Vec<Duration> = timers
        .iter()
        .flat_map(|timers| {
            // Kernels before 5.15 mark an entry as assured that is no stream yet, and any may keep
            // one that is not assured with the timer of streams.
            let stream = (entry.assured || left > timers.udp).then_some(timers.stream);
            [Some(timers.udp), stream]
        })
        .flatten()
        .filter(|timer| left <= *timer)
        .collect();
    fitting.sort_unstable();
    fitting.dedup();
    match fitting.as_slice() {
        [timer] => Some(*timer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::taint::tests::sample;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMERS: Timers = Timers {
        udp: Duration::from_secs(30),
        stream: Duration::from_secs(120),
    };

    fn left(seconds: u64, assured: bool) -> Entry {
        Entry {
            expires: Some(Duration::from_secs(seconds)),
            assured,
            ..sample("192.168.1.10", "203.0.113.1", "192.168.1.10")
        }
    }

    #[test]
    fn a_rise_is_a_packet_and_a_fall_is_none() {
        let rows = [
            (29, Some(29), Some(true)),
            (28, Some(29), Some(true)),
            (29, Some(28), None),
            (29, Some(27), None),
            (1, None, Some(false)),
            (9, None, None), // somebody deleted it
            (1, Some(0), None),
        ];
        for (before, after, kept) in rows {
            let later = after.map(|after| left(after, false));
            let seen = liveness(&left(before, false), later.as_ref(), SECOND, &[TIMERS]);
            assert_eq!(seen.kept_alive, kept, "{before} {after:?}");
        }
    }

    #[test]
    fn the_last_packet_is_told_by_the_timer_of_the_class() {
        let rows = [
            (29, false, Some(1)),
            (119, true, Some(1)),
            (110, false, Some(10)),
            (25, true, None),  // 5 s of one timer, or 95 s of the other
            (300, true, None), // a rule gives it a timer of its own
        ];
        for (seconds, assured, ago) in rows {
            let entry = left(seconds, assured);
            let seen = liveness(&entry, Some(&entry), SECOND, &[TIMERS]);
            assert_eq!(
                seen.last_packet.map(|ago| ago.as_secs()),
                ago,
                "{seconds} {assured}"
            );
        }
        let policy = Timers {
            udp: Duration::from_secs(40),
            stream: Duration::from_secs(400),
        };
        for (seconds, ago) in [(29, None), (35, None), (300, Some(100))] {
            let entry = left(seconds, true);
            let seen = liveness(&entry, Some(&entry), SECOND, &[TIMERS, policy]);
            let seen = seen.last_packet.map(|ago| ago.as_secs());
            assert_eq!(seen, ago, "{seconds} under a policy");
        }
        let entry = left(29, false);
        assert_eq!(
            liveness(&entry, Some(&entry), SECOND, &[]).last_packet,
            None
        );
    }
}
