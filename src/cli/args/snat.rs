//! The options of `snat`.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use iax2_natcheck::{
    check::snat::{Elsewhere, GuardKind},
    wire::firewall::{self, Prefix},
};

use super::value;

/// Which router, and what to do.
#[derive(Debug, Args)]
pub(crate) struct SnatArgs {
    /// The interface that leads to the provider; the one of the default route unless given
    #[arg(long, value_name = "IF")]
    pub(crate) wan: Option<String>,
    /// Its address, where it is always the same
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) r#static: Option<Ipv4Addr>,
    /// The network behind the router; may be given again
    #[arg(long, value_name = "PREFIX", value_parser = value::prefix)]
    pub(crate) lan: Vec<Prefix>,
    /// Read the rules of this program alone, and write for it where no rule says whose it is
    #[arg(long, value_enum)]
    pub(crate) backend: Option<Backend>,
    /// The rules of a router elsewhere: what iptables-save, `nft list ruleset` or `nft -j list
    /// ruleset` wrote there; `-` is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Write for a router whose rules a configuration of its own writes
    #[arg(long, value_enum, value_name = "ROUTER")]
    pub(crate) r#for: Option<For>,
    /// The provider's address, to find the interface that leads there
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) peer: Option<Ipv4Addr>,
    /// The provider's port
    #[arg(long, value_name = "PORT", default_value_t = iax2_natcheck::wire::iax2::PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// The refresh of the registrations, to set the kernel's timers by
    #[arg(long, value_name = "DURATION", value_parser = value::refresh)]
    pub(crate) refresh: Option<Duration>,
    /// How to keep private sources in; nft unless the router has none
    #[arg(long, value_enum)]
    pub(crate) guard: Option<Guard>,
    /// Print the way back
    #[arg(long)]
    pub(crate) undo: bool,
    /// Make the changes, and take them back unless they are confirmed in time
    #[arg(long, conflicts_with_all = ["rules", "for", "undo"])]
    pub(crate) apply: bool,
    /// How long --apply waits for the confirmation
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "30s",
          requires = "apply")]
    pub(crate) confirm_within: Duration,
    /// Keep what an --apply on this host has changed
    #[arg(long, conflicts_with_all = ["apply", "undo", "rules", "for"])]
    pub(crate) confirm: bool,
}

/// The programs that keep rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// `iptables`
    Iptables,
    /// `iptables-legacy`, beside another iptables
    IptablesLegacy,
    /// `nft`
    Nft,
}

impl From<Backend> for firewall::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Iptables => Self::Iptables,
            Backend::IptablesLegacy => Self::IptablesLegacy,
            Backend::Nft => Self::Nft,
        }
    }
}

/// Routers with a configuration of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum For {
    /// uci and fw4
    Openwrt,
    /// firewalld's direct interface
    Firewalld,
    /// ufw's before.rules
    Ufw,
    /// `RouterOS` 7
    Mikrotik,
    /// `EdgeOS`
    Edgeos,
}

impl From<For> for Elsewhere {
    fn from(kind: For) -> Self {
        match kind {
            For::Openwrt => Self::Openwrt,
            For::Firewalld => Self::Firewalld,
            For::Ufw => Self::Ufw,
            For::Mikrotik => Self::Mikrotik,
            For::Edgeos => Self::Edgeos,
        }
    }
}

/// How private sources are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guard {
    /// Behind the translation
    Nft,
    /// Before it, with iptables: weaker
    Forward,
}

impl From<Guard> for GuardKind {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Nft => Self::Nft,
            Guard::Forward => Self::Forward,
        }
    }
}
