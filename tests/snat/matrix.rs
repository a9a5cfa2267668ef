//! Every fault, against the rules that `snat` prints, with a real Asterisk that registers.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use crate::{
    fault::{Fault, Under},
    home::{Home, PROVIDER, PUBLIC},
    rules::Backend,
    support::{
        asterisk::{Asterisk, SECRET},
        process::{self, Running},
        site::inside,
        tool,
    },
};

/// How long Asterisk may take to register again: it tries every 8.3 s, 5/6 of the refresh.
const RECOVERY: Duration = Duration::from_secs(25);
/// Longer than two of its attempts, and shorter than the kernel's timer of 30 s counted from the last:
/// a dead entry is still dead.
const PROOF: Duration = Duration::from_secs(19);
/// How long an outage lasts after Asterisk was told to register.
const OUTAGE: Duration = Duration::from_secs(2);

/// A PBX that registers through a router with a provider.
struct Line {
    home: Home,
    provider: Running,
    pbx: Asterisk,
    _folder: TempDir,
}

impl Line {
    fn new(home: Home) -> Self {
        let folder = TempDir::new().unwrap();
        let users = folder.path().join("users.toml");
        fs::write(
            &users,
            format!("[alice]\nsecret = \"{SECRET}\"\nrefresh = \"10s\"\n"),
        )
        .unwrap();
        let provider = tool::serve(
            &format!("-v --bind {PROVIDER} --users {}", users.display()),
            &inside(&home.net),
        );
        let registrar = format!("{PROVIDER}:4569").parse().unwrap();
        let pbx = Asterisk::client([192, 168, 1, 10], registrar)
            .register("alice")
            .start(&inside(&home.pbx));
        Self {
            home,
            provider,
            pbx,
            _folder: folder,
        }
    }

    /// Whether the provider takes a registration from this address within a time from now.
    fn registers(&self, address: &str, within: Duration) -> bool {
        let now = SystemTime::now();
        // The port may be another: an entry of the provider's last words can still hold the first.
        let from = format!(" at {address}:");
        process::poll(within, || {
            let log = self.provider.stderr();
            log.lines()
                .filter(|line| line.contains("alice registered") && line.contains(&from))
                .filter_map(|line| humantime::parse_rfc3339(line.split_whitespace().next()?).ok())
                .any(|time| time > now)
                .then_some(())
        })
        .is_some()
    }

    /// What there is to see when a registration fails.
    fn told(&self) -> String {
        let log = self.provider.stderr();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "now {}\n{}\n{}\n{}",
            humantime::format_rfc3339_millis(SystemTime::now()),
            lines[lines.len().saturating_sub(40)..].join("\n"),
            self.pbx.cli("iax2 show registry"),
            self.home.sh(
                "ip route; ip address show dev ppp0; conntrack -L 2>/dev/null; nft list ruleset"
            ),
        )
    }

    /// Lets a fault happen; the hook runs when the line is back, as pppd would run it.
    fn suffer(&self, fault: Fault, backend: Backend, hook: Option<&Path>) {
        let under = Under::begin(&self.home, fault, backend);
        self.pbx.cli("iax2 reload");
        if let Some(address) = fault.address_during() {
            // As a hook of the way that came up, here the second one.
            run(&self.home, hook);
            assert!(
                self.registers(address, RECOVERY),
                "{backend:?} does not stand {fault:?}, during the outage:\n{}",
                self.told()
            );
        } else {
            std::thread::sleep(OUTAGE);
        }
        under.end();
        run(&self.home, hook);
    }
}

fn run(home: &Home, hook: Option<&Path>) {
    if let Some(hook) = hook {
        home.sh(&hook.display().to_string());
    }
}

/// What `snat` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// SNAT and the guard.
    Static,
    /// MASQUERADE stays, and the guard.
    Dynamic,
    /// The weaker guard.
    Forward,
}

/// The faults that the printed rules claim to stand, the hooks included.
fn claimed(wish: Wish) -> Vec<Fault> {
    let mut faults = vec![Fault::Down, Fault::Fallback, Fault::FallbackNew];
    if wish != Wish::Forward {
        faults.extend([Fault::NoAddress, Fault::Boot, Fault::Failover]);
    }
    if wish == Wish::Dynamic {
        faults.extend([Fault::Changed, Fault::PppChanged]);
    }
    faults
}

/// A router with the rules of `backend` and what `snat` makes of them, installed below a folder.
fn prepared(backend: Backend, wish: Wish, second: bool, root: &Path) -> Home {
    let home = Home::new();
    backend.load(&home, second);
    // Something that needs connection tracking whatever becomes of the NAT rules, as on any router.
    home.router
        .nft("table ip state {\nchain forward {\ntype filter hook forward priority -5; policy accept;\nct state invalid drop\n}\n}")
        .unwrap();
    let options = match wish {
        Wish::Static => format!("--static {PUBLIC}"),
        Wish::Dynamic => String::new(),
        Wish::Forward => "--guard forward".to_owned(),
    };
    let script = home.snat(&format!("--wan ppp0 {} {options}", backend.option()));
    let file = root.join("snat.sh");
    fs::write(&file, script).unwrap();
    for folder in ["etc/systemd/system", "etc/ppp/ip-up.d"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    home.sh(&format!(
        "DESTDIR={} sh {} install",
        root.display(),
        file.display()
    ));
    home
}

fn holds(backend: Backend, wish: Wish) {
    for second in [false, true] {
        let faults = claimed(wish);
        // A line without an address borrows one of a way out that is translated as well as of a LAN.
        let faults = faults
            .into_iter()
            .filter(|fault| fault.has_second() == second || (second && *fault == Fault::NoAddress));
        let faults: Vec<Fault> = faults.collect();
        if faults.is_empty() {
            continue;
        }
        let root = TempDir::new().unwrap();
        let home = prepared(backend, wish, second, root.path());
        let line = Line::new(home);
        let hook = root.path().join("etc/iax2-stale-entries");
        for fault in faults {
            assert!(
                line.registers(PUBLIC, RECOVERY),
                "{backend:?} {wish:?}, before {fault:?}"
            );
            // The rules themselves stand all but what only the hook can mend.
            let needs_hook = matches!(fault, Fault::Failover | Fault::PppChanged);
            let hook = Some(hook.as_path()).filter(|_| needs_hook && wish != Wish::Forward);
            line.suffer(fault, backend, hook);
            assert!(
                line.registers(fault.address_after(), RECOVERY),
                "{backend:?} {wish:?} does not stand {fault:?}:\n{}",
                line.told()
            );
            Under::reset(&line.home, fault);
        }
    }
}

macro_rules! cells {
    ($($name:ident: $backend:ident, $wish:ident;)*) => {
        $(
            #[test]
            #[ignore = "needs root, ip, iptables, nft, conntrack and the Asterisk that tests/all fetches"]
            fn $name() {
                holds(Backend::$backend, Wish::$wish);
            }
        )*
    };
}

cells! {
    full_snat_and_the_guard_hold_with_iptables: Iptables, Static;
    full_snat_and_the_guard_hold_with_iptables_legacy: Legacy, Static;
    full_snat_and_the_guard_hold_with_nft: Nft, Static;
    full_masquerade_and_the_guard_hold_with_iptables: Iptables, Dynamic;
    full_masquerade_and_the_guard_hold_with_iptables_legacy: Legacy, Dynamic;
    full_masquerade_and_the_guard_hold_with_nft: Nft, Dynamic;
    full_the_weaker_guard_holds_with_iptables: Iptables, Forward;
    full_the_weaker_guard_holds_with_iptables_legacy: Legacy, Forward;
}

/// Without what `snat` adds, the same faults end badly: the test above can fail.
fn fails(backend: Backend) {
    let home = Home::new();
    backend.load(&home, false);
    home.router
        .nft("table ip state {\nchain forward {\ntype filter hook forward priority -5; policy accept;\nct state invalid drop\n}\n}")
        .unwrap();
    let line = Line::new(home);
    for fault in [
        Fault::Fallback,
        Fault::FallbackNew,
        Fault::NoAddress,
        Fault::Boot,
        Fault::PppChanged,
    ] {
        assert!(
            line.registers(PUBLIC, RECOVERY),
            "{backend:?}, before {fault:?}"
        );
        line.suffer(fault, backend, None);
        assert!(
            !line.registers(fault.address_after(), PROOF),
            "{backend:?} stands {fault:?} without help:\n{}",
            line.home.sh("conntrack -L 2>/dev/null")
        );
        Under::reset(&line.home, fault);
    }
}

#[test]
#[ignore = "needs root, ip, iptables, nft, conntrack and the Asterisk that tests/all fetches"]
fn full_masquerade_alone_does_not_hold_with_iptables() {
    fails(Backend::Iptables);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and the Asterisk that tests/all fetches"]
fn full_masquerade_alone_does_not_hold_with_nft() {
    fails(Backend::Nft);
}
