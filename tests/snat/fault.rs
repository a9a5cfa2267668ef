//! The faults of a line, the seven of a reconnect and the one in which only the address changes.

use crate::{
    home::{Home, NEXT, PUBLIC, SECOND},
    rules::Backend,
};

/// What goes wrong with the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The line is down and there is no other way.
    Down,
    /// The line is down, packets leave by a fallback route that no rule covers.
    Fallback,
    /// The same, with the flow beginning in the outage.
    FallbackNew,
    /// The line is up and routed before it has an address.
    NoAddress,
    /// The line comes back with another address.
    Changed,
    /// The first packet comes before the NAT rules are loaded.
    Boot,
    /// The line is down, a second way out has a rule of its own.
    Failover,
    /// The address changes while the link stays up.
    PppChanged,
}

impl Fault {
    /// Whether a rule for the second way out is needed.
    pub fn has_second(self) -> bool {
        self == Self::Failover
    }

    /// The address that a right entry has at the end.
    pub fn address_after(self) -> &'static str {
        match self {
            Self::Changed | Self::PppChanged => NEXT,
            _ => PUBLIC,
        }
    }

    /// The address that is seen while the fault lasts, where there is one.
    pub fn address_during(self) -> Option<&'static str> {
        (self == Self::Failover).then_some(SECOND)
    }
}

/// The fault under way.
pub struct Under<'a> {
    home: &'a Home,
    fault: Fault,
    backend: Backend,
    saved: String,
}

impl<'a> Under<'a> {
    /// Begins the fault. The client's packets are to come now.
    pub fn begin(home: &'a Home, fault: Fault, backend: Backend) -> Self {
        let mut saved = String::new();
        match fault {
            Fault::Down | Fault::Changed => home.line_down(),
            Fault::Fallback | Fault::Failover => {
                home.add_fallback();
                home.line_down();
            }
            Fault::FallbackNew => {
                home.add_fallback();
                home.line_down();
                home.forget();
            }
            Fault::NoAddress => {
                home.line_down();
                home.router
                    .ip(&["link set ppp0 up", "route replace default dev ppp0"])
                    .unwrap();
            }
            Fault::Boot => {
                saved = backend.save(home);
                backend.unload(home);
                home.forget();
            }
            Fault::PppChanged => {
                home.router
                    .ip(&[
                        &format!("address del {PUBLIC} peer 198.51.100.1/32 dev ppp0"),
                        &format!("address add {NEXT} peer 198.51.100.1/32 dev ppp0"),
                        "route replace default dev ppp0",
                    ])
                    .unwrap();
            }
        }
        Self {
            home,
            fault,
            backend,
            saved,
        }
    }

    /// Ends it: the line is as it was, or has its new address.
    pub fn end(self) {
        let home = self.home;
        match self.fault {
            Fault::Boot => self.backend.restore(home, &self.saved),
            Fault::PppChanged => {}
            Fault::Fallback | Fault::FallbackNew | Fault::Failover => {
                home.line_up(PUBLIC);
                home.remove_fallback();
            }
            other => home.line_up(other.address_after()),
        }
    }

    /// Gives the line its first address back, so that another fault can begin.
    pub fn reset(home: &Home, fault: Fault) {
        if fault.address_after() != PUBLIC {
            home.line_down();
            home.line_up(PUBLIC);
        }
        home.forget();
    }
}
