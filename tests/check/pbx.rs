//! `check --asterisk`: on the PBX itself, with nothing registered by us.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    ffi::OsString, fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, process::Command,
};

use iax2_natcheck::lab::network::{CLIENT, PUBLIC, Router};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    asterisk::Asterisk,
    process::plain,
    site::{PROVIDER, REFLECTOR, REFLECTOR_PORT, Site},
    tool::{self, edge, findings},
};

/// A folder with a program `asterisk` in it that reaches this Asterisk, as on the PBX itself.
fn on_path(pbx: &Asterisk) -> TempDir {
    let (program, configuration) = pbx.program_and_configuration();
    let script = format!(
        "#!/bin/sh\nexec '{}' -C '{}' \"$@\"\n",
        program.display(),
        configuration.display()
    );
    put(&script)
}

fn put(script: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("asterisk");
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The command with `folder` before everything else in its PATH.
fn with_path(line: &str, folder: &Path) -> Command {
    let mut path = OsString::from(folder);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = tool::command(line);
    command.env("PATH", path);
    command
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn the_running_asterisk_is_asked_and_left_alone() {
    let site = Site::behind([Router::masquerade(6, 12)]);
    let provider = Asterisk::registrar(PROVIDER).refresh(12).start(&site.far());
    let _reflector = site.reflector();
    let pbx = Asterisk::client(CLIENT, provider.address())
        .register("alice")
        .start(&site.near());
    pbx.wait_for_registration("alice");
    let folder = on_path(&pbx);

    let line = format!(
        "check --asterisk --json --reflector {REFLECTOR}:{REFLECTOR_PORT} --max-lifetime 14s"
    );
    let ended = tool::run(&mut with_path(&line, folder.path()), &site.near());
    let report = ended.report();
    assert_eq!(
        report["provider"]["address"],
        provider.address().to_string()
    );
    assert_eq!(report["provider"]["user"], "alice");
    let perceived = SocketAddr::new(PUBLIC.into(), 4569).to_string();
    let expected = json!({
        "user": "alice", "state": "Registered", "refresh_s": 12, "perceived": perceived
    });
    assert_eq!(report["measurements"]["asterisk"], expected);
    assert_eq!(report["measurements"]["registration"], Value::Null);
    assert_eq!(edge(&report, "exchange"), (Some(5.0), Some(6.0)));
    let reachable = json!({"fraction": 0.6, "open_s": 6, "cycle_s": 10});
    assert_eq!(report["measurements"]["reachable"], reachable);
    assert_eq!(findings(&report), ["short-mapping-timeout"]);
    assert_eq!(ended.status, 2);
    assert!(!ended.stderr.contains("registers as"), "{ended:#?}");

    // Nobody but the PBX has registered, and it is where it was.
    let peers = provider.cli("iax2 show peers");
    let line = peers
        .lines()
        .find(|line| line.starts_with("alice"))
        .unwrap();
    assert!(
        line.contains(&PUBLIC.to_string()) && line.contains("4569"),
        "{line}"
    );
    let log = provider.log();
    let registered: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Registered IAX2 'alice'"))
        .collect();
    assert!(!registered.is_empty(), "{log}");
    for line in registered {
        assert!(line.contains(&perceived), "{line}");
    }
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn a_registration_that_is_rejected_is_told_in_asterisks_words() {
    let site = Site::behind([Router::masquerade(6, 12)]);
    let provider = Asterisk::registrar(PROVIDER).start(&site.far());
    let pbx = Asterisk::client(CLIENT, provider.address())
        .register_with("alice", "wrong")
        .start(&site.near());
    pbx.wait_for_state("alice", "Rejected");
    let folder = on_path(&pbx);
    let line = format!("check {PROVIDER} --asterisk --json");
    let report = tool::run(&mut with_path(&line, folder.path()), &site.near()).report();
    assert_eq!(report["measurements"]["asterisk"]["state"], "Rejected");
    assert_eq!(findings(&report), ["registration-rejected"]);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn an_asterisk_that_cannot_be_asked_is_one_sentence() {
    let asked = |folder: &TempDir, line: &str| {
        let mut command = tool::command(line);
        command.env("PATH", folder.path());
        tool::run(&mut command, &plain)
    };
    let nothing = TempDir::new().unwrap();
    asked(&nothing, "check --asterisk").assert_complaint(&["no program asterisk"]);

    let loopback = crate::support::loopback::address();
    let registrar = SocketAddr::new(loopback.into(), 4569);
    let mut pbx = Asterisk::client(crate::support::loopback::address(), registrar)
        .register("alice")
        .register("bob")
        .start(&plain);
    let folder = on_path(&pbx);
    let line = "check --asterisk";
    let with_sh = |line: &str| tool::run(&mut with_path(line, folder.path()), &plain);
    with_sh(line).assert_complaint(&["2 registrations", "--user"]);
    with_sh("check --asterisk --user nobody").assert_complaint(&["no such registration"]);
    pbx.cli("module unload chan_iax2.so");
    with_sh(line).assert_complaint(&["chan_iax2 is not loaded"]);
    pbx.kill();
    with_sh(line).assert_complaint(&["not running"]);

    let folder = put("#!/bin/sh\necho nonsense\n");
    asked(&folder, line).assert_complaint(&["cannot read what Asterisk answers"]);
}
