//! The files that keep a router so over a reboot and a reconnect.

use super::{File, GuardKind, Plan, Wish, guard, guarded_networks, timers};
use crate::{check::taint::Kind, probe::router::Router, wire::firewall::Backend};

/// Where the guard's rules lie.
const GUARD: &str = "/etc/iax2-leak-guard.nft";
/// The same for the weaker one.
const FORWARD: &str = "/etc/iax2-leak-guard.rules";
/// The unit that loads them.
const UNIT: &str = "/etc/systemd/system/iax2-leak-guard.service";

/// The script that deletes stale entries.
const STALE: &str = "/etc/iax2-stale-entries";

/// Who brings links up, the folder where it looks for hooks, ours there, and its mode.
const HOOKS: [(&str, &str, &str, &str); 4] = [
    (
        "pppd",
        "/etc/ppp/ip-up.d",
        "/etc/ppp/ip-up.d/iax2-stale-entries",
        "755",
    ),
    (
        "netifd (OpenWrt)",
        "/etc/hotplug.d/iface",
        "/etc/hotplug.d/iface/95-iax2-stale-entries",
        "644",
    ),
    (
        "NetworkManager",
        "/etc/NetworkManager/dispatcher.d",
        "/etc/NetworkManager/dispatcher.d/95-iax2-stale-entries",
        "755",
    ),
    (
        "networkd-dispatcher",
        "/etc/networkd-dispatcher/routable.d",
        "/etc/networkd-dispatcher/routable.d/95-iax2-stale-entries",
        "755",
    ),
];

pub(super) fn add(plan: &mut Plan, router: &Router, wish: &Wish) {
    if let Ok(lans) = guarded_networks(router) {
        match wish.guard {
            GuardKind::Nft => {
                plan.files
                    .push(rules(GUARD, guard::text(router, &lans, wish.port)));
                plan.files.push(reload());
                plan.files
                    .push(unit(&format!("/usr/bin/env nft -f {GUARD}"), EARLY));
            }
            GuardKind::Forward => {
                let nothing = crate::wire::firewall::Ruleset::default();
                let program = match wish.backend {
                    Backend::IptablesLegacy => "iptables-legacy-restore",
                    Backend::Iptables | Backend::Nft => "iptables-restore",
                };
                let text = guard::forward_text(&nothing, router, &lans, wish.port);
                plan.files.push(rules(FORWARD, text));
                plan.files.push(unit(
                    &format!("/usr/bin/env {program} --noflush {FORWARD}"),
                    LATE,
                ));
            }
        }
    }
    plan.files.push(File {
        title: "deletes stale entries".into(),
        path: STALE,
        mode: "755",
        only_in: "/etc",
        text: stale_entries(wish.port),
        then: None,
        before_removal: None,
        prevents: vec![Kind::StaleSource, Kind::WrongUplink],
        why: "No rule helps an entry that was right once: a PPP line that gets another address while \
              the link stays up keeps its entries, and so does SNAT over another way out. This \
              deletes them, each by its own addresses and ports, and leaves the rest of the table \
              alone. The hooks below run it whenever a link has come up."
            .into(),
    });
    for (caller, folder, path, mode) in HOOKS {
        plan.files.push(File {
            title: format!("the hook of {caller}"),
            path,
            mode,
            only_in: folder,
            text: format!("#!/bin/sh\n{STALE}\n"),
            then: None,
            before_removal: None,
            prevents: vec![],
            why: "It runs the script above.".into(),
        });
    }
    if let Some(lines) = timers::lines(wish) {
        plan.files.push(File {
            title: "the timers, at boot".into(),
            path: "/etc/sysctl.d/90-iax2-natcheck.conf",
            mode: "644",
            only_in: "/etc/sysctl.d",
            text: lines,
            then: None,
            before_removal: None,
            prevents: vec![],
            why: "They are read when the kernel's module nf_conntrack is loaded before systemd-sysctl \
                  runs: name it in /etc/modules-load.d."
                .into(),
        });
    }
}

fn rules(path: &'static str, text: String) -> File {
    File {
        title: "the leak guard, for the unit below".into(),
        path,
        mode: "644",
        only_in: "/etc/systemd/system",
        text,
        then: None,
        before_removal: None,
        prevents: vec![],
        why: "It takes the place of an earlier one, all at once.".into(),
    }
}

/// `nftables.service` begins with `flush ruleset`.
fn reload() -> File {
    File {
        title: "the leak guard again whenever nftables.service has loaded its rules".into(),
        path: "/etc/systemd/system/nftables.service.d/iax2-leak-guard.conf",
        mode: "644",
        only_in: "/etc/systemd/system",
        text: format!(
            "[Service]\nExecStartPost=/usr/bin/env nft -f {GUARD}\nExecReload=/usr/bin/env nft -f {GUARD}\n"
        ),
        then: None,
        before_removal: None,
        prevents: vec![],
        why: "/etc/nftables.conf usually begins with `flush ruleset`, which takes the guard away with \
              everything else."
            .into(),
    }
}

/// Before every firewall and before any link is configured.
const EARLY: &str = "Before=network-pre.target nftables.service netfilter-persistent.service ufw.service \
                     firewalld.service\nAfter=local-fs.target systemd-modules-load.service\n";
/// Behind what would flush the chain FORWARD, and before any link is configured.
const LATE: &str = "Before=network-pre.target\nAfter=local-fs.target systemd-modules-load.service \
                    netfilter-persistent.service\n";

fn unit(command: &str, order: &str) -> File {
    File {
        title: "the unit that loads the leak guard before the NAT rules and before any line is up"
            .into(),
        path: UNIT,
        mode: "644",
        only_in: "/etc/systemd/system",
        text: format!(
            "[Unit]\nDescription=Leak guard: no private source of IAX2 leaves\n\
             DefaultDependencies=no\nWants=network-pre.target\n{order}\
             Conflicts=shutdown.target\nBefore=shutdown.target\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\nExecReload={command}\n\n\
             [Install]\nWantedBy=sysinit.target\n"
        ),
        then: Some("systemctl enable iax2-leak-guard.service"),
        before_removal: Some("systemctl disable iax2-leak-guard.service"),
        prevents: vec![Kind::NullBinding],
        why: "An entry that is made at boot before the NAT rules are loaded stays for as long as the \
              PBX retries."
            .into(),
    }
}

/// A script that deletes every entry whose source is no address of the interface that the route
/// takes now.
fn stale_entries(port: u16) -> String {
    SCRIPT.replace("4569", &port.to_string())
}

const SCRIPT: &str = include_str!("stale-entries.sh");
