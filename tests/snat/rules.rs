//! The rules that a router has before, in each of the three forms, and how they are seen.

use crate::home::Home;

/// Who keeps the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `iptables` over `nf_tables`.
    Iptables,
    /// `iptables-legacy`.
    Legacy,
    /// `nft`.
    Nft,
}

/// All of them.
pub const ALL: [Backend; 3] = [Backend::Iptables, Backend::Legacy, Backend::Nft];

impl Backend {
    /// The option that reads these rules alone.
    pub fn option(self) -> &'static str {
        match self {
            Self::Iptables => "--backend iptables",
            Self::Legacy => "--backend iptables-legacy",
            Self::Nft => "--backend nft",
        }
    }

    /// Loads a MASQUERADE rule for the PPP line, between two that have nothing to do with it; with
    /// `second`, one for the second way out too.
    pub fn load(self, home: &Home, second: bool) {
        let program = match self {
            Self::Iptables => "iptables",
            Self::Legacy => "iptables-legacy",
            Self::Nft => {
                let second = if second {
                    "oifname \"eth1\" masquerade"
                } else {
                    ""
                };
                home.router
                    .nft(&format!(
                        "table ip nat {{\n chain postrouting {{\n\
                         type nat hook postrouting priority srcnat; policy accept;\n\
                         ip daddr 10.8.0.0/16 accept\n\
                         oifname \"ppp0\" ip saddr 192.168.1.0/24 counter masquerade comment \"home\"\n\
                         {second}\n ip saddr 172.30.0.0/16 masquerade random\n }}\n}}"
                    ))
                    .unwrap();
                return;
            }
        };
        let mut rules = vec![
            "-d 10.8.0.0/16 -j ACCEPT",
            "-s 192.168.1.0/24 -o ppp0 -m comment --comment \"the home's\" -j MASQUERADE",
        ];
        rules.extend(second.then_some("-o eth1 -j MASQUERADE"));
        rules.push("-s 172.30.0.0/16 -p udp -j MASQUERADE --random");
        for rule in rules {
            home.sh(&format!("{program} -w -t nat -A POSTROUTING {rule}"));
        }
    }

    /// Takes all rules away, the guard aside.
    pub fn unload(self, home: &Home) {
        match self {
            Self::Iptables => home.sh("iptables -w -t nat -F"),
            Self::Legacy => home.sh("iptables-legacy -w -t nat -F"),
            Self::Nft => home.sh("nft delete table ip nat"),
        };
    }

    /// The rules of the table nat in a form that loads them again.
    pub fn save(self, home: &Home) -> String {
        match self {
            Self::Iptables => home.sh("iptables-save -t nat"),
            Self::Legacy => home.sh("iptables-legacy-save -t nat"),
            Self::Nft => home.sh("nft list table ip nat"),
        }
    }

    /// Loads what was saved.
    pub fn restore(self, home: &Home, saved: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules");
        std::fs::write(&file, saved).unwrap();
        let load = match self {
            Self::Iptables => "iptables-restore",
            Self::Legacy => "iptables-legacy-restore",
            Self::Nft => "nft -f",
        };
        home.sh(&format!("{load} {}", file.display()));
    }
}

/// All rules of a router, without counters, comments of saving, handles, and empty tables and chains
/// that nothing uses.
pub fn seen(home: &Home) -> String {
    let all = home.sh(
        "iptables-save; iptables-legacy-save; nft -s list ruleset | grep -v '^#' | sed 's/[ \t]*$//'",
    );
    let lines = all.lines().filter(|line| !line.starts_with('#'));
    let without_counters = lines.map(|line| line.split(" [").next().unwrap_or(line));
    without_counters.flat_map(|line| [line, "\n"]).collect()
}
