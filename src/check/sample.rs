//! Evidence for the tests of the questions: a healthy line, and ways to break it.

use std::time::Duration;

use crate::{
    check::{Context, Question},
    probe::{
        behaviour::Shape,
        evidence::{
            Evidence, LifetimeEvidence, LifetimeMethod, MappingEvidence, MappingObservation,
            MappingSource, ReachEvidence, Refusals, RegistrationEvidence, RegistrationState,
            Renewals, ShapeLifetime,
        },
    },
    types::{LocalAddr, MappedAddr, PeerAddr},
};

pub(crate) const PROVIDER: &str = "203.0.113.1:4569";

pub(crate) fn peer(address: &str) -> PeerAddr {
    PeerAddr::new(address.parse().unwrap())
}

pub(crate) fn mapped(address: &str) -> MappedAddr {
    MappedAddr::new(address.parse().unwrap())
}

pub(crate) fn local(address: &str) -> LocalAddr {
    LocalAddr::new(address.parse().unwrap())
}

pub(crate) fn context() -> Context {
    Context {
        question: Question::Reachability,
        provider: peer(PROVIDER),
        credentials: true,
        refresh: None,
        device: None,
    }
}

pub(crate) fn seen(peer_address: &str, mapped_address: &str, at: u64) -> MappingObservation {
    MappingObservation {
        local: local("192.168.1.10:40123"),
        peer: peer(peer_address),
        mapped: mapped(mapped_address),
        at: Duration::from_secs(at),
        via: MappingSource::Stun,
    }
}

pub(crate) fn mapping(observations: &[MappingObservation]) -> Evidence {
    Evidence {
        mapping: Some(MappingEvidence {
            observations: observations.to_vec(),
            ..MappingEvidence::default()
        }),
        ..Evidence::default()
    }
}

pub(crate) fn registered(refresh: u64) -> RegistrationEvidence {
    RegistrationEvidence {
        user: "alice".into(),
        state: RegistrationState::Registered,
        auth: Some("md5"),
        offered_methods: Some(2),
        refresh: Some(Duration::from_secs(refresh)),
        assumed_refresh: None,
        apparent: vec![(Duration::from_millis(31), mapped("198.51.100.7:4569"))],
        local: Some(local("192.168.1.10:40123")),
        call_token: Some(true),
        cause: None,
        cause_code: None,
        elapsed: Duration::from_millis(31),
        unreachable: None,
        invals: 0,
        answered_from: None,
        renewals: Renewals::default(),
    }
}

pub(crate) fn exchange(lifetime: ShapeLifetime, longest: u64) -> LifetimeEvidence {
    LifetimeEvidence {
        method: LifetimeMethod::Reflector,
        shapes: vec![(Shape::Exchange, lifetime)],
        inbound_refreshes: None,
        elapsed: Duration::from_secs(longest),
        mappings: 60,
        controls: (20, 20),
        refused: Refusals::default(),
        longest: Duration::from_secs(longest),
        inapplicable: None,
    }
}

pub(crate) fn edge(alive: u64, dead: u64) -> ShapeLifetime {
    ShapeLifetime {
        alive: Some(Duration::from_secs(alive)),
        dead: Some(Duration::from_secs(dead)),
        ..ShapeLifetime::default()
    }
}

pub(crate) fn outlived(alive: u64) -> ShapeLifetime {
    ShapeLifetime {
        alive: Some(Duration::from_secs(alive)),
        outlived: true,
        ..ShapeLifetime::default()
    }
}

pub(crate) fn reach(sent: u32, received: u32) -> ReachEvidence {
    ReachEvidence {
        sent,
        received,
        rtts: (0..received)
            .map(|_| Duration::from_micros(10_100))
            .collect(),
        ..ReachEvidence::default()
    }
}

/// Registered for 60 s behind a Linux NAT with `nf_conntrack_udp_timeout=65`.
pub(crate) fn healthy() -> Evidence {
    with_exchange(64, 65)
}

/// Registered for 60 s behind a NAT that forgets an exchange after `dead` seconds.
pub(crate) fn with_exchange(alive: u64, dead: u64) -> Evidence {
    Evidence {
        reach: Some(reach(10, 10)),
        registration: Some(registered(60)),
        lifetime: Some(exchange(edge(alive, dead), 300)),
        ..mapping(&[
            seen(PROVIDER, "198.51.100.7:40123", 0),
            seen("203.0.113.2:3478", "198.51.100.7:40123", 0),
        ])
    }
}
