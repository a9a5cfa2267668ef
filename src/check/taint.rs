//! Is an entry of the router's table of connections tainted? A pure judgement of one entry and of what
//! the router is now.
//!
//! NAT rules are read for the first packet of a flow only. An entry that was made in a bad moment
//! keeps its wrong source for as long as a packet comes before its timer ends, and a PBX that
//! retries from its one port sees to that.

mod finding;
mod liveness;
mod nat_rule;
mod timer;

use std::{fmt, net::IpAddr};

use crate::os::{
    conntrack::Entry,
    route::{Address, Link, Passing, Route, Way},
};

pub use finding::{Inspected, findings, table_finding};
pub use liveness::{Liveness, liveness};
pub use nat_rule::{NatRule, nat_rules};
pub use timer::timer_finding;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A right one, or one that is no matter of this router.
    Healthy,
    /// MASQUERADE took an address of an interface that is no way out.
    WrongSourceMasquerade,
    /// No rule was met: the private source goes out as it is.
    NullBinding,
    /// It was translated to an address that the router has no more.
    StaleSource,
    /// It was translated to the address of another way out than the one that packets take now.
    WrongUplink,
}

impl Kind {
    /// The name in the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::WrongSourceMasquerade => "wrong-source-masquerade",
            Self::NullBinding => "null-binding",
            Self::StaleSource => "stale-source",
            Self::WrongUplink => "wrong-uplink",
        }
    }

    /// Whether it keeps answers from coming back.
    #[must_use]
    pub const fn is_taint(self) -> bool {
        !matches!(self, Self::Healthy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the router is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its routes to other hosts.
    pub routes: Vec<Route>,
    /// Its NAT rules for sources; `None`: not known.
    pub rules: Option<Vec<NatRule>>,
}

/// An entry from the router's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The host behind the router, or the router itself.
    pub inside: IpAddr,
    /// The host outside.
    pub outside: IpAddr,
    /// What the outside knows the inside by.
    pub known_as: IpAddr,
    /// The first packet came from outside.
    pub inbound: bool,
}

/// The judgement of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub kind: Kind,
    /// The facts this rests on.
    pub because: Vec<String>,
}

/// Who is inside and who is outside.
#[must_use]
pub fn ends(entry: &Entry, router: &Router) -> Ends {
    let own = |ip| router.owners(ip).next().is_some();
    let (from, to) = (entry.original.source.ip(), entry.original.destination.ip());
    let target = entry.reply.source.ip();
    let to_router = own(to) || own(target);
    let forwarded_in = target != to && is_private(target) && !is_private(from);
    if !own(from) && (to_router || forwarded_in) {
        return Ends {
            inside: target,
            outside: from,
            known_as: to,
            inbound: true,
        };
    }
    Ends {
        inside: from,
        outside: target,
        known_as: entry.reply.destination.ip(),
        inbound: false,
    }
}

/// The way that packets of an entry take out now, by what the router `answers` to the question for the way to an
/// address; `None` where there is none.
///
/// # Errors
///
/// Those of the router.
pub fn way_out<E>(
    entry: &Entry,
    router: &Router,
    mut answers: impl FnMut(IpAddr, Passing) -> Result<Option<Way>, E>,
) -> Result<Option<Way>, E> {
    let ends = ends(entry, router);
    let own = router.owners(ends.inside).next().is_some();
    let from = if own {
        None
    } else {
        let inside = answers(ends.inside, Passing::default())?;
        inside.map(|way| (ends.inside, way.link))
    };
    let (inner, outer) = if ends.inbound {
        (entry.reply.source, entry.original.source)
    } else {
        (entry.original.source, entry.reply.source)
    };
    let passing = Passing {
        from,
        mark: entry.mark,
        ports: Some((inner.port(), outer.port())),
    };
    answers(ends.outside, passing)
}

/// Judges an entry. `way` is the one that the kernel takes now from the inside to the outside; `None`
/// where there is none. `kept_alive` is whether packets came while it was looked at.
#[must_use]
pub fn judge(entry: &Entry, router: &Router, way: Option<Way>, kept_alive: Option<bool>) -> Judged {
    let case = Case {
        entry,
        router,
        ends: ends(entry, router),
        way,
        kept_alive,
    };
    if case.ends.inbound {
        case.inbound()
    } else if case.ends.known_as == case.ends.inside {
        case.untranslated()
    } else {
        case.translated()
    }
}

/// Addresses that no router outside sends anything to: RFC 1918 and 4193, the shared ones of
/// RFC 6598, and those of a link (RFC 3927, 4291).
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

impl Router {
    /// The numbers of the interfaces that have an address.
    pub fn owners(&self, ip: IpAddr) -> impl Iterator<Item = u32> {
        self.addresses
            .iter()
            .filter(move |address| address.ip == ip)
            .map(|address| address.link)
    }

    /// The name of an interface.
    #[must_use]
    pub fn name(&self, index: u32) -> String {
        self.links
            .iter()
            .find(|link| link.index == index)
            .map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The rules, as far as they are known.
    fn rules(&self) -> impl Iterator<Item = &NatRule> {
        self.rules.iter().flatten()
    }

    /// Whether an interface leads out: a rule names it, or a default route leads through it.
    #[must_use]
    pub fn leads_out(&self, index: u32) -> bool {
        let name = self.name(index);
        self.rules().any(|rule| rule.names(&name))
            || self
                .routes
                .iter()
                .any(|route| route.is_default() && route.links.contains(&index))
    }

    /// Whether a route shares its load between both interfaces.
    fn shares(&self, one: u32, other: u32) -> bool {
        self.routes
            .iter()
            .any(|route| route.links.contains(&one) && route.links.contains(&other))
    }

    /// The address of an interface that the outside could answer to.
    fn public_address(&self, index: u32, like: IpAddr) -> Option<IpAddr> {
        self.addresses
            .iter()
            .filter(|address| address.link == index && address.ip.is_ipv4() == like.is_ipv4())
            .map(|address| address.ip)
            .find(|ip| !is_private(*ip))
    }

    fn has_address(&self, index: u32, like: IpAddr) -> bool {
        self.addresses.iter().any(|address| {
            let of_a_link = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            address.link == index && address.ip.is_ipv4() == like.is_ipv4() && !of_a_link
        })
    }
}

/// One entry and what is known beside it.
struct Case<'a> {
    entry: &'a Entry,
    router: &'a Router,
    ends: Ends,
    way: Option<Way>,
    kept_alive: Option<bool>,
}

impl Case<'_> {
    fn verdict(&self, kind: Kind, facts: Vec<String>) -> Judged {
        let mut because = facts;
        if kind.is_taint() && !self.entry.seen_reply {
            because.push("no answer has ever come".into());
        }
        Judged { kind, because }
    }

    /// How packets to the outside leave now.
    fn leaves(&self) -> String {
        match self.way {
            Some(way) => format!(
                "packets to {} leave by {}",
                self.ends.outside,
                self.router.name(way.link)
            ),
            None => format!("there is no route to {} now", self.ends.outside),
        }
    }

    /// The outside began; what counts is that its address of us is still ours.
    fn inbound(&self) -> Judged {
        let Ends {
            known_as, inside, ..
        } = self.ends;
        let ours = self.router.owners(known_as).next().is_some()
            || self.router.rules().any(|rule| rule.gives(known_as));
        if ours || known_as == inside {
            return self.verdict(
                Kind::Healthy,
                vec![format!("it came in to {known_as}, which is in force")],
            );
        }
        self.verdict(
            Kind::StaleSource,
            vec![
                format!("it came in to {known_as}, which no interface of this router has now"),
                self.leaves(),
            ],
        )
    }

    /// The source goes out as it is.
    fn untranslated(&self) -> Judged {
        let Ends {
            inside, outside, ..
        } = self.ends;
        let healthy = |why: String| self.verdict(Kind::Healthy, vec![why]);
        if self.router.owners(inside).next().is_some() {
            return healthy(format!("{inside} is the router itself"));
        }
        if !is_private(inside) {
            return healthy(format!("{inside} is a public address, which needs no NAT"));
        }
        if is_private(outside) {
            return healthy(format!("{inside} and {outside} are both private"));
        }
        let private = format!("answers are expected at {inside}, a private address");
        let way_out = self.way.map(|way| self.router.name(way.link));
        let covered = way_out
            .as_ref()
            .map(|name| self.router.rules().any(|rule| rule.covers(name, inside)));
        match (&self.router.rules, covered) {
            (Some(rules), _) if !rules.iter().any(|rule| rule.is_for(inside)) => healthy(format!(
                "no rule of this router translates {inside}: another router does"
            )),
            (Some(_), Some(false)) if self.entry.seen_reply => healthy(format!(
                "no rule translates what leaves by {}, and answers have come",
                way_out.unwrap_or_default()
            )),
            (Some(_), Some(covers)) => {
                let name = way_out.unwrap_or_default();
                let rule = if covers {
                    format!(
                        "a rule translates what leaves by {name}, but was not met by the first packet"
                    )
                } else {
                    format!("no rule translates what leaves by {name}")
                };
                self.verdict(Kind::NullBinding, vec![private, self.leaves(), rule])
            }
            (Some(_), None) => self.verdict(Kind::NullBinding, vec![private, self.leaves()]),
            (None, _) => {
                let public = self
                    .way
                    .and_then(|way| self.router.public_address(way.link, inside));
                match public {
                    Some(public) => self.verdict(
                        Kind::NullBinding,
                        vec![
                            private,
                            self.leaves(),
                            format!("its own address there is {public}, a public one"),
                        ],
                    ),
                    None => healthy(
                        "the NAT rules are not known, and another router may translate".into(),
                    ),
                }
            }
        }
    }

    /// The source goes out as another address.
    fn translated(&self) -> Judged {
        let address = self.ends.known_as;
        let owners: Vec<u32> = self.router.owners(address).collect();
        let name_of_way = self.way.map(|way| self.router.name(way.link));
        let here = |rule: &&NatRule| {
            let name = name_of_way.as_ref();
            name.is_none_or(|name| rule.covers(name, self.ends.inside))
        };
        let rule_gives = self
            .router
            .rules()
            .filter(here)
            .any(|rule| rule.gives(address));
        let Some(owner) = owners.first().copied() else {
            let obscure = self.router.rules().filter(here).any(NatRule::is_obscure);
            return self.of_nobody(address, rule_gives, obscure);
        };
        let owner_name = self.router.name(owner);
        let healthy = |why: String| self.verdict(Kind::Healthy, vec![why]);
        let facts = vec![
            format!("it goes out as {address}, the address of {owner_name}"),
            self.leaves(),
        ];
        if rule_gives {
            return healthy(format!("it goes out as {address}, which a rule names"));
        }
        if let Some(way) = self.way {
            if owners.contains(&way.link) {
                return healthy(format!(
                    "it goes out as {address}, the address of {owner_name}, by which packets leave"
                ));
            }
            if owners
                .iter()
                .any(|owner| self.router.shares(*owner, way.link))
            {
                return healthy(format!("{owner_name} shares the load of the route"));
            }
            if !is_private(address) && !self.router.has_address(way.link, address) {
                return healthy(format!(
                    "{} has no address of its own and borrows {address}",
                    self.router.name(way.link)
                ));
            }
        }
        if !self.router.leads_out(owner) {
            let mut facts = facts;
            facts.push(format!("{owner_name} is no way out"));
            return self.verdict(Kind::WrongSourceMasquerade, facts);
        }
        if self.way.is_none() {
            return healthy(format!(
                "it goes out as {address}, the address of {owner_name}; {}",
                self.leaves()
            ));
        }
        let masqueraded = self
            .router
            .rules()
            .any(|rule| rule.is_masquerade() && rule.names(&owner_name));
        if masqueraded && self.kept_alive != Some(true) {
            return healthy(format!(
                "it goes out as {address} of {owner_name}; the kernel itself drops what was \
                 masqueraded there at the next packet"
            ));
        }
        self.verdict(Kind::WrongUplink, facts)
    }

    /// The translated address is on no interface.
    fn of_nobody(&self, address: IpAddr, rule_gives: bool, obscure: bool) -> Judged {
        if obscure {
            return self.verdict(
                Kind::Healthy,
                vec![format!(
                    "it goes out as {address}, and a rule translates by a map, whose addresses are not known"
                )],
            );
        }
        if rule_gives && self.entry.seen_reply {
            return self.verdict(
                Kind::Healthy,
                vec![format!(
                    "it goes out as {address}, which a rule names, and answers have come"
                )],
            );
        }
        let mut facts = vec![
            format!("it goes out as {address}, which no interface of this router has now"),
            self.leaves(),
        ];
        if rule_gives {
            facts.push(format!("a rule still translates to {address}"));
        }
        self.verdict(Kind::StaleSource, facts)
    }
}

#[cfg(test)]
mod tests;
