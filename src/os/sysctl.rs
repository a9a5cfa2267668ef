//! What the connection tracking of this network namespace is set to, and how full its table is.

use std::{fs, path::Path, time::Duration};

/// Where the settings are (nf_conntrack-sysctl of the kernel's documentation). The kernel shows
/// those of the network namespace of the thread that reads.
const FOLDER: &str = "/proc/sys/net/netfilter";

/// How long entries of UDP are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// After a packet of a flow that is no stream yet (`nf_conntrack_udp_timeout`).
    pub udp: Duration,
    /// After a packet of a stream (`nf_conntrack_udp_timeout_stream`).
    pub stream: Duration,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// Entries of all protocols (`nf_conntrack_count`).
    pub entries: u64,
    /// The most there can be (`nf_conntrack_max`); 0 is no limit.
    pub most: u64,
}

/// The timers in force here; `None` where the kernel has no connection tracking loaded, or does not
/// let this user see them.
#[must_use]
pub fn timers() -> Option<Timers> {
    Some(Timers {
        udp: Duration::from_secs(read("nf_conntrack_udp_timeout")?),
        stream: Duration::from_secs(read("nf_conntrack_udp_timeout_stream")?),
    })
}

/// How full the table is; `None` as with [`timers`].
#[must_use]
pub fn table_use() -> Option<TableUse> {
    Some(TableUse {
        entries: read("nf_conntrack_count")?,
        most: read("nf_conntrack_max")?,
    })
}

/// Whether packets and octets of each flow are counted (`nf_conntrack_acct`).
#[must_use]
pub fn counts_packets() -> Option<bool> {
    Some(read("nf_conntrack_acct")? != 0)
}

/// Whether this host passes packets on, as a router does.
#[must_use]
pub fn forwards() -> bool {
    [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ]
    .into_iter()
    .any(|file| number(Path::new(file)).is_some_and(|value| value != 0))
}

fn read(name: &str) -> Option<u64> {
    number(&Path::new(FOLDER).join(name))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
