//! Kinds of NAT, and what each does: a function of how it is configured.

use std::fmt;

use iax2_natcheck::{
    check::{depth::Allocation, nat_kind::Behaviour},
    lab::nat::{Mapping, NatConfig, Pooling, PortAllocation, Scope, Timers},
    probe::behaviour::Dependence,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::support::{CLIENT, EXTERNAL, ip, seconds};

const MAPPINGS: [Mapping; 4] = [
    Mapping::None,
    Mapping::Translate(Dependence::EndpointIndependent),
    Mapping::Translate(Dependence::AddressDependent),
    Mapping::Translate(Dependence::AddressAndPortDependent),
];
const FILTERINGS: [Dependence; 3] = [
    Dependence::EndpointIndependent,
    Dependence::AddressDependent,
    Dependence::AddressAndPortDependent,
];
/// For exchanges and for streams, in seconds. None lets the sweep end within seconds of a renewal of the
/// registration, so that the truth is the same at every loss.
const TIMERS: [(u64, u64); 6] = [(10, 10), (15, 28), (30, 80), (48, 80), (60, 60), (120, 300)];
const ALLOCATIONS: [PortAllocation; 3] = [
    PortAllocation::Preserving,
    PortAllocation::PreservingOrRandom,
    PortAllocation::Random,
];
const POOLS: [Pool; 3] = [Pool::One, Pool::Paired, Pool::Arbitrary];
const SCOPES: [Scope; 2] = [Scope::PerFlow, Scope::PerMapping];

/// The external addresses of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// One.
    One,
    /// Two, and each host gets one of them.
    Paired,
    /// Two, and each mapping gets any of them.
    Arbitrary,
}

/// A kind of NAT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) mapping: Mapping,
    pub(crate) filtering: Dependence,
    pub(crate) timers: (u64, u64),
    pub(crate) allocation: PortAllocation,
    pub(crate) port_scope: Scope,
    pub(crate) timer_scope: Scope,
    pub(crate) inbound_refreshes: bool,
    /// Its external addresses.
    pub(crate) pool: Pool,
    /// A Linux router stands before it that keeps everything for longer.
    pub(crate) behind_router: bool,
}

impl Kind {
    pub(crate) fn nat(self, number: u64) -> NatConfig {
        let (exchange, stream) = self.timers;
        // Without translation the client has a public address, which its site answers for.
        let address = match self.mapping {
            Mapping::None => CLIENT,
            Mapping::Translate(_) => EXTERNAL,
        };
        NatConfig {
            mapping: self.mapping,
            filtering: self.filtering,
            port_allocation: self.allocation,
            port_scope: self.port_scope,
            timers: Timers::linux(seconds(exchange), seconds(stream)),
            timer_scope: self.timer_scope,
            inbound_refreshes: self.inbound_refreshes,
            pool: if self.pool == Pool::One {
                vec![ip(address)]
            } else {
                vec![ip(address), ip("198.51.100.8")]
            },
            pooling: if self.pool == Pool::Arbitrary {
                Pooling::Arbitrary
            } else {
                Pooling::Paired
            },
            inside: Some(ip("100.64.0.1")),
            seed: number,
            ..NatConfig::linux(ip(address))
        }
    }

    /// All NATs on the way, the nearest first.
    pub(crate) fn nats(self, number: u64) -> Vec<NatConfig> {
        let router = NatConfig {
            timers: Timers::linux(seconds(400), seconds(400)),
            inside: Some(ip("192.168.1.1")),
            seed: number,
            ..NatConfig::linux(ip("100.64.0.2"))
        };
        let router = self.behind_router.then_some(router);
        router.into_iter().chain([self.nat(number)]).collect()
    }

    /// How ports are chosen.
    pub(crate) fn ports(self) -> Allocation {
        match (self.mapping, self.allocation) {
            (Mapping::Translate(_), PortAllocation::Random) => Allocation::Random,
            _ => Allocation::Preserved,
        }
    }

    /// Whether all mappings of a host have one address.
    pub(crate) fn pairs(self) -> bool {
        self.mapping == Mapping::None || self.pool != Pool::Arbitrary
    }

    /// Whether a registration that is idle for so long comes back with another address; `None`: chance decides.
    pub(crate) fn moves_after(self, cycle: u64) -> Option<bool> {
        let (exchange, _) = self.timers;
        if self.mapping == Mapping::None || exchange > cycle {
            return Some(false);
        }
        if self.allocation == PortAllocation::Random {
            return Some(true);
        }
        self.pairs().then_some(false)
    }

    /// Whether that there are two shows at once: the outer one filters, and the way in that is opened for a
    /// stranger is the one that the reflector sees.
    pub(crate) fn shows_two(self) -> bool {
        self.behind_router
            && self.filtering != Dependence::EndpointIndependent
            && self.behaviour() == Behaviour::Known(Dependence::EndpointIndependent)
    }

    /// How the external address depends on the destination, as far as anybody can see: a port that is
    /// kept, and shared by the flows of one socket, is the same everywhere.
    pub(crate) fn behaviour(self) -> Behaviour {
        let keeps_port = self.allocation != PortAllocation::Random;
        match self.mapping {
            Mapping::None => Behaviour::None,
            Mapping::Translate(_) if keeps_port && self.port_scope == Scope::PerFlow => {
                Behaviour::Known(Dependence::EndpointIndependent)
            }
            Mapping::Translate(dependence) => Behaviour::Known(dependence),
        }
    }

    /// Whom it lets in: nothing is filtered where nothing is translated and anybody comes in.
    pub(crate) fn filter(self) -> Behaviour {
        match (self.mapping, self.filtering) {
            _ if self.behind_router => Behaviour::Known(Dependence::AddressAndPortDependent),
            (Mapping::None, Dependence::EndpointIndependent) => Behaviour::None,
            (_, dependence) => Behaviour::Known(dependence),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |dependence| match dependence {
            Dependence::EndpointIndependent => "EI",
            Dependence::AddressDependent => "AD",
            Dependence::AddressAndPortDependent => "APD",
        };
        let mapping = match self.mapping {
            Mapping::None => "none",
            Mapping::Translate(dependence) => short(dependence),
        };
        let (exchange, stream) = self.timers;
        let scope = |scope| match scope {
            Scope::PerFlow => "flow",
            Scope::PerMapping => "mapping",
        };
        write!(
            f,
            "{mapping:>4}/{:<3} {exchange:>3}/{stream:<3} {:<29} port by {:<7} timer by {:<7} {}",
            short(self.filtering),
            format!("{:?}, {:?}", self.allocation, self.pool),
            scope(self.port_scope),
            scope(self.timer_scope),
            match (self.inbound_refreshes, self.behind_router) {
                (true, false) => "in",
                (false, false) => "--",
                (true, true) => "in, behind a router",
                (false, true) => "--, behind a router",
            },
        )
    }
}

/// Every mapping with every filtering and every pair of timers; what is left goes through its values at
/// different paces, so that each meets each.
pub(crate) fn selection() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for mapping in MAPPINGS {
        for filtering in FILTERINGS {
            for timers in TIMERS {
                let place = kinds.len();
                kinds.push(sane(Kind {
                    mapping,
                    filtering,
                    timers,
                    allocation: ALLOCATIONS[(place / 2 + place / 18) % 3],
                    port_scope: SCOPES[(place / 3) % 2],
                    timer_scope: SCOPES[(place / 5) % 2],
                    inbound_refreshes: place % 5 % 3 != 0,
                    pool: POOLS[usize::from(place % 7 == 3) + usize::from(place % 11 == 5)],
                    behind_router: mapping != Mapping::None && place % 4 == 1,
                }));
            }
        }
    }
    kinds
}

/// Half of the selection, in which every mapping still meets every pair of timers.
pub(crate) fn half(which: usize) -> Vec<Kind> {
    let kinds = selection().into_iter().enumerate();
    kinds
        .filter(|(place, _)| (place + place / TIMERS.len()) % 2 == which)
        .map(|(_, kind)| kind)
        .collect()
}

/// All combinations.
pub(crate) fn every() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for kind in selection() {
        for allocation in ALLOCATIONS {
            for port_scope in SCOPES {
                for timer_scope in SCOPES {
                    for inbound_refreshes in [false, true] {
                        kinds.push(sane(Kind {
                            allocation,
                            port_scope,
                            timer_scope,
                            inbound_refreshes,
                            ..kind
                        }));
                    }
                }
            }
        }
    }
    kinds
}

/// Any of them.
pub(crate) fn drawn(rng: &mut StdRng) -> Kind {
    let mapping = MAPPINGS[rng.random_range(0..4)];
    sane(Kind {
        mapping,
        filtering: FILTERINGS[rng.random_range(0..3)],
        timers: TIMERS[rng.random_range(0..6)],
        allocation: ALLOCATIONS[rng.random_range(0..3)],
        port_scope: SCOPES[rng.random_range(0..2)],
        timer_scope: SCOPES[rng.random_range(0..2)],
        inbound_refreshes: rng.random(),
        pool: POOLS[rng.random_range(0..3)],
        behind_router: mapping != Mapping::None && rng.random(),
    })
}

/// Where chance gives two flows of a socket one address or two, and ports do not tell, nobody can say on what the
/// mapping depends: there, the addresses are paired.
///
/// Two sockets that chance gives one port towards different hosts are one to a filter that lets strangers in: such a
/// NAT delivers to the wrong socket, and nobody sells it. There, a port belongs to one mapping.
fn sane(kind: Kind) -> Kind {
    let shares = kind.allocation == PortAllocation::Random
        && kind.filtering != Dependence::AddressAndPortDependent;
    let kind = if shares {
        Kind {
            port_scope: Scope::PerMapping,
            ..kind
        }
    } else {
        kind
    };
    let tells = kind.mapping == Mapping::Translate(Dependence::EndpointIndependent)
        || kind.allocation == PortAllocation::Random
        || kind.port_scope == Scope::PerMapping;
    if kind.pool == Pool::Arbitrary && !tells {
        return Kind {
            pool: Pool::Paired,
            ..kind
        };
    }
    kind
}
