//! What is to be said about tainted entries and about a full table.

use std::{fmt::Write as _, net::IpAddr};

use super::{Ends, Judged, Kind, Liveness, Router, ends};
use crate::{
    check::{Finding, FindingId, Severity, seconds},
    os::{conntrack::Entry, leak::Leak, sysctl::TableUse},
};

/// An entry with all that was found out about it, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The entry.
    pub entry: Entry,
    /// What it is.
    pub judged: Judged,
    /// Who keeps it alive.
    pub liveness: Liveness,
    /// It was deleted.
    pub deleted: bool,
    /// The next packet made a right one (true) or a wrong one again (false); `None`: none came, or
    /// it was not waited for.
    pub verified: Option<bool>,
}

impl Inspected {
    /// Whether it is tainted and stays in the way: neither deleted nor gone by itself.
    #[must_use]
    pub fn is_in_the_way(&self) -> bool {
        let gone = self.deleted || self.liveness.kept_alive == Some(false);
        self.judged.kind.is_taint() && (!gone || self.verified == Some(false))
    }

    /// Adds what was seen on the wire of the flow: packets with its source as it stands.
    pub fn witness(&mut self, leaks: &[(Leak, u32)], router: &Router) {
        let (source, destination) = (self.entry.reply.destination, self.entry.reply.source);
        for (leak, packets) in leaks {
            if self.judged.kind.is_taint()
                && (leak.source, leak.destination) == (source, destination)
            {
                self.judged.because.push(format!(
                    "{packets} of its packets were seen leaving by {} from {source}",
                    router.name(leak.link)
                ));
            }
        }
    }

    /// The entry in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{}: {}", self.entry.original, self.judged.kind.as_str());
        for (index, fact) in self.judged.because.iter().enumerate() {
            // Writing to a string does not fail; so below.
            let _ = write!(line, "{} {fact}", if index == 0 { ":" } else { ";" });
        }
        let alive = self.alive();
        if !alive.is_empty() {
            let _ = write!(line, " ({alive})");
        }
        if self.deleted {
            line.push_str(match self.verified {
                Some(true) => "; deleted, and the next packet made a right one",
                Some(false) => "; deleted, and the next packet made a wrong one again",
                None => "; deleted",
            });
        }
        line
    }

    /// Who keeps it alive, and when it would die.
    fn alive(&self) -> String {
        let seen = self.liveness;
        let mut words = vec![];
        match seen.kept_alive {
            Some(true) => words.push("packets keep it alive".into()),
            Some(false) => words.push("it has ended by itself".into()),
            None => {}
        }
        if let Some(ago) = seen.last_packet {
            words.push(format!("last packet {} ago", seconds(ago)));
        }
        match (seen.kept_alive, seen.timer, seen.expires) {
            (Some(false), ..) => {}
            (Some(true), Some(timer), _) => {
                words.push(format!("would end after {} of silence", seconds(timer)));
            }
            (_, _, Some(left)) => words.push(format!(
                "ends in {} unless another packet comes",
                seconds(left)
            )),
            _ => {}
        }
        words.join(", ")
    }
}

/// One finding for each kind of taint there is.
#[must_use]
pub fn findings(inspected: &[Inspected], router: &Router) -> Vec<Finding> {
    [
        (Kind::NullBinding, FindingId::NullBinding),
        (
            Kind::WrongSourceMasquerade,
            FindingId::WrongSourceMasquerade,
        ),
        (Kind::StaleSource, FindingId::StaleSource),
        (Kind::WrongUplink, FindingId::WrongUplink),
    ]
    .into_iter()
    .filter_map(|(kind, id)| {
        let of_kind: Vec<&Inspected> = inspected
            .iter()
            .filter(|inspected| inspected.judged.kind == kind)
            .collect();
        (!of_kind.is_empty()).then(|| finding(kind, id, &of_kind, router))
    })
    .collect()
}

fn finding(kind: Kind, id: FindingId, found: &[&Inspected], router: &Router) -> Finding {
    let left = found.iter().filter(|one| one.is_in_the_way());
    let mut do_this = vec![];
    if left.clone().next().is_some() {
        do_this.push("delete exactly these entries: iax2-natcheck taint --fix".into());
    }
    do_this.extend(
        left.clone()
            .map(|one| format!("or by hand: {}", deletion(&one.entry))),
    );
    let lan = found
        .iter()
        .find_map(|one| lan(router, ends(&one.entry, router)));
    do_this.extend(prevention(kind, lan.as_deref()));
    Finding {
        id,
        severity: if left.count() == 0 {
            Severity::Warning
        } else {
            Severity::Critical
        },
        title: format!("{}: {}", flows(found.len()), title(kind)),
        because: found.iter().map(|one| one.line()).collect(),
        do_this,
    }
}

fn flows(count: usize) -> String {
    match count {
        1 => "A flow is tainted".into(),
        _ => format!("{count} flows are tainted"),
    }
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Healthy => "it is right",
        Kind::NullBinding => {
            "it leaves with its private source, because its first packet met no NAT rule"
        }
        Kind::WrongSourceMasquerade => {
            "it leaves with an inner address of the router, because MASQUERADE found no other"
        }
        Kind::StaleSource => "it leaves with an address that the router has no more",
        Kind::WrongUplink => "it leaves with the address of another way out",
    }
}

/// What keeps the kind from coming back (measured: the leak guard stops the first two, not the
/// others).
fn prevention(kind: Kind, lan: Option<&str>) -> Vec<String> {
    let guard = |what: &str| {
        let (family, private) = match lan {
            Some(lan) if lan.contains(':') => ("ip6", "fc00::/7"),
            _ => ("ip", "{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }"),
        };
        let lan = lan.unwrap_or("LAN");
        format!(
            "so that {what}: load the leak guard before the NAT rules and before the WAN comes up; \
             iax2-natcheck snat prints it with the unit that does so, or by hand: an nft table with \
             `chain post {{ type filter hook postrouting priority 300; {family} saddr {lan} {family} \
             daddr != {private} udp dport 4569 drop; }}`"
        )
    };
    match kind {
        Kind::Healthy => vec![],
        Kind::NullBinding => vec![guard("no packet leaves untranslated")],
        Kind::WrongSourceMasquerade => {
            vec![guard("no entry forms while the WAN has no address")]
        }
        Kind::StaleSource => vec![
            "so that it goes by itself: delete the old entries where the address is set; \
             iax2-natcheck snat prints the hook that does so (or a script in /etc/ppp/ip-up.d that \
             runs iax2-natcheck taint --fix)"
                .into(),
        ],
        Kind::WrongUplink => vec![
            "so that it goes by itself: use MASQUERADE on every way out, or delete the old entries \
             where the route is moved; iax2-natcheck snat prints the hook that does so"
                .into(),
        ],
    }
}

/// The prefix that the inside is in.
fn lan(router: &Router, ends: Ends) -> Option<String> {
    let address = router.addresses.iter().find(|address| {
        network(address.ip, address.prefix) == network(ends.inside, address.prefix)
    })?;
    Some(format!(
        "{}/{}",
        network(address.ip, address.prefix)?,
        address.prefix
    ))
}

fn network(ip: IpAddr, prefix: u8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32_u32.checked_sub(prefix.into())?)
                .unwrap_or(0);
            Some(IpAddr::V4((u32::from(ip) & mask).into()))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128_u32.checked_sub(prefix.into())?)
                .unwrap_or(0);
            Some(IpAddr::V6((u128::from(ip) & mask).into()))
        }
    }
}

/// The order that deletes one entry and no other.
fn deletion(entry: &Entry) -> String {
    let (source, destination) = (entry.original.source, entry.original.destination);
    let mut order = format!(
        "conntrack -D -p udp --orig-src {} --orig-dst {} --orig-port-src {} --orig-port-dst {}",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    if entry.zone != 0 {
        let _ = write!(order, " --zone {}", entry.zone);
    }
    order
}

/// The share of the table from which on it is worth a warning.
const NEARLY_FULL: f64 = 0.9;

/// Says that the table is full, or nearly so.
#[must_use]
pub fn table_finding(table: TableUse) -> Option<Finding> {
    if table.most == 0 {
        return None;
    }
    let full = table.entries >= table.most;
    #[allow(clippy::cast_precision_loss)] // a table has far fewer entries than 2^52
    let share = table.entries as f64 / table.most as f64;
    if share < NEARLY_FULL {
        return None;
    }
    let (severity, title) = if full {
        (
            Severity::Critical,
            "The router's table of connections is full: new flows are dropped",
        )
    } else {
        (
            Severity::Warning,
            "The router's table of connections is nearly full",
        )
    };
    Some(Finding {
        id: FindingId::ConntrackTableFull,
        severity,
        title: title.into(),
        because: vec![format!(
            "{} of {} entries are in use (nf_conntrack_count, nf_conntrack_max)",
            table.entries, table.most
        )],
        do_this: vec![
            format!(
                "allow more: sysctl -w net.netfilter.nf_conntrack_max={}",
                table.most.saturating_mul(2)
            ),
            "look who makes so many: conntrack -L | sort | uniq -c".into(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::taint::tests::{router, sample};

    fn inspected(kind: Kind) -> Inspected {
        Inspected {
            entry: sample("192.168.1.10", "203.0.113.1", "192.168.1.10"),
            judged: Judged {
                kind,
                because: vec!["a fact".into()],
            },
            liveness: Liveness::default(),
            deleted: false,
            verified: None,
        }
    }

    #[test]
    fn each_kind_is_one_finding_and_the_healthy_are_none() {
        let entries = [
            inspected(Kind::Healthy),
            inspected(Kind::NullBinding),
            inspected(Kind::StaleSource),
            inspected(Kind::NullBinding),
        ];
        let found = findings(&entries, &router());
        let ids: Vec<FindingId> = found.iter().map(|found| found.id).collect();
        assert_eq!(ids, [FindingId::NullBinding, FindingId::StaleSource]);
        assert_eq!(found[0].because.len(), 2);
        assert!(found[0].title.starts_with("2 flows are tainted: "));
        let advice = found[0].do_this.join("\n");
        assert!(
            advice.contains(
                "conntrack -D -p udp --orig-src 192.168.1.10 --orig-dst 203.0.113.1 \
                 --orig-port-src 4569 --orig-port-dst 4569"
            ),
            "{advice}"
        );
        assert!(advice.contains("ip saddr 192.168.1.0/24"), "{advice}");
    }

    #[test]
    fn what_was_deleted_weighs_less_unless_it_came_back() {
        for (deleted, verified, severity) in [
            (false, None, Severity::Critical),
            (true, None, Severity::Warning),
            (true, Some(true), Severity::Warning),
            (true, Some(false), Severity::Critical),
        ] {
            let one = Inspected {
                deleted,
                verified,
                ..inspected(Kind::StaleSource)
            };
            assert_eq!(findings(&[one], &router())[0].severity, severity);
        }
        let mut gone = inspected(Kind::StaleSource);
        gone.liveness.kept_alive = Some(false);
        assert_eq!(findings(&[gone], &router())[0].severity, Severity::Warning);
    }

    #[test]
    fn a_line_says_what_it_is_and_who_keeps_it_alive() {
        let mut one = inspected(Kind::NullBinding);
        one.liveness = Liveness {
            kept_alive: Some(true),
            last_packet: Some(std::time::Duration::from_secs(1)),
            expires: Some(std::time::Duration::from_secs(29)),
            timer: Some(std::time::Duration::from_secs(30)),
        };
        assert_eq!(
            one.line(),
            "192.168.1.10:4569 → 203.0.113.1:4569: null-binding: a fact (packets keep it alive, \
             last packet 1 s ago, would end after 30 s of silence)"
        );
        one.liveness.kept_alive = None;
        one.deleted = true;
        one.verified = Some(true);
        assert!(one.line().ends_with(
            "ends in 29 s unless another packet comes); deleted, and the next packet made a right one"
        ));
    }

    #[test]
    fn a_table_is_full_nearly_full_or_neither() {
        let rows = [
            (262_144, 262_144, Some(Severity::Critical)),
            (250_000, 262_144, Some(Severity::Warning)),
            (200_000, 262_144, None),
            (5, 0, None),
        ];
        for (entries, most, severity) in rows {
            let found = table_finding(TableUse { entries, most });
            assert_eq!(found.map(|found| found.severity), severity, "{entries}");
        }
    }
}
