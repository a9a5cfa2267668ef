//! The words of RFC 4787 for what a NAT does, shared by the experiments that find it out and the
//! simulator that does it.

use std::fmt;

/// How the external address of a flow depends on its destination (RFC 4787 §4.1), or how an inbound
/// packet is let in depending on where it comes from (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// The same for every destination; anybody may answer.
    EndpointIndependent,
    /// One for each destination address; only hosts that were sent to may answer.
    AddressDependent,
    /// One for each destination address and port; only endpoints that were sent to may answer.
    AddressAndPortDependent,
}

impl Dependence {
    /// The words of the report: `endpoint-independent`, `address-dependent`,
    /// `address-and-port-dependent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

impl fmt::Display for Dependence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The traffic whose idle mapping is timed: NATs keep different timers for different kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One packet out, none in.
    OneWay,
    /// Packets both ways, over within two seconds: a registration.
    Exchange,
    /// Packets both ways, the last more than two seconds after the first: a call, or a flow that
    /// qualify keeps open.
    Stream,
}

impl Shape {
    /// All shapes, in the order of the report.
    pub const ALL: [Self; 3] = [Self::OneWay, Self::Exchange, Self::Stream];

    /// The key of the report: `one_way`, `exchange`, `stream`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneWay => "one_way",
            Self::Exchange => "exchange",
            Self::Stream => "stream",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
