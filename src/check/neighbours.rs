//! Which of two hosts that send from one port keeps it?

use crate::{probe::evidence::Evidence, types::MappedAddr};

/// What the NAT does with a second host that sends from the port of a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// The port of both.
    pub port: u16,
    /// Where the first one is seen.
    pub first: MappedAddr,
    /// Where the second one is seen.
    pub second: MappedAddr,
    /// The first stays there; `None`: not known.
    pub first_stays: Option<bool>,
}

impl Neighbours {
    /// Whether the first has its own port outside, and whether the second has.
    #[must_use]
    pub fn keep(&self) -> (bool, bool) {
        let keeps = |mapped: MappedAddr| mapped.get().port() == self.port;
        (keeps(self.first), keeps(self.second))
    }
}

/// `None` where the two were not both seen, have not the same port, or are not translated.
#[must_use]
pub fn neighbours(evidence: &Evidence) -> Option<Neighbours> {
    let seen = evidence.neighbours.as_ref()?;
    let ((first_local, first), (second_local, second)) = (seen.first, seen.second);
    let (first_local, second_local) = (first_local?.get(), second_local?.get());
    let (first, second) = (first?, second?);
    let is_alike =
        first_local.port() == second_local.port() && first_local.ip() != second_local.ip();
    let is_translated = first.get().ip() != first_local.ip();
    (is_alike && is_translated).then_some(Neighbours {
        port: first_local.port(),
        first,
        second,
        first_stays: seen.stays,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{healthy, local, mapped},
        probe::neighbours::NeighboursEvidence,
    };

    #[test]
    fn only_two_hosts_with_one_port_tell() {
        const ONE: &str = "192.168.1.10:40300";
        const OTHER: &str = "192.168.1.11:40300";
        const KEPT: &str = "198.51.100.7:40300";
        let rows = [
            (ONE, KEPT, OTHER, "198.51.100.7:6903", Some((true, false))),
            (ONE, "198.51.100.7:1", OTHER, KEPT, Some((false, true))),
            (ONE, KEPT, OTHER, "198.51.100.8:40300", Some((true, true))),
            (ONE, KEPT, ONE, KEPT, None),
            (ONE, KEPT, "192.168.1.11:40301", KEPT, None),
            (ONE, ONE, OTHER, OTHER, None),
        ];
        for (first, first_seen, second, second_seen, expected) in rows {
            let evidence = Evidence {
                neighbours: Some(NeighboursEvidence {
                    first: (Some(local(first)), Some(mapped(first_seen))),
                    second: (Some(local(second)), Some(mapped(second_seen))),
                    ..NeighboursEvidence::default()
                }),
                ..healthy()
            };
            let found = neighbours(&evidence);
            let kept = found.map(|found| found.keep());
            assert_eq!(kept, expected, "{first_seen} {second_seen}");
        }
    }
}
