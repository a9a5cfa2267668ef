//! The guardian as a service: its files, its socket, its metrics, its signals, its size, and bad input.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    street::on,
    support::{
        process::{self, Process, plain},
        tool,
    },
    town::{MASQUERADE, Town},
};

const SOON: Duration = Duration::from_secs(60);
const TIMERS: &str = "[nat]\nexchange = \"20s\"\nstream = \"40s\"\n";
const METRICS: &str =
    "[nat]\nexchange = \"20s\"\nstream = \"40s\"\n[metrics]\nlisten = \"127.0.0.1:9469\"\n";

fn sh(command: &str, town: &Town) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    let ended = process::run(&mut shell, &on(&town.street.pbx), SOON);
    assert!(
        ended.status.success(),
        "{command}: {}{}",
        ended.stdout,
        ended.stderr
    );
    ended.stdout
}

#[test]
#[ignore = "needs root, ip, nft, Asterisk 16, curl, promtool and prometheus"]
fn metrics_are_right_to_promtool_and_to_a_prometheus() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let guardian = town.guardian(&town.street.pbx, "", METRICS);
    guardian.wait_for("main", "healthy", SOON);
    let page = sh("curl -sS http://127.0.0.1:9469/metrics", &town);
    let line = "iax2_natcheck_provider_state{provider=\"main\",state=\"healthy\"} 1";
    assert!(page.lines().any(|other| other == line), "{page}");
    let said = sh(
        "curl -sS http://127.0.0.1:9469/metrics | promtool check metrics 2>&1",
        &town,
    );
    assert_eq!(said.trim(), "", "{page}");

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    fs::write(
        &config,
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: natcheck\n  static_configs:\n  - targets: ['127.0.0.1:9469']\n",
    )
    .unwrap();
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:9090");
    let log = folder.path().join("log");
    let server = Process::start(&mut prometheus, &on(&town.street.pbx), &log);
    let query = "curl -sS -G http://127.0.0.1:9090/api/v1/query --data-urlencode \
                 'query=iax2_natcheck_registered{provider=\"main\"}' || true";
    let scraped = process::poll(SOON, || {
        let answer = sh(query, &town);
        answer.contains("\"1\"]").then_some(())
    });
    assert!(scraped.is_some(), "{}", server.output());
}

#[test]
#[ignore = "needs root, ip, nft and Asterisk 16"]
fn it_is_small_and_sleeps_while_all_is_well() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let mut guardian = town.guardian(&town.street.pbx, "", TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    guardian.wait_for("other", "healthy", SOON);
    let pid = guardian.running().pid();
    thread::sleep(Duration::from_secs(5));
    let (began, before) = (Instant::now(), cpu(pid));
    thread::sleep(Duration::from_secs(60));
    let share = cpu(pid).saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let resident: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    eprintln!(
        "size: {resident} kB resident, {:.4} % of a core",
        share * 100.0
    );
    // The release build is what is promised; a debug build is larger and slower.
    let most = if cfg!(debug_assertions) { 40 } else { 12 };
    assert!(resident < most * 1024, "{resident} kB");
    assert!(share < 0.005, "{share}");
}

/// The time that a process has spent on processors.
fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let nanos = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

#[test]
#[ignore = "needs root, ip, nft, Asterisk 16 and setpriv"]
fn only_one_works_with_a_state_and_only_its_own_may_ask() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let mut guardian = town.guardian(&town.street.pbx, "", TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    let config = guardian.folder().join("watch.toml");
    let line = format!("watch --config {}", config.display());
    let second = tool::run(&mut tool::command(&line), &on(&town.street.pbx));
    let pid = guardian.running().pid().to_string();
    second.assert_complaint(&["another guardian", &pid]);

    let text = tool::run(
        &mut tool::command(&format!("watch status --config {}", config.display())),
        &plain,
    );
    assert!(
        text.stdout.contains("main (203.0.113.1:4569): "),
        "{text:?}"
    );
    let history = tool::run(
        &mut tool::command(&format!("watch history --config {}", config.display())),
        &plain,
    );
    assert_eq!(
        (history.status, history.stdout.as_str()),
        (0, "No incident has ended yet.\n")
    );

    let socket = guardian.folder().join("watch.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    open_to_all(&guardian.folder());
    let stranger = stranger(&config);
    stranger.assert_complaint(&["may you ask", "watch.sock"]);
}

/// `watch status` by somebody who is nobody.
fn stranger(config: &Path) -> tool::Ended {
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    let program = folder.path().join("natcheck");
    // A copy written by this process could be held open by another test's child, and not be run.
    let copied = Command::new("cp")
        .arg(tool::program())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["watch", "status", "--config"])
        .arg(config);
    tool::run(&mut command, &plain)
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for file in fs::read_dir(folder).unwrap().flatten() {
        if file.file_name() == "watch.toml" || file.file_name() == "ami.secret" {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root, ip, nft and Asterisk 16"]
fn sighup_takes_up_what_is_new_and_keeps_what_is_wrong_out() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let mut guardian = town.guardian(&town.street.pbx, "", TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    let config = guardian.folder().join("watch.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("user = \"bob\"", "usr = \"bob\"")).unwrap();
    guardian.running().signal(Signal::SIGHUP);
    let said = process::poll(SOON, || {
        guardian.log().contains("of before stays").then_some(())
    });
    assert!(said.is_some(), "{}", guardian.log());
    assert_eq!(guardian.state("main"), "healthy");
    fs::write(&config, text.replace("\"other\"", "\"second\"")).unwrap();
    guardian.running().signal(Signal::SIGHUP);
    guardian.wait_for("second", "healthy", SOON);
    guardian.wait_for("main", "healthy", SOON);
    assert_eq!(guardian.state("other"), "");
    fs::write(&config, text).unwrap();
}

#[test]
#[ignore = "needs root, ip, nft and Asterisk 16"]
fn a_wrong_manager_secret_is_named_and_changes_nothing() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let guardian = town.guardian_as(&town.street.pbx, "", TIMERS, |text| {
        text.replace("ami_user = \"admin\"", "ami_user = \"nobody\"")
    });
    let said = process::poll(SOON, || {
        guardian
            .log()
            .contains("refuses the user nobody")
            .then_some(())
    });
    assert!(said.is_some(), "{}", guardian.log());
    thread::sleep(Duration::from_secs(20));
    for provider in ["main", "other"] {
        let mut decided = guardian.decided(provider);
        decided.retain(|kind| kind != "notify");
        assert!(decided.is_empty(), "{}", guardian.log());
    }
    let refused = guardian.log().matches("refuses the user").count();
    assert!(refused <= 2, "{}", guardian.log());
}

#[test]
#[ignore = "needs root, ip, nft, mount and Asterisk 16"]
fn a_disk_without_space_is_survived() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let full = tempfile::tempdir().unwrap();
    let at = full.path().display();
    let mount = |words: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", words]);
        assert!(command.status().unwrap().success(), "{words}");
    };
    mount(&format!("mount -t tmpfs -o size=64k tmpfs {at}"));
    let guardian = town.guardian_as(&town.street.pbx, "", TIMERS, |text| {
        let (head, rest) = text.split_once("state = \"").unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        format!("{head}state = \"{at}/watch.json\"{rest}")
    });
    guardian.wait_for("main", "healthy", SOON);
    mount(&format!(
        "dd if=/dev/zero of={at}/fill bs=1k 2>/dev/null; true"
    ));
    town.pbx.cli("module unload chan_iax2.so");
    guardian.wait_for("main", "asterisk-down", SOON);
    let said = process::poll(Duration::from_secs(90), || {
        guardian.log().contains("cannot be written").then_some(())
    });
    let log = guardian.log();
    town.pbx.cli("module load chan_iax2.so");
    guardian.wait_for("main", "healthy", SOON);
    drop(guardian);
    mount(&format!("umount -l {at}"));
    assert!(said.is_some(), "{log}");
}

#[test]
#[ignore = "needs root, ip, nft and Asterisk 16"]
fn a_dry_run_does_nothing_and_says_all() {
    let town = Town::new(MASQUERADE);
    let guardian = town.guardian(
        &town.street.router,
        "--dry-run",
        "[observe]\nrouter = true\nwan = \"ppp0\"\n[policy]\nmin_gap = \"2s\"\n",
    );
    guardian.wait_for("main", "healthy", SOON);
    town.street.wan_down();
    guardian.wait_for("main", "wan-down", SOON);
    let said = process::poll(SOON, || {
        guardian
            .log()
            .contains("would: hold Asterisk's packets")
            .then_some(())
    });
    assert!(said.is_some(), "{}", guardian.log());
    thread::sleep(Duration::from_secs(3));
    let rules = Town::left_in_nft(&town.street.router);
    assert!(!rules.contains("iax2_natcheck"), "{rules}");
}

#[test]
#[ignore = "needs root, ip, nft, socat and Asterisk 16"]
fn the_service_manager_is_told() {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let guardian = town.guardian_with(&town.street.pbx, TIMERS, |command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "2000000");
    });
    let mut heard = String::new();
    let mut octets = [0; 4096];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let length = socket.recv(&mut octets).unwrap();
        heard += &String::from_utf8_lossy(&octets[..length]);
        heard.push('\n');
    }
    for word in ["READY=1", "STATUS=2 of 2 providers healthy", "WATCHDOG=1"] {
        assert!(heard.contains(word), "{word}: {heard}");
    }
    let fed = heard.matches("WATCHDOG=1").count();
    assert!((5..=14).contains(&fed), "{heard}");
    let mut guardian = guardian;
    guardian.running().signal(Signal::SIGHUP);
    let length = socket.recv(&mut octets).unwrap();
    heard += &String::from_utf8_lossy(&octets[..length]);
    let running = guardian.take();
    running.signal(Signal::SIGTERM);
    while !heard.contains("STOPPING=1") {
        let length = socket.recv(&mut octets).unwrap();
        heard += &String::from_utf8_lossy(&octets[..length]);
    }
    assert!(heard.contains("RELOADING=1"), "{heard}");
    assert!(heard.contains("MONOTONIC_USEC="), "{heard}");
}
