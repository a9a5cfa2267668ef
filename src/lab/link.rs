//! The faults of a link in process: loss, delay, jitter, duplication, each way by itself. Chance
//! comes from a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What can go wrong in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// The probability that a packet is lost, 0 to 1.
    pub loss: f64,
    /// How long every packet takes.
    pub delay: Duration,
    /// The most that is added to the delay of a packet, by chance; where it exceeds the gap between
    /// two packets they may change places.
    pub jitter: Duration,
    /// The probability that a packet arrives twice, 0 to 1.
    pub duplicate: f64,
}

impl Faults {
    /// Nothing gets through.
    pub const BLOCKED: Self = Self {
        loss: 1.0,
        ..Self::NONE
    };

    /// Every packet takes 5 ms, once and in order.
    pub const NONE: Self = Self {
        loss: 0.0,
        delay: Duration::from_millis(5),
        jitter: Duration::ZERO,
        duplicate: 0.0,
    };
}

impl Default for Faults {
    fn default() -> Self {
        Self::NONE
    }
}

/// Which way a packet goes, seen from the client's site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the site to the internet.
    Outbound,
    /// From the internet to the site.
    Inbound,
}

/// Both directions of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConfig {
    /// From the site to the internet.
    pub outbound: Faults,
    /// From the internet to the site.
    pub inbound: Faults,
    /// Where its random choices start.
    pub seed: u64,
}

impl LinkConfig {
    /// The same faults both ways.
    #[must_use]
    pub const fn both(faults: Faults, seed: u64) -> Self {
        Self {
            outbound: faults,
            inbound: faults,
            seed,
        }
    }
}

/// A link that decides the fate of each packet.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: StdRng,
}

impl Link {
    /// A link whose choices start at its seed.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(config.seed),
        }
    }

    /// How long each copy of one packet takes: none where it is lost, two where it is duplicated.
    pub fn pass(&mut self, direction: Direction) -> impl Iterator<Item = Duration> + use<> {
        let faults = match direction {
            Direction::Outbound => self.config.outbound,
            Direction::Inbound => self.config.inbound,
        };
        let first = !self.chance(faults.loss);
        let second = first && self.chance(faults.duplicate);
        let copies =
            [first, second].map(|copy| copy.then(|| faults.delay + self.upto(faults.jitter)));
        copies.into_iter().flatten()
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random::<f64>() < probability
    }

    fn upto(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        self.rng.random_range(Duration::ZERO..=most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(faults: Faults, seed: u64) -> Vec<Vec<Duration>> {
        let mut link = Link::new(LinkConfig::both(faults, seed));
        (0..10_000)
            .map(|_| link.pass(Direction::Outbound).collect())
            .collect()
    }

    #[test]
    fn a_sound_link_delivers_each_packet_once_after_the_delay() {
        let all = delays(Faults::NONE, 1);
        assert!(all.iter().all(|copies| copies == &[Faults::NONE.delay]));
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_told() {
        let faults = Faults {
            loss: 0.1,
            duplicate: 0.05,
            ..Faults::NONE
        };
        let all = delays(faults, 2);
        let lost = all.iter().filter(|copies| copies.is_empty()).count();
        let twice = all.iter().filter(|copies| copies.len() == 2).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!((350..550).contains(&twice), "{twice}");
        assert_eq!(all, delays(faults, 2), "a seed gives the same fate");
        assert_ne!(all, delays(faults, 3));
    }

    #[test]
    fn jitter_spreads_the_delay_up_to_its_bound() {
        let faults = Faults {
            jitter: Duration::from_millis(30),
            ..Faults::NONE
        };
        let all: Vec<Duration> = delays(faults, 4).into_iter().flatten().collect();
        let (low, high) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!(*low >= Duration::from_millis(5) && *low < Duration::from_millis(6));
        assert!(*high > Duration::from_millis(34) && *high <= Duration::from_millis(35));
        assert!(
            all.windows(2)
                .any(|pair| pair[0] > pair[1] + Duration::from_millis(20))
        );
    }

    #[test]
    fn one_direction_can_be_blocked_alone() {
        let mut link = Link::new(LinkConfig {
            inbound: Faults::BLOCKED,
            ..LinkConfig::default()
        });
        assert_eq!(link.pass(Direction::Inbound).count(), 0);
        assert_eq!(link.pass(Direction::Outbound).count(), 1);
    }
}
