//! Which idle times are tried.

use std::time::Duration;

/// Up to here a pass in full resolution goes by steps of one second.
const FINE_UP_TO: u64 = 130;
/// Beyond, each step is 2 % of the time reached.
const STEP: f64 = 1.02;

/// Idle times in full resolution up to `longest`: every second to 130 s, 2 % apart beyond, the last one
/// `longest` itself. `None` where these are more than `most`.
pub(super) fn fine(longest: Duration, most: usize) -> Option<Vec<Duration>> {
    let seconds = longest.as_secs().min(FINE_UP_TO);
    let mut grid: Vec<Duration> = (1..=seconds).map(Duration::from_secs).collect();
    let reached = Duration::from_secs(seconds);
    if longest > reached {
        let room = most.checked_sub(grid.len()).filter(|room| *room > 0)?;
        let wanted = steps(reached, longest, STEP);
        // A budget a few short widens the steps a little rather than asking for another pass.
        let count = if room >= wanted {
            wanted
        } else if room * 10 >= wanted * 9 {
            room
        } else {
            return None;
        };
        grid.extend(geometric(reached, longest, count));
    }
    (grid.len() <= most).then_some(grid)
}

/// Idle times for a first look with `count` mappings: from 1 s to `longest`, in equal ratios.
pub(super) fn coarse(longest: Duration, count: usize) -> Vec<Duration> {
    let first = Duration::from_secs(1);
    let mut grid = vec![first];
    grid.extend(geometric(first, longest, count.saturating_sub(1).max(1)));
    grid.dedup();
    grid
}

/// Idle times for a closer look between `alive` and `dead`, and two steps beyond `dead` so that an edge
/// right below it can be certain; at most about `count`, in whole seconds, one or more apart. `dead`
/// itself is tried again: one lost answer may have made it. The step comes first.
pub(super) fn between(alive: Duration, dead: Duration, count: usize) -> (Duration, Vec<Duration>) {
    let count = u32::try_from(count.max(5)).unwrap_or(u32::MAX);
    let exact = (dead.saturating_sub(alive) / (count - 3)).max(resolution(alive));
    let step = Duration::from_secs(exact.as_millis().div_ceil(1000).try_into().unwrap_or(1));
    let first = Duration::from_secs(alive.as_secs());
    let grid = (1..=count)
        .map(|place| first + step * place)
        .take_while(|idle| *idle <= dead + step * 3)
        .filter(|idle| *idle > alive)
        .collect();
    (step, grid)
}

/// How far apart `alive` and the first dead time may lie for the edge to be known well enough.
pub(super) fn resolution(alive: Duration) -> Duration {
    let relative = if alive.as_secs() >= FINE_UP_TO {
        alive.mul_f64(STEP - 1.0)
    } else {
        Duration::ZERO
    };
    // Whole seconds, as the steps between two times are.
    Duration::from_secs(relative.as_secs().max(1))
}

/// How many steps of `ratio` lead from `from` to `to`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
fn steps(from: Duration, to: Duration, ratio: f64) -> usize {
    let ratio_in_all = to.as_secs_f64() / from.as_secs_f64();
    (ratio_in_all.ln() / ratio.ln()).ceil().max(1.0) as usize
}

/// `count` times after `from`, in equal ratios, the last one `to`; in whole milliseconds.
fn geometric(from: Duration, to: Duration, count: usize) -> impl Iterator<Item = Duration> {
    let ratio_in_all = to.as_secs_f64() / from.as_secs_f64();
    let count_f = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (1..=u32::try_from(count).unwrap_or(u32::MAX)).map(move |index| {
        if index as usize == count {
            return to;
        }
        let exact = from.mul_f64(ratio_in_all.powf(f64::from(index) / count_f));
        Duration::from_millis(u64::try_from(exact.as_millis()).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_default_budget_covers_five_minutes_in_one_pass() {
        let grid = fine(s(300), 170).unwrap();
        assert!(grid.len() <= 170);
        assert_eq!(grid[..130], (1..=130).map(s).collect::<Vec<_>>());
        assert_eq!(grid.last(), Some(&s(300)));
        let widest = grid[129..]
            .windows(2)
            .map(|pair| pair[1].as_secs_f64() / pair[0].as_secs_f64())
            .fold(0.0, f64::max);
        assert!(widest < 1.025, "{widest}");
        assert_eq!(
            fine(s(14), 100).unwrap(),
            (1..=14).map(s).collect::<Vec<_>>()
        );
        assert_eq!(fine(s(300), 100), None);
    }

    #[test]
    fn a_small_budget_looks_twice() {
        let first = coarse(s(300), 10);
        assert_eq!(first.len(), 10);
        assert_eq!((first[0], first[9]), (s(1), s(300)));
        let (step, second) = between(s(22), s(42), 40);
        assert_eq!(step, s(1));
        assert_eq!(second, (23..=45).map(s).collect::<Vec<_>>());
        let (step, second) = between(s(84), s(158), 10);
        assert_eq!(step, s(11));
        assert!(
            second.len() <= 10 && second.last() > Some(&s(158)),
            "{second:?}"
        );
    }
}
