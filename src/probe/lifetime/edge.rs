//! From samples to an edge: the longest idle time that was survived, the shortest that was not.

use std::time::Duration;

/// What one idle time showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// Not due yet.
    Open,
    /// The delayed answer came.
    Alive,
    /// None of its copies came, while control probes were answered.
    Missed,
    /// It could not be asked for, or control probes failed too.
    Unknown,
}

/// The edge that samples show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) alive: Option<Duration>,
    pub(super) dead: Option<Duration>,
    /// Nothing that is still open can move it.
    pub(super) settled: bool,
}

/// So many samples in a row that could not be measured do not part the misses around them: at 10 % loss
/// they are everyday.
const GAP: usize = 2;

/// Finds the edge of `samples`, which are in ascending order. A mapping is proven gone at the first of
/// `misses` samples in a row that missed, above everything that was alive: one lost packet proves
/// nothing. Each sample has a socket and a mapping of its own, so that those that follow a miss are what
/// confirms it; one that could not be measured confirms nothing, and behind more than [`GAP`] of them the
/// row begins anew. At the end of the samples fewer do, if they are all there are.
pub(super) fn find(samples: &[(Duration, Sample)], misses: usize) -> Edge {
    let last_alive = samples
        .iter()
        .rposition(|(_, sample)| *sample == Sample::Alive);
    let above = &samples[last_alive.map_or(0, |at| at + 1)..];
    let alive = last_alive
        .and_then(|at| samples.get(at))
        .map(|(idle, _)| *idle);
    let mut run = 0;
    let mut gap = 0;
    let mut first = None;
    let mut open = false;
    for (idle, sample) in above {
        match sample {
            Sample::Missed => {
                run += 1;
                gap = 0;
                first.get_or_insert(*idle);
                if run >= misses {
                    return Edge {
                        alive,
                        dead: first,
                        settled: !open,
                    };
                }
            }
            Sample::Unknown if gap < GAP => gap += 1,
            Sample::Open | Sample::Unknown | Sample::Alive => {
                open |= *sample == Sample::Open;
                run = 0;
                first = None;
            }
        }
    }
    let is_open = samples.iter().any(|(_, sample)| *sample == Sample::Open);
    // One single miss at the very end is still one lost packet; two agree.
    let enough = misses.min(2);
    Edge {
        alive,
        dead: first.filter(|_| run >= enough),
        settled: !is_open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a second from 1 s on: `a`live, `m`issed, `u`nknown, `.` open.
    fn edge(letters: &str, misses: usize) -> (Option<u64>, Option<u64>, bool) {
        let samples: Vec<_> = (1..)
            .map(Duration::from_secs)
            .zip(letters.chars().map(|letter| match letter {
                'a' => Sample::Alive,
                'm' => Sample::Missed,
                'u' => Sample::Unknown,
                _ => Sample::Open,
            }))
            .collect();
        let edge = find(&samples, misses);
        (
            edge.alive.map(|d| d.as_secs()),
            edge.dead.map(|d| d.as_secs()),
            edge.settled,
        )
    }

    #[test]
    fn three_misses_make_an_edge() {
        for (letters, expected) in [
            ("aaammm...", (Some(3), Some(4), true)),
            ("aaamm....", (Some(3), None, false)),
            // A lost answer below the edge is not the edge.
            ("aamaammm.", (Some(5), Some(6), true)),
            ("aammmaa..", (Some(7), None, false)),
            // What was not measured makes the edge wider, never earlier.
            ("aaaumumm.", (Some(3), Some(5), true)),
            ("aaamuuummm", (Some(3), Some(8), true)),
            ("aaamuuumm.", (Some(3), None, false)),
            ("aaauumm", (Some(3), Some(6), true)),
            ("aaa.mmm..", (Some(3), Some(5), false)),
            ("aaaaaaa", (Some(7), None, true)),
            ("aaaaamm", (Some(5), Some(6), true)),
            ("aaaaaam", (Some(6), None, true)),
            ("mmm....", (None, Some(1), true)),
            ("uuuuuuu", (None, None, true)),
            ("", (None, None, true)),
        ] {
            assert_eq!(edge(letters, 3), expected, "{letters}");
        }
    }

    #[test]
    fn a_first_look_needs_one() {
        assert_eq!(edge("aaam...", 1), (Some(3), Some(4), true));
    }
}
