//! Which rules keep a router from sending on with a wrong source, and how they get there from those
//! in force.
//!
//! Four things go wrong with an entry of the kernel's NAT table ([`taint::Kind`](crate::check::taint::Kind)), all because NAT
//! rules are read for the first packet of a flow only. Measured on Linux 6.18 against every fault:
//!
//! * SNAT in place of MASQUERADE keeps a static address, and ends the wrong source of a line that is
//!   up without an address;
//! * the leak guard, a rule behind the translation that drops what still has a private source, keeps
//!   an entry of a null binding or of a wrong source from being made at all, at boot too;
//! * what is left, a PPP address that changes while the link stays up and an entry that goes on with
//!   the address of another way out, needs the entry to be deleted when a link comes up.
//!
//! A plan is data: commands with their way back, files, and what was refused. Nothing here runs it.

mod change;
mod elsewhere;
mod files;
mod guard;
mod mark;
mod path;
mod source_nat;
mod timers;
mod way_back;

use std::{net::Ipv4Addr, time::Duration};

use crate::{
    probe::router::{Router, Setting},
    wire::firewall::{Backend, Prefix, Ruleset},
};

pub use change::{Change, File, Plan, Refusal, Still};
pub use elsewhere::{Elsewhere, elsewhere};
pub use guard::{Guarded, guarded};
pub(crate) use path::leaves_by;
pub use path::ways_out;
pub(crate) use source_nat::source_rules;
pub use source_nat::{translates, translating};
pub use way_back::way_back;

/// What the user wishes besides what the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The provider's port: 4569.
    pub port: u16,
    /// The refresh that registrations have, to set timers by.
    pub refresh: Option<Duration>,
    /// How to keep private sources in.
    pub guard: GuardKind,
    /// The program to use where no rule says it.
    pub backend: Backend,
}

/// How private sources are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// By a chain of nft behind the translation.
    Nft,
    /// By rules of iptables before it, where there is no nft: weaker.
    Forward,
}

/// Plans the changes, given the rules in force, or none where they are not known.
#[must_use]
pub fn plan(ruleset: Option<&Ruleset>, router: &Router, wish: &Wish) -> Plan {
    let mut plan = Plan::default();
    plan.notes.extend(facts(router));
    let empty = Ruleset::default();
    let rules = ruleset.unwrap_or(&empty);
    match guarded_networks(router) {
        Ok(lans) => guard::add(&mut plan, rules, router, &lans, wish),
        Err(refusal) => plan.refusals.push(refusal),
    }
    source_nat::add(&mut plan, ruleset, router, wish);
    timers::add(&mut plan, router, wish);
    files::add(&mut plan, router, wish);
    plan
}

/// What is known of the way out, in sentences.
fn facts(router: &Router) -> Vec<String> {
    let wan = &router.wan;
    let address = wan
        .address
        .map_or_else(String::new, |address| format!(" {address}"));
    let setting = match wan.setting {
        Setting::Static => "static",
        Setting::Dynamic => "may change",
        Setting::Unknown => "not known to be static",
    };
    let because = if wan.because.is_empty() {
        String::new()
    } else {
        format!(" ({})", wan.because.join("; "))
    };
    let mut facts = vec![format!(
        "way out: {}{address}, {setting}{because}",
        wan.interface
    )];
    if wan.present == Some(false) {
        facts.push(format!("there is no interface {} here now", wan.interface));
    }
    if !router.others.is_empty() {
        let names: Vec<&str> = router
            .others
            .iter()
            .map(|other| other.interface.as_str())
            .collect();
        facts.push(format!("other ways out: {}", names.join(", ")));
    }
    facts
}

/// The networks whose addresses must not leave, or why they cannot be told.
fn guarded_networks(router: &Router) -> Result<Vec<Prefix>, Refusal> {
    let refuse = |why: String| Refusal {
        what: "the leak guard".into(),
        why,
    };
    let outside = |address: Ipv4Addr| router.wan.address == Some(address);
    if let Some(lan) = router.lans.iter().find(|lan| !lan.is_private()) {
        return Err(refuse(format!(
            "the network {lan} is public, so that its addresses may leave as they are"
        )));
    }
    if let Some(address) = router.wan.address
        && let Some(lan) = router.lans.iter().find(|lan| lan.contains(address))
    {
        return Err(refuse(format!(
            "{address} of {} lies in the network {lan}, so that a source that was translated looks \
             like one that was not; give the network behind the router with --lan",
            router.wan.interface
        )));
    }
    if !router.lans.is_empty() {
        return Ok(router.lans.clone());
    }
    let private = router.wan.address.is_some_and(|address| {
        Prefix::PRIVATE
            .iter()
            .any(|prefix| prefix.contains(address) && outside(address))
    });
    if private {
        return Err(refuse(format!(
            "{} has a private address itself; give the network behind the router with --lan",
            router.wan.interface
        )));
    }
    Ok(Prefix::PRIVATE.to_vec())
}
