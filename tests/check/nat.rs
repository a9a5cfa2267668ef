//! `check` tells what a kernel NAT between us and a real Asterisk does.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::time::Duration;

use iax2_natcheck::lab::network::{Ports, Router};
use serde_json::{Value, json};

use crate::support::{
    asterisk::{Asterisk, SECRET},
    coturn::Coturn,
    site::{ALTERNATE, PROVIDER, REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, Ended, edge, findings},
};

/// A NAT's timers shortened fivefold, and the refresh with them; see [`quick`].
const SHORT: Router = Router::masquerade(6, 12);
/// The same, long enough for that refresh.
const SOUND: Router = Router::masquerade(12, 13);

/// The provider with a shortened refresh.
fn quick_provider(site: &Site) -> Asterisk {
    Asterisk::registrar(PROVIDER).refresh(12).start(&site.far())
}

/// `check` of the provider with `options`, as JSON.
fn check(site: &Site, options: &str) -> Ended {
    let line = format!("check {PROVIDER} --user alice --json {options}");
    let mut command = tool::with_secret(&line, SECRET);
    tool::run_within(Duration::from_secs(360), &mut command, &site.near())
}

fn with_reflector(options: &str) -> String {
    format!("--reflector {REFLECTOR}:{REFLECTOR_PORT} {options}")
}

/// What must be so in every survey that was not disturbed.
fn assert_sound(report: &Value) {
    assert_eq!(report["interrupted"], Value::Null);
    let reach = &report["measurements"]["reachability"];
    assert_eq!(reach["sent"], reach["received"], "{reach}");
    assert_eq!(reach["call_token_required"], true);
    let seen = &report["measurements"]["registration"];
    assert_eq!(seen["state"], "registered");
    assert_eq!(seen["auth"], "md5");
    let controls = &report["measurements"]["lifetime"]["controls"];
    // The last one may be under way when the sweep ends.
    let [sent, received] = ["sent", "received"].map(|key| controls[key].as_u64().unwrap());
    assert!(received <= sent && sent <= received + 1, "{controls}");
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and two minutes"]
fn full_the_defaults_of_linux_lose_calls_for_20_s_of_50_s() {
    let site = Site::behind([Router::masquerade(30, 120)]);
    let _provider = Asterisk::registrar(PROVIDER).start(&site.far());
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector(""));
    println!("the survey took {:.1} s", ended.took.as_secs_f64());
    let report = ended.report();
    assert_sound(&report);
    assert_eq!(edge(&report, "exchange"), (Some(29.0), Some(30.0)));
    assert_eq!(edge(&report, "one_way"), (Some(29.0), Some(30.0)));
    assert_eq!(edge(&report, "stream"), (Some(119.0), Some(120.0)));
    let reachable = json!({"fraction": 0.6, "open_s": 30, "cycle_s": 50});
    assert_eq!(report["measurements"]["reachable"], reachable);
    assert_eq!(findings(&report), ["short-mapping-timeout"]);
    let alike = &report["measurements"]["lifetime"]["alike"];
    assert_eq!(alike[0], "Linux netfilter, kernel 5.0 and later");
    assert_eq!(ended.status, 2);
    assert!(ended.took <= Duration::from_secs(125), "{:?}", ended.took);
}

#[test]
#[ignore = "needs root, ip, nft, the Asterisk that tests/all fetches, and two minutes"]
fn full_a_timeout_of_65_s_is_enough() {
    let site = Site::behind([Router::masquerade(65, 120)]);
    let _provider = Asterisk::registrar(PROVIDER).start(&site.far());
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector(""));
    println!("the survey took {:.1} s", ended.took.as_secs_f64());
    let report = ended.report();
    assert_sound(&report);
    assert_eq!(edge(&report, "exchange"), (Some(64.0), Some(65.0)));
    assert_eq!(report["measurements"]["reachable"]["fraction"], 1);
    assert_eq!(findings(&report), [""; 0]);
    assert_eq!(ended.status, 0);
    // A check takes 8 s more than its longest idle time.
    assert!(ended.took <= Duration::from_secs(128), "{:?}", ended.took);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_short_timeout_loses_calls() {
    let site = Site::behind([SHORT]);
    let _provider = quick_provider(&site);
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector("--max-lifetime 14s"));
    let report = ended.report();
    assert_sound(&report);
    for (shape, alive) in [("one_way", 5.0), ("exchange", 5.0), ("stream", 11.0)] {
        assert_eq!(
            edge(&report, shape),
            (Some(alive), Some(alive + 1.0)),
            "{shape}"
        );
    }
    let reachable = json!({"fraction": 0.6, "open_s": 6, "cycle_s": 10});
    assert_eq!(report["measurements"]["reachable"], reachable);
    assert_eq!(findings(&report), ["short-mapping-timeout"]);
    assert_eq!(
        report["measurements"]["mapping"]["behaviour"],
        "endpoint-independent"
    );
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("this registers as alice"),
        "{ended:#?}"
    );
    assert!(ended.took <= Duration::from_secs(25), "{:?}", ended.took);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_timeout_above_the_interval_is_enough() {
    let site = Site::behind([SOUND]);
    let _provider = quick_provider(&site);
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector("--max-lifetime 14s"));
    let report = ended.report();
    assert_sound(&report);
    assert_eq!(edge(&report, "exchange"), (Some(11.0), Some(12.0)));
    assert_eq!(report["measurements"]["reachable"]["fraction"], 1);
    assert_eq!(findings(&report), [""; 0]);
    assert_eq!(ended.status, 0);
}

/// A NAT that draws ports at random shows another one to every destination; calls from the one
/// provider still come through while the mapping lives, so that is a warning.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_random_masquerade_is_inconsistent() {
    let random = Router {
        ports: Ports::FullyRandom,
        ..SOUND
    };
    let site = Site::behind([random]);
    let _provider = quick_provider(&site);
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector("--max-lifetime 20s"));
    let report = ended.report();
    assert_sound(&report);
    assert_eq!(findings(&report), ["inconsistent-nat"]);
    assert_eq!(report["findings"][0]["severity"], "warning");
    let mapping = &report["measurements"]["mapping"];
    assert_eq!(mapping["behaviour"], "address-and-port-dependent");
    assert_eq!(mapping["port_preserved"], false);
    assert_eq!(report["measurements"]["reachable"]["fraction"], 1);
    assert_eq!(ended.status, 1);
}

/// Where such a NAT forgets the mapping too, the registrar itself sees the port change from one
/// registration to the next.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_random_masquerade_that_forgets_moves_the_registration() {
    let random = Router {
        ports: Ports::FullyRandom,
        ..SHORT
    };
    let site = Site::behind([random]);
    let _provider = quick_provider(&site);
    let _reflector = site.reflector();
    let ended = check(&site, &with_reflector("--max-lifetime 20s"));
    let report = ended.report();
    assert_sound(&report);
    let mut found = findings(&report);
    found.sort_unstable();
    assert_eq!(found, ["inconsistent-nat", "short-mapping-timeout"]);
    for found in report["findings"].as_array().unwrap() {
        assert_eq!(found["severity"], "critical", "{found:#}");
    }
    assert_eq!(report["measurements"]["reachable"]["fraction"], 0.6);
    assert_eq!(ended.status, 2);
}

/// A STUN server that is not ours (RFC 5780) gives the answers that our reflector gives.
#[test]
#[ignore = "needs root, ip, nft, coturn and the Asterisk that tests/all fetches"]
fn a_stun_server_stands_in_for_the_reflector() {
    let random = Router {
        ports: Ports::FullyRandom,
        ..SOUND
    };
    for (name, router) in [("short", SHORT), ("sound", SOUND), ("random", random)] {
        let site = Site::behind([router]);
        let _provider = quick_provider(&site);
        let _reflector = site.reflector();
        let stun = Coturn::start(REFLECTOR.into(), ALTERNATE.into(), &site.far());
        let options = format!("--stun {} --max-lifetime 14s", stun.primary());
        let (by_stun, by_reflector) = std::thread::scope(|scope| {
            let stun = scope.spawn(|| check(&site, &options).report());
            // Without an account: two registrations of one account would displace each other.
            let line = format!(
                "nat lifetime {PROVIDER} --json {}",
                with_reflector("--max-lifetime 14s")
            );
            let reflector = tool::run(&mut tool::command(&line), &site.near()).report();
            (stun.join().unwrap(), reflector)
        });
        let lifetime = &by_stun["measurements"]["lifetime"];
        assert_eq!(lifetime["method"], "stun", "{name}");
        assert_eq!(
            by_reflector["measurements"]["lifetime"]["method"],
            "reflector"
        );
        for shape in ["exchange", "stream"] {
            assert_eq!(
                edge(&by_stun, shape),
                edge(&by_reflector, shape),
                "{name}: {shape}"
            );
        }
        // A STUN server answers at once, so that there is no way with packets one way only.
        assert_eq!(lifetime["one_way"], Value::Null, "{name}");
        let behaviour = &by_stun["measurements"]["mapping"]["behaviour"];
        assert_eq!(
            behaviour, &by_reflector["measurements"]["mapping"]["behaviour"],
            "{name}"
        );
        assert_eq!(
            by_stun["measurements"]["registration"]["state"],
            "registered"
        );
        let expected: &[&str] = match name {
            "short" => &["short-mapping-timeout"],
            "random" => &["inconsistent-nat"],
            _ => &[],
        };
        assert_eq!(findings(&by_stun), expected, "{name}");
    }
}

/// The advice is that of the box that the user names.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn a_box_that_is_named_gets_its_own_advice() {
    let site = Site::behind([SHORT]);
    let _provider = tool::serve(&format!("--bind {PROVIDER}"), &site.far());
    let line = format!("check {PROVIDER} --refresh 12s --max-lifetime 10s --json --device");
    let mut command = tool::command(&line);
    command.arg("SonicWall TZ");
    let report = tool::run(&mut command, &site.near()).report();
    assert_eq!(findings(&report), ["short-mapping-timeout"]);
    let device = json!({
        "vendor": "SonicWall", "product": "TZ170 (TZ series), SonicOS Enhanced",
        "by": "user", "confidence": "secondary"
    });
    assert_eq!(report["measurements"]["device"], device);
    let advice = report["findings"][0]["do_this"].to_string();
    assert!(
        advice.contains("Default UDP Connection Timeout"),
        "{advice}"
    );
    assert!(advice.contains("nobody here has verified"), "{advice}");
    assert!(!advice.contains("sysctl"), "{advice}");
}

/// A provider may be a reflector itself: `serve` with accounts.
#[test]
#[ignore = "needs root, network namespaces, ip and nft"]
fn serve_is_provider_and_reflector_in_one() {
    let site = Site::behind([SHORT]);
    let users = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[alice]\nsecret = \"{SECRET}\"\nrefresh = \"12s\"\n");
    std::fs::write(users.path(), text).unwrap();
    let line = format!(
        "--bind {PROVIDER} --alternate {ALTERNATE}:4570 --users {}",
        users.path().display()
    );
    let _provider = tool::serve(&line, &site.far());
    let ended = check(&site, "--max-lifetime 14s");
    let report = ended.report();
    assert_sound(&report);
    assert_eq!(edge(&report, "exchange"), (Some(5.0), Some(6.0)));
    assert_eq!(findings(&report), ["short-mapping-timeout"]);
    assert_eq!(
        report["measurements"]["mapping"]["behaviour"],
        "endpoint-independent"
    );
}

/// Without a reflector and a STUN server the lifetime stays open, and nothing is made up.
#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn without_anybody_who_answers_late_the_question_stays_open() {
    let site = Site::behind([SHORT]);
    let _provider = quick_provider(&site);
    let ended = check(&site, "");
    let report = ended.report();
    assert_eq!(
        report["measurements"]["registration"]["state"],
        "registered"
    );
    assert_eq!(report["measurements"]["lifetime"], Value::Null);
    assert_eq!(report["measurements"]["reachable"], Value::Null);
    assert_eq!(findings(&report), ["not-measured"]);
    let advice = report["findings"][0]["do_this"].to_string();
    assert!(advice.contains("--reflector"), "{advice}");
    assert_eq!(ended.status, 3);
}
