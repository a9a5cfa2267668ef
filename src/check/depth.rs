//! Which ports and addresses does the NAT give to many sockets?

use std::collections::BTreeSet;

use crate::probe::evidence::Evidence;

/// What many mappings show; `None`: not known, or nothing is translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// How ports are chosen.
    pub allocation: Option<Allocation>,
    /// Even ports stay even and odd ones odd (RFC 4787 REQ-4).
    pub parity_preserved: Option<bool>,
    /// All mappings of this host have one public address (RFC 4787 REQ-2).
    pub one_address: Option<bool>,
    /// A mapping stays where it is while others are opened (RFC 4787 REQ-11).
    pub stays: Option<bool>,
    /// Sockets whose mapping never opened although others did: a quota, or a table that is full.
    pub unopened: u32,
}

/// How ports are chosen (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allocation {
    /// Every socket keeps its own, unless another one has it.
    Preserved,
    /// Each gets one a little above the last one's.
    Sequential,
    /// Anything else.
    Random,
}

impl Allocation {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preserved => "preserved",
            Self::Sequential => "sequential",
            Self::Random => "random",
        }
    }
}

/// Mappings that a rule is read from, at least: chance makes so many agree once in thousands of times.
const ENOUGH: usize = 12;
/// Sockets that kept their port, at least, for that to be a rule.
const KEPT: usize = 2;
/// How far above its own a socket's port lies at most where its own was taken and the next free one is given.
const NEAR: u16 = 1024;
/// How far apart two ports in sequence lie at most: others behind the NAT take some in between.
const STEP: u16 = 16;

/// What many mappings show; `None` where too few were seen.
#[must_use]
pub fn depth(evidence: &Evidence) -> Option<Depth> {
    let seen = evidence.depth.as_ref()?;
    if seen.sockets.len() < ENOUGH {
        return None;
    }
    let ports = || {
        let sockets = seen.sockets.iter();
        sockets.map(|(local, mapped)| (local.get().port(), mapped.get().port()))
    };
    let addresses: BTreeSet<_> = seen
        .sockets
        .iter()
        .map(|(_, mapped)| mapped.get().ip())
        .collect();
    // Chance lets one in thousands keep its port; who gets another one may have met a port that is taken.
    let kept = ports().filter(|(local, mapped)| local == mapped).count() >= KEPT
        || ports().all(|(local, mapped)| mapped.wrapping_sub(local) <= NEAR);
    Some(Depth {
        allocation: if kept {
            Some(Allocation::Preserved)
        } else if !is_sequential(ports().map(|(_, mapped)| mapped)) {
            Some(Allocation::Random)
        } else if is_sequential(ports().map(|(local, _)| local)) {
            // The host's own ports run in sequence, so a NAT that keeps them but for a few that were taken
            // looks the same.
            None
        } else {
            Some(Allocation::Sequential)
        },
        parity_preserved: Some(ports().all(|(local, mapped)| local % 2 == mapped % 2)),
        one_address: Some(addresses.len() == 1),
        stays: seen.stays,
        unopened: seen.unopened,
    })
}

/// Whether nearly every port lies a little above the one before; packets may overtake each other.
fn is_sequential(ports: impl Iterator<Item = u16>) -> bool {
    let ports: Vec<u16> = ports.collect();
    let up = ports
        .windows(2)
        .filter(|pair| matches!(pair, [one, next] if (1..=STEP).contains(&next.wrapping_sub(*one))))
        .count();
    up + 3 >= ports.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{healthy, local, mapped},
        probe::evidence::DepthEvidence,
    };

    fn seen(place: impl Fn(u32) -> String) -> Option<Depth> {
        let sockets = (0..16_u32).map(|count| {
            // Local ports as a host gives them: anything.
            let port = 40_000 + (count * 7919) % 20_000;
            let socket = local(&format!("192.168.1.10:{port}"));
            (socket, mapped(&place(count)))
        });
        let depth = DepthEvidence {
            sockets: sockets.collect(),
            stays: Some(true),
            ..DepthEvidence::default()
        };
        super::depth(&Evidence {
            depth: Some(depth),
            ..healthy()
        })
    }

    #[test]
    fn each_way_to_choose_ports_has_its_row() {
        let kept = |count: u32| format!("198.51.100.7:{}", 40_000 + (count * 7919) % 20_000);
        let two = |count: u32| {
            format!(
                "198.51.100.{}:{}",
                7 + count % 2,
                40_000 + (count * 7919) % 20_000
            )
        };
        // All but three met ports that were taken.
        let mostly_taken = |count: u32| {
            let own = 40_000 + (count * 7919) % 20_000;
            format!("198.51.100.7:{}", own - u32::from(count > 2) * 10_001)
        };
        let counted = |count: u32| format!("198.51.100.7:{}", 2001 + count);
        let drawn = |count: u32| format!("198.51.100.7:{}", 1025 + (count * 31_337) % 60_000);
        let rows = [
            (seen(kept), Allocation::Preserved, Some(true), Some(true)),
            (
                seen(mostly_taken),
                Allocation::Preserved,
                Some(false),
                Some(true),
            ),
            (seen(two), Allocation::Preserved, Some(true), Some(false)),
            (
                seen(counted),
                Allocation::Sequential,
                Some(false),
                Some(true),
            ),
            (seen(drawn), Allocation::Random, Some(false), Some(true)),
        ];
        for (found, allocation, parity, one_address) in rows {
            let found = found.unwrap();
            assert_eq!(found.allocation, Some(allocation));
            assert_eq!(found.parity_preserved, parity, "{allocation:?}");
            assert_eq!(found.one_address, one_address, "{allocation:?}");
        }
        assert_eq!(super::depth(&healthy()), None);
    }
}
