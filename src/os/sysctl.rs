//! What the connection tracking of this network namespace is set to, and how full its table is.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::os::program;

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

/// The timers that rules of nft give to certain flows in place of these (`ct timeout`), where this
/// user may see them. An entry does not tell which one holds for it. Those of the older `nfct` are
/// not told.
#[must_use]
pub fn policies() -> Vec<Timers> {
    program::output("nft", &["-j", "list", "ruleset"])
        .map(|text| read_policies(&text))
        .unwrap_or_default()
}

fn read_policies(text: &str) -> Vec<Timers> {
    let ruleset: Value = serde_json::from_str(text).unwrap_or_default();
    let objects = ruleset["nftables"].as_array();
    objects
        .into_iter()
        .flatten()
        .map(|object| &object["ct timeout"])
        .filter(|policy| policy["protocol"] == "udp")
        .filter_map(|policy| {
            let seconds = |key: &str| policy["policy"][key].as_u64().map(Duration::from_secs);
            Some(Timers {
                udp: seconds("unreplied")?,
                stream: seconds("replied")?,
            })
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_udp_are_read_from_the_rules() {
        let text = r#"{"nftables": [{"metainfo": {}},
            {"ct timeout": {"family": "ip", "name": "iax", "table": "t", "handle": 2,
             "protocol": "udp", "l3proto": "ip", "policy": {"unreplied": 7, "replied": 9}}},
            {"ct timeout": {"family": "ip", "name": "web", "table": "t", "handle": 3,
             "protocol": "tcp", "l3proto": "ip", "policy": {"established": 7}}}]}"#;
        let seconds = Duration::from_secs;
        let (udp, stream) = (seconds(7), seconds(9));
        assert_eq!(read_policies(text), [Timers { udp, stream }]);
        assert_eq!(read_policies("no JSON"), []);
    }
}
