//! Six sets of rules, eight faults and three kinds of firewall: each cell comes out as measured by
//! hand, its taint is named, and deleting the one entry heals it at the next packet.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::{
    street::{NEW_WAN, PBX, PROVIDER, SECOND, Street, WAN},
    support::tool::{self, Ended},
};

/// Cells under way at once, of one kind of firewall. The kernel cleans up after MASQUERADE in workers, 16 at once
/// for all namespaces, and leaves it where there are more: then an entry lives on that nothing else would keep.
const AT_ONCE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    IptablesNft,
    IptablesLegacy,
    Nft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Masquerade,
    Snat,
}

/// What stands beside the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    Drop,
    Guard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    WanDown,
    FallbackFlowBefore,
    FallbackFlowStarts,
    LinkWithoutAddress,
    AddressChanges,
    RulesLoadLate,
    Failover,
    PppAddressChanges,
}

/// How a cell comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 4 of 4 are answered.
    Right,
    /// None is, and the entry is of this kind.
    Tainted(&'static str),
    /// None is, because a rule drops it; deleting helps nothing.
    Blocked,
}

use Outcome::{Blocked, Right, Tainted};

const NULL: Outcome = Tainted("null-binding");
const WRONG: Outcome = Tainted("wrong-source-masquerade");
const STALE: Outcome = Tainted("stale-source");
const UPLINK: Outcome = Tainted("wrong-uplink");

const FAULTS: [Fault; 8] = [
    Fault::WanDown,
    Fault::FallbackFlowBefore,
    Fault::FallbackFlowStarts,
    Fault::LinkWithoutAddress,
    Fault::AddressChanges,
    Fault::RulesLoadLate,
    Fault::Failover,
    Fault::PppAddressChanges,
];

/// A row for each set of rules, a column for each fault.
const MATRIX: [(Target, Beside, [Outcome; 8]); 6] = [
    (
        Target::Masquerade,
        Beside::Nothing,
        [Right, NULL, NULL, WRONG, Right, NULL, Right, STALE],
    ),
    (
        Target::Snat,
        Beside::Nothing,
        [Right, Right, NULL, Right, STALE, NULL, UPLINK, STALE],
    ),
    (
        Target::Masquerade,
        Beside::Drop,
        [Right, Right, Right, WRONG, Right, NULL, Blocked, STALE],
    ),
    (
        Target::Snat,
        Beside::Drop,
        [Right, Right, Right, Right, STALE, NULL, Blocked, STALE],
    ),
    (
        Target::Masquerade,
        Beside::Guard,
        [Right, Right, Right, Right, Right, Right, Right, STALE],
    ),
    (
        Target::Snat,
        Beside::Guard,
        [Right, Right, Right, Right, STALE, Right, UPLINK, STALE],
    ),
];

#[test]
#[ignore = "needs root, ip, nft, iptables and conntrack"]
fn every_taint_is_named_and_healed_with_iptables_nft() {
    all_cells(Backend::IptablesNft);
}

#[test]
#[ignore = "needs root, ip, nft, iptables and conntrack"]
fn every_taint_is_named_and_healed_with_iptables_legacy() {
    all_cells(Backend::IptablesLegacy);
}

#[test]
#[ignore = "needs root, ip, nft, iptables and conntrack"]
fn every_taint_is_named_and_healed_with_nft() {
    all_cells(Backend::Nft);
}

fn all_cells(backend: Backend) {
    let cells: Vec<_> = MATRIX
        .iter()
        .flat_map(|(target, beside, row)| {
            FAULTS
                .iter()
                .zip(row)
                .map(|(fault, outcome)| (*target, *beside, *fault, *outcome))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(String::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((target, beside, fault, outcome)) =
                    cells.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let rules = Rules {
                        backend,
                        target: *target,
                        beside: *beside,
                    };
                    let problems = cell(rules, *fault, *outcome);
                    let mut wrong = wrong.lock().unwrap();
                    for problem in problems {
                        writeln!(wrong, "{target:?} {beside:?} {fault:?}: {problem}").unwrap();
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{backend:?}\n{wrong}");
}

/// A set of rules.
#[derive(Clone, Copy)]
struct Rules {
    backend: Backend,
    target: Target,
    beside: Beside,
}

impl Rules {
    /// Loads the guard, which comes before everything.
    fn load_guard(self, street: &Street) {
        if self.beside == Beside::Guard {
            street.nft(
                "table ip guard {\nchain post {\n type filter hook postrouting priority 300\n\
                 ip saddr 192.168.1.0/24 \
                 ip daddr != { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } udp dport 4569 drop\n}\n}",
            );
        }
    }

    /// Loads the NAT rules in place of those before.
    fn load(self, street: &Street, wan: &str, second: bool) {
        match self.backend {
            Backend::Nft => street.nft(&self.nft(wan, second)),
            Backend::IptablesNft => {
                street.restore("iptables-nft-restore", &self.iptables(wan, second));
            }
            Backend::IptablesLegacy => {
                street.restore("iptables-legacy-restore", &self.iptables(wan, second));
            }
        }
    }

    fn iptables(self, wan: &str, second: bool) -> String {
        let target = match self.target {
            Target::Masquerade => "MASQUERADE".to_owned(),
            Target::Snat => format!("SNAT --to-source {wan}"),
        };
        let mut text = format!("*nat\n-A POSTROUTING -o ppp0 -j {target}\n");
        if second {
            text.push_str("-A POSTROUTING -o eth1 -j MASQUERADE\n");
        }
        text.push_str("COMMIT\n*filter\n");
        if self.beside == Beside::Drop {
            text.push_str("-A FORWARD -s 192.168.1.0/24 ! -o ppp0 -p udp --dport 4569 -j DROP\n");
        }
        text.push_str("COMMIT\n");
        text
    }

    fn nft(self, wan: &str, second: bool) -> String {
        let target = match self.target {
            Target::Masquerade => "masquerade".to_owned(),
            Target::Snat => format!("snat to {wan}"),
        };
        let second = if second {
            "oifname \"eth1\" masquerade\n"
        } else {
            ""
        };
        let drop = match self.beside {
            Beside::Drop => "ip saddr 192.168.1.0/24 oifname != \"ppp0\" udp dport 4569 drop\n",
            Beside::Nothing | Beside::Guard => "",
        };
        format!(
            "table ip mine\ndelete table ip mine\ntable ip mine {{\nchain post {{\n\
             type nat hook postrouting priority 100\noifname \"ppp0\" {target}\n{second}}}\n\
             chain forward {{\ntype filter hook forward priority 0\n{drop}}}\n}}"
        )
    }
}

/// Plays one cell; what comes out otherwise than expected.
fn cell(rules: Rules, fault: Fault, outcome: Outcome) -> Vec<String> {
    let street = Street::new();
    rules.load_guard(&street);
    let second = fault == Fault::Failover;
    if fault != Fault::RulesLoadLate {
        rules.load(&street, WAN, second);
    }
    let fallback = "route add default via 192.168.100.1 dev eth1 metric 200";
    if matches!(
        fault,
        Fault::FallbackFlowBefore | Fault::FallbackFlowStarts | Fault::Failover
    ) {
        street.ip(&[fallback]);
    }
    let begins_alive = !matches!(fault, Fault::FallbackFlowStarts | Fault::RulesLoadLate);
    if fault == Fault::FallbackFlowStarts {
        street.wan_down();
    }
    let retrying = street.retry();
    let mut problems = vec![];
    if begins_alive && retrying.packets(2) == 0 {
        problems.push("not alive before the fault".to_owned());
    }
    match fault {
        Fault::WanDown | Fault::FallbackFlowBefore => {
            street.wan_down();
            retrying.packets(2);
            street.wan_up(WAN);
        }
        Fault::FallbackFlowStarts => {
            retrying.packets(2);
            street.wan_up(WAN);
        }
        Fault::LinkWithoutAddress => {
            street.wan_down();
            street.ip(&["address flush dev ppp0"]);
            retrying.packets(1);
            street.ip(&["link set ppp0 up", "route add default dev ppp0 metric 100"]);
            retrying.packets(2);
            street.address(WAN);
        }
        Fault::AddressChanges => {
            street.wan_down();
            street.ip(&["address flush dev ppp0"]);
            retrying.packets(1);
            rules.load(&street, NEW_WAN, second);
            street.wan_up(NEW_WAN);
        }
        Fault::RulesLoadLate => {
            retrying.packets(2);
            rules.load(&street, WAN, second);
        }
        Fault::Failover => street.wan_down(),
        Fault::PppAddressChanges => {
            street.ip(&["address flush dev ppp0"]);
            rules.load(&street, NEW_WAN, second);
            street.wan_up(NEW_WAN);
        }
    }
    // The kernel itself drops one packet where it gives up an entry of MASQUERADE.
    retrying.packets(2);
    let answered = retrying.packets(4);
    let expected = if outcome == Right { 4 } else { 0 };
    if answered != expected {
        problems.push(format!("{answered} of 4 answered instead of {expected}"));
    }
    let found = taint(&street, "");
    problems.extend(named(&found, outcome));
    if let Tainted(kind) = outcome {
        let mended = taint(&street, "--fix");
        problems.extend(healed(&mended, kind));
        let answered = retrying.packets(4);
        if answered != 4 {
            problems.push(format!("{answered} of 4 answered after the fix"));
        }
        let after = taint(&street, "");
        problems.extend(named(&after, Right));
    }
    problems
}

fn taint(street: &Street, options: &str) -> Ended {
    let mut command = tool::command(&format!("taint --json {options}"));
    tool::run(&mut command, &street.on_router())
}

/// The entry of the PBX's flow.
fn entry(report: &Value) -> Option<&Value> {
    let entries = report["measurements"]["taint"]["entries"].as_array()?;
    entries.iter().find(|entry| {
        entry["original"]["source"] == format!("{PBX}:4569")
            && entry["original"]["destination"] == format!("{PROVIDER}:4569")
    })
}

fn named(ended: &Ended, outcome: Outcome) -> Vec<String> {
    let report = ended.report();
    let kind = entry(&report).map(|entry| entry["kind"].as_str().unwrap().to_owned());
    let ids = tool::findings(&report);
    let right = match outcome {
        Right => kind.as_deref() == Some("healthy") && ids.is_empty() && ended.status == 0,
        Tainted(expected) => {
            kind.as_deref() == Some(expected) && ids == [expected] && ended.status == 2
        }
        // What the rule drops makes no entry; one of before may be there, of the other way out.
        Blocked => match kind.as_deref() {
            None => ids.is_empty() && ended.status == 0,
            Some(kind) => kind == "wrong-uplink" && ids == ["wrong-uplink"],
        },
    };
    if right {
        vec![]
    } else {
        vec![format!(
            "{outcome:?} is reported as {kind:?} {ids:?}, status {}: {}",
            ended.status, ended.stdout
        )]
    }
}

fn healed(ended: &Ended, kind: &str) -> Vec<String> {
    let report = ended.report();
    let Some(entry) = entry(&report) else {
        return vec!["no entry to mend".to_owned()];
    };
    let as_told = entry["kind"] == kind
        && entry["deleted"] == true
        && entry["verified"] == true
        && ended.status == 1;
    if as_told {
        vec![]
    } else {
        vec![format!("the fix ended with {} and {entry:#}", ended.status)]
    }
}

#[test]
#[ignore = "needs root, ip, nft, iptables and conntrack"]
fn the_second_uplink_is_where_it_should_be() {
    let street = Street::new();
    let rules = Rules {
        backend: Backend::Nft,
        target: Target::Snat,
        beside: Beside::Nothing,
    };
    rules.load(&street, WAN, true);
    street.ip(&["route add default via 192.168.100.1 dev eth1 metric 200"]);
    let retrying = street.retry();
    assert_eq!(retrying.packets(2), 2);
    street.wan_down();
    let mended = taint(&street, "--fix").report();
    let next = taint(&street, "").report();
    assert_eq!(entry(&mended).unwrap()["kind"], "wrong-uplink");
    let reply = &entry(&next).unwrap()["reply"]["destination"];
    assert_eq!(reply, &format!("{SECOND}:4569"));
}
