//! The same for routers whose rules a configuration of their own writes. These commands follow the
//! vendors' documentation; they were not run.

use super::{Change, Plan, Refusal, Wish, facts, files, guard, guarded_networks, timers};
use crate::{check::taint::Kind, probe::router::Router, wire::firewall::Prefix};

/// Who writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// OpenWrt 22.03 and later: uci and fw4.
    Openwrt,
    /// firewalld, by its direct interface.
    Firewalld,
    /// ufw, in `before.rules`.
    Ufw,
    /// MikroTik RouterOS 7.
    Mikrotik,
    /// Ubiquiti EdgeOS 2.
    Edgeos,
}

/// What stands at the top of each.
const NOT_RUN: &str = "not run: written after the vendor's documentation and tried on no such router; read it before use";

/// Plans the changes for a router of this kind.
#[must_use]
pub fn elsewhere(kind: Elsewhere, router: &Router, wish: &Wish) -> Plan {
    let mut plan = Plan {
        notes: vec![NOT_RUN.to_owned()],
        foreign: kind == Elsewhere::Mikrotik,
        ..Plan::default()
    };
    plan.notes.extend(facts(router));
    let lans = guarded_networks(router).unwrap_or_else(|refusal| {
        plan.refusals.push(refusal);
        vec![]
    });
    let (source_nat, guard, timer) = match kind {
        Elsewhere::Openwrt => (openwrt(router), openwrt_guard(router, &lans, wish), None),
        Elsewhere::Firewalld => (firewalld(router), native_guard(router, &lans, wish), None),
        Elsewhere::Ufw => (ufw(router), native_guard(router, &lans, wish), None),
        Elsewhere::Mikrotik => (
            mikrotik(router),
            mikrotik_guard(router, &lans, wish),
            timers::needed(wish).map(mikrotik_timer),
        ),
        Elsewhere::Edgeos => (
            edgeos(router),
            edgeos_guard(router, &lans, wish),
            timers::needed(wish).map(edgeos_timer),
        ),
    };
    if !lans.is_empty() {
        plan.changes.push(guard);
    }
    match source_nat {
        Some((command, undo)) => plan.changes.push(step(
            "SNAT to the static address, before MASQUERADE",
            command,
            undo,
            vec![Kind::WrongSourceMasquerade],
            "MASQUERADE takes another address of the router where the line is up without one.",
        )),
        None => plan.refusals.push(Refusal {
            what: "SNAT in place of MASQUERADE".into(),
            why: "the address is not known to be static; give it with --static where it is".into(),
        }),
    }
    plan.changes.extend(timer);
    match kind {
        Elsewhere::Mikrotik => plan.changes.push(mikrotik_hook(router, wish)),
        Elsewhere::Edgeos => plan.notes.push(
            "copy the hook that `iax2-natcheck snat` writes for pppd to /config/scripts/ppp/ip-up.d"
                .into(),
        ),
        Elsewhere::Openwrt | Elsewhere::Firewalld | Elsewhere::Ufw => {
            timers::add(&mut plan, router, wish);
            files::add(&mut plan, router, wish);
        }
    }
    if kind == Elsewhere::Openwrt {
        // Loaded by fw4 itself, see openwrt_guard.
        plan.files
            .retain(|file| file.only_in != "/etc/systemd/system");
        plan.notes
            .push("the hook needs the package conntrack: opkg install conntrack".into());
    }
    plan
}

fn step(title: &str, command: String, undo: String, prevents: Vec<Kind>, why: &str) -> Change {
    Change {
        title: title.to_owned(),
        command,
        undo,
        still: None,
        still_done: None,
        prevents,
        why: why.to_owned(),
    }
}

fn strong(command: String, undo: String) -> Change {
    step(
        "the leak guard: no private source leaves, so that no entry with one is made",
        command,
        undo,
        vec![Kind::WrongSourceMasquerade, Kind::NullBinding],
        "It looks at a packet after its source was translated and before its entry is kept.",
    )
}

fn weak(command: String, undo: String) -> Change {
    step(
        "the weaker leak guard: nothing is forwarded by a way out that translates nothing",
        command,
        undo,
        vec![Kind::NullBinding],
        "This router has no chain behind the translation. It does not help at boot, nor when the \
         translation takes a wrong source, and it stops a failover too.",
    )
}

fn native_guard(router: &Router, lans: &[Prefix], wish: &Wish) -> Change {
    let text = guard::text(router, lans, wish.port);
    strong(
        format!("nft -f - <<'RULES'\n{text}RULES"),
        format!("nft delete table ip {}", guard::TABLE),
    )
}

fn openwrt(router: &Router) -> Option<(String, String)> {
    let address = router.wan.static_address()?;
    Some((
        format!(
            "uci batch <<'UCI'\nset firewall.iax2_snat=nat\nset firewall.iax2_snat.name='iax2-natcheck'\n\
             set firewall.iax2_snat.src='wan'\nset firewall.iax2_snat.device='{}'\n\
             set firewall.iax2_snat.proto='all'\nset firewall.iax2_snat.target='SNAT'\n\
             set firewall.iax2_snat.snat_ip='{address}'\ncommit firewall\nUCI\nfw4 reload",
            router.wan.interface
        ),
        "uci delete firewall.iax2_snat\nuci commit firewall\nfw4 reload".to_owned(),
    ))
}

/// fw4 takes the files of this folder into its own table.
fn openwrt_guard(router: &Router, lans: &[Prefix], wish: &Wish) -> Change {
    let text = guard::text(router, lans, wish.port);
    let lines = text.lines().filter(|line| line.starts_with('\t'));
    let chain: Vec<&str> = lines.map(|line| line.trim_start_matches('\t')).collect();
    let chain = chain
        .join("\n")
        .replace("chain postrouting", "chain iax2_leak_guard");
    let path = "/etc/nftables.d/10-iax2-leak-guard.nft";
    strong(
        format!("cat >{path} <<'RULES'\n{chain}\nRULES\nfw4 reload"),
        format!("rm -f {path}\nfw4 reload"),
    )
}

fn firewalld(router: &Router) -> Option<(String, String)> {
    let address = router.wan.static_address()?;
    let rule = format!(
        "rule ipv4 nat POSTROUTING 0 -o {} -j SNAT --to-source {address}",
        router.wan.interface
    );
    Some((
        format!("firewall-cmd --permanent --direct --add-{rule}\nfirewall-cmd --reload"),
        format!("firewall-cmd --permanent --direct --remove-{rule}\nfirewall-cmd --reload"),
    ))
}

fn ufw(router: &Router) -> Option<(String, String)> {
    let address = router.wan.static_address()?;
    let (wan, file) = (&router.wan.interface, "/etc/ufw/before.rules");
    Some((
        format!(
            "cp -p {file} {file}.before-iax2\nsed -i 's/^\\(-A POSTROUTING .*-o {wan} .*\\|-A POSTROUTING -o {wan} \\)-j \
             MASQUERADE$/\\1-j SNAT --to-source {address}/' {file}\nufw reload"
        ),
        format!("mv {file}.before-iax2 {file}\nufw reload"),
    ))
}

fn mikrotik(router: &Router) -> Option<(String, String)> {
    let address = router.wan.static_address()?;
    Some((
        format!(
            "/ip firewall nat add chain=srcnat out-interface={} action=src-nat to-addresses={address} \
             place-before=0 comment=iax2-natcheck",
            router.wan.interface
        ),
        "/ip firewall nat remove [find comment=iax2-natcheck]".to_owned(),
    ))
}

fn mikrotik_guard(router: &Router, lans: &[Prefix], wish: &Wish) -> Change {
    let mut lines: Vec<String> = Prefix::PRIVATE
        .iter()
        .map(|private| format!("/ip firewall address-list add list=iax2-private address={private}"))
        .collect();
    for lan in lans {
        lines.push(format!(
            "/ip firewall filter add chain=forward src-address={lan} dst-address-list=!iax2-private \
             out-interface=!{} protocol=udp dst-port={} action=drop place-before=0 comment=iax2-natcheck",
            router.wan.interface, wish.port
        ));
    }
    weak(
        lines.join("\n"),
        "/ip firewall filter remove [find comment=iax2-natcheck]\n\
         /ip firewall address-list remove [find list=iax2-private]"
            .to_owned(),
    )
}

fn mikrotik_timer(needed: u64) -> Change {
    step(
        "the timer of a UDP mapping",
        format!("/ip firewall connection tracking set udp-timeout={needed}s"),
        "/ip firewall connection tracking set udp-timeout=30s".to_owned(),
        vec![],
        "It has to outlast the time between two registrations.",
    )
}

/// RouterOS keeps entries of src-nat over a reconnect; a PPP profile can run a script.
fn mikrotik_hook(router: &Router, wish: &Wish) -> Change {
    let find = format!(
        "/ip firewall connection remove [find protocol=udp dst-address~\\\":{}\\\\$\\\"]",
        wish.port
    );
    step(
        "stale entries go when the line comes up",
        format!(
            "/ppp profile add name=iax2-natcheck copy-from=default on-up=\"{find}\"\n\
             /interface pppoe-client set {} profile=iax2-natcheck",
            router.wan.interface
        ),
        format!(
            "/interface pppoe-client set {} profile=default\n/ppp profile remove iax2-natcheck",
            router.wan.interface
        ),
        vec![Kind::StaleSource, Kind::WrongUplink],
        "src-nat keeps its entries when the address changes or the line goes.",
    )
}

/// One EdgeOS session of these lines, from a shell.
fn edgeos_session(lines: &[String]) -> String {
    let wrapper = "/opt/vyatta/sbin/vyatta-cfg-cmd-wrapper";
    let lines = lines.iter().map(String::as_str);
    let session = ["begin"]
        .into_iter()
        .chain(lines)
        .chain(["commit", "save", "end"]);
    let commands: Vec<String> = session.map(|line| format!("{wrapper} {line}")).collect();
    commands.join("\n")
}

fn edgeos(router: &Router) -> Option<(String, String)> {
    let address = router.wan.static_address()?;
    let rule = "service nat rule 5000";
    let lines = [
        format!("set {rule} description iax2-natcheck"),
        format!("set {rule} type source"),
        format!("set {rule} outbound-interface {}", router.wan.interface),
        format!("set {rule} outside-address address {address}"),
    ];
    Some((
        edgeos_session(&lines),
        edgeos_session(&[format!("delete {rule}")]),
    ))
}

/// EdgeOS runs the scripts of this folder after every start.
fn edgeos_guard(router: &Router, lans: &[Prefix], wish: &Wish) -> Change {
    let nothing = crate::wire::firewall::Ruleset::default();
    let text = guard::forward_text(&nothing, router, lans, wish.port);
    let path = "/config/scripts/post-config.d/iax2-leak-guard";
    weak(
        format!(
            "cat >{path} <<'SCRIPT'\n#!/bin/sh\niptables-restore --noflush <<'RULES'\n{text}RULES\nSCRIPT\n\
             chmod 755 {path}\n{path}"
        ),
        format!("rm -f {path}\n# and restart the router, or take the jumps out of FORWARD by hand"),
    )
}

fn edgeos_timer(needed: u64) -> Change {
    step(
        "the timer of a UDP mapping",
        edgeos_session(&[format!("set system conntrack timeout udp other {needed}")]),
        edgeos_session(&["delete system conntrack timeout udp other".to_owned()]),
        vec![],
        "It has to outlast the time between two registrations.",
    )
}
