//! What other programs say of the same NATs of the kernel, in one run with ours, and who is right by the NAT's
//! own rules: coturn's `turnutils_natdiscovery` (RFC 5780) and Vovida's `stun` (RFC 3489). The README has the table.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{fmt, process::Command, thread, time::Duration};

use iax2_natcheck::lab::network::{Ports, Router};
use serde_json::Value;

use super::filtering::{FULL_CONE, RESTRICTED_CONE};
use crate::support::{
    coturn::Coturn,
    process,
    site::{ALTERNATE, PROVIDER, REFLECTOR, Site},
    tool,
};

const LINUX: Router = Router::masquerade(30, 120);

/// Loses a packet in five on its way in.
const LOSS: &str = "table ip loss { chain arrival { type filter hook prerouting priority -400; \
    iifname \"wan\" numgen random mod 100 < 20 drop; }; }\n";

/// What is said of a NAT: its mapping and its filtering.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said(&'static str, &'static str);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.0, self.1)
    }
}

const INDEPENDENT: &str = "independent";
const ADDRESS: &str = "address";
const PORT: &str = "address and port";
const NONE: &str = "none";
const UNKNOWN: &str = "?";

fn run(site: &Site, words: &str) -> String {
    let mut words = words.split_whitespace();
    let mut command = Command::new("timeout");
    command.arg("25").arg(words.next().unwrap()).args(words);
    let finished = process::run(&mut command, &site.near(), Duration::from_secs(30));
    finished.stdout + &finished.stderr
}

/// The first of these words that a text has.
fn word(text: &str, words: &[(&str, &'static str)]) -> &'static str {
    let found = words.iter().find(|(said, _)| text.contains(said));
    found.map_or(UNKNOWN, |(_, word)| word)
}

fn ours(site: &Site, stun: &Coturn) -> Said {
    let ask = |experiment: &str| {
        let line = format!(
            "nat {experiment} {PROVIDER} --stun {} --json",
            stun.primary()
        );
        let report = tool::run(&mut tool::command(&line), &site.near()).report();
        let behaviour = &report["measurements"][experiment]["behaviour"];
        match behaviour.as_str() {
            Some("none") => NONE,
            Some("endpoint-independent") => INDEPENDENT,
            Some("address-dependent") => ADDRESS,
            Some("address-and-port-dependent") => PORT,
            _ => {
                assert_ne!(*behaviour, Value::Null, "{report:#}");
                UNKNOWN
            }
        }
    };
    // The mapping's questions make strangers known.
    let filtering = ask("filtering");
    Said(ask("mapping"), filtering)
}

fn coturns(site: &Site) -> Said {
    let text = run(site, &format!("turnutils_natdiscovery -m -f {REFLECTOR}"));
    let mapping = word(
        &text,
        &[
            ("No NAT", NONE),
            ("Endpoint Independent Mapping", INDEPENDENT),
            ("Address and Port Dependent Mapping", PORT),
            ("Address Dependent Mapping", ADDRESS),
        ],
    );
    let filtering = word(
        &text,
        &[
            ("Endpoint Independent Filtering", INDEPENDENT),
            ("Address and Port Dependent Filtering", PORT),
            ("Address Dependent Filtering", ADDRESS),
        ],
    );
    Said(mapping, filtering)
}

fn vovidas(site: &Site, stun: &Coturn) -> Said {
    let text = run(site, &format!("stun {}", stun.primary()));
    let line = text
        .lines()
        .find(|line| line.starts_with("Primary"))
        .unwrap_or_default();
    match line {
        line if line.contains("Open") => Said(NONE, NONE),
        line if line.contains("Firewall") => Said(NONE, PORT),
        line if line.contains("Blocked") || line.is_empty() => Said(UNKNOWN, UNKNOWN),
        line => Said(
            word(
                line,
                &[
                    ("Independent Mapping", INDEPENDENT),
                    ("Dependent Mapping", "dependent"),
                ],
            ),
            word(
                line,
                &[
                    ("Independent Filter", INDEPENDENT),
                    ("Port Dependent Filter", PORT),
                    ("Address Dependent Filter", ADDRESS),
                ],
            ),
        ),
    }
}

#[test]
#[ignore = "needs root, ip, nft, coturn and stun-client"]
fn other_programs_are_right_only_where_they_agree_with_us() {
    let ports = |ports| Some(Router { ports, ..LINUX });
    let rows = [
        (
            "masquerade",
            ports(Ports::Kept),
            "",
            Said(INDEPENDENT, PORT),
        ),
        (
            "masquerade random",
            ports(Ports::Random),
            "",
            Said(PORT, PORT),
        ),
        (
            "masquerade fully-random",
            ports(Ports::FullyRandom),
            "",
            Said(PORT, PORT),
        ),
        (
            "masquerade persistent",
            ports(Ports::Persistent),
            "",
            Said(INDEPENDENT, PORT),
        ),
        (
            "full cone",
            Some(LINUX),
            FULL_CONE,
            Said(INDEPENDENT, INDEPENDENT),
        ),
        (
            "restricted cone",
            Some(LINUX),
            RESTRICTED_CONE,
            Said(INDEPENDENT, ADDRESS),
        ),
        ("no NAT", None, "", Said(NONE, NONE)),
        (
            "masquerade, 20 % lost",
            Some(LINUX),
            LOSS,
            Said(INDEPENDENT, PORT),
        ),
        (
            "full cone, 20 % lost",
            Some(LINUX),
            LOSS,
            Said(INDEPENDENT, INDEPENDENT),
        ),
    ];
    let rows: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = rows
            .map(|(name, router, rules, truth)| {
                scope.spawn(move || {
                    let site = Site::behind(router);
                    let cone = if name.starts_with("full cone,") {
                        FULL_CONE
                    } else {
                        ""
                    };
                    for rules in [rules, cone].into_iter().filter(|rules| !rules.is_empty()) {
                        site.lab().routers()[0].nft(rules).unwrap();
                    }
                    let stun = Coturn::start(REFLECTOR.into(), ALTERNATE.into(), &site.far());
                    let _provider = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
                    let said = ours(&site, &stun);
                    let is_right = said == truth
                        || (!rules.is_empty()
                            && rules == LOSS
                            && [said.0, said.1].contains(&UNKNOWN));
                    assert!(is_right, "{name}: {said}, and it is {truth}");
                    // Each program meets the NAT as it was before.
                    let forget = || {
                        if rules == RESTRICTED_CONE {
                            let router = &site.lab().routers()[0];
                            router.nft("flush set ip cone known\n").unwrap();
                        }
                    };
                    forget();
                    let coturn = coturns(&site);
                    forget();
                    let vovida = vovidas(&site, &stun);
                    format!("| {name} | {truth} | {said} | {coturn} | {vovida} |")
                })
            })
            .into_iter()
            .collect();
        running.into_iter().map(|row| row.join().unwrap()).collect()
    });
    println!("{}", rows.join("\n"));
}
