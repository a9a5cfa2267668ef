//! Routers on which a program that `snat` asks is not there.

use std::{path::Path, process::Command};

use crate::{
    home::{Home, PUBLIC},
    rules::{self, Backend},
    support::{
        site::inside,
        tool::{self, Ended},
    },
};

/// Runs the program on the router, with something else in the place of a path: an empty folder for a
/// folder, nothing for a file.
fn without(home: &Home, path: &str, line: &str) -> Ended {
    let empty = tempfile::tempdir().unwrap();
    let over = if Path::new(path).is_dir() {
        empty.path().display().to_string()
    } else {
        "/dev/null".to_owned()
    };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!("mount --bind {over} {path} && exec \"$0\" \"$@\""))
        .arg(tool::program())
        .args(line.split(' '));
    tool::run(&mut command, &inside(&home.router))
}

#[test]
#[ignore = "needs root, ip and iptables"]
fn without_any_program_it_says_so_and_gives_the_advice_in_general() {
    let home = Home::new();
    Backend::Legacy.load(&home, false);
    let before = rules::seen(&home);
    let advice = without(
        &home,
        "/usr/sbin",
        &format!("snat --wan ppp0 --static {PUBLIC}"),
    );
    assert_eq!(advice.status, 0, "{advice:#?}");
    let words = advice.stdout.replace("\n#  ", "");
    assert!(
        words.contains("there is no iptables-save and no nft"),
        "{words}"
    );
    assert!(words.contains(&format!("-o ppp0 -j SNAT --to-source {PUBLIC}")));
    for line in ["snat", "snat --wan ppp0 --apply"] {
        without(&home, "/usr/sbin", line)
            .assert_complaint(&["there is no iptables-save and no nft", "--rules FILE"]);
    }
    assert_eq!(rules::seen(&home), before);
}

#[test]
#[ignore = "needs root, ip, iptables and nft"]
fn without_nft_the_weaker_guard_takes_its_place_and_is_called_so() {
    let home = Home::new();
    Backend::Legacy.load(&home, false);
    let nft = "/usr/sbin/nft";
    let line = format!("snat --wan ppp0 --static {PUBLIC} --backend iptables-legacy");
    let script = without(&home, nft, &line).stdout;
    assert!(script.contains("The weaker leak guard"), "{script}");
    assert!(!script.contains("nft -f"), "{script}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    home.sh(&format!("sh {}", file.path().display()));
    let chain = home.sh("iptables-legacy -S IAX2-LEAK-GUARD");
    assert!(chain.ends_with("-j DROP\n"), "{chain}");
}
