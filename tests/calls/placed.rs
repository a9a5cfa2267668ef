//! Calls that were placed, and what their report says.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use iax2_natcheck::lab::{kernel::Namespace, network::Router};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::{
    asterisk::{Asterisk, SECRET},
    process::{self, Running, Spawn},
    site::{PROVIDER, Site, inside},
    tool::{self, Ended},
};

/// The port the calls leave from where a fault must know it.
pub(crate) const PORT: u16 = 4569;

/// How long a burst takes at most.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long one order of an administrator takes at most.
const ORDER: Duration = Duration::from_secs(10);

/// The timers that Linux comes with.
pub(crate) const LINUX: Router = Router::masquerade(30, 120);

/// A client behind `router`, and an Asterisk beyond it.
pub(crate) fn site(router: Router) -> (Site, Asterisk) {
    let site = Site::behind([router]);
    let provider = Asterisk::registrar(PROVIDER).start(&site.far());
    (site, provider)
}

/// A server of ours; with the profile `rfc` it says INVAL where it knows no call, with `asterisk` nothing.
pub(crate) fn serve(site: &Site, profile: &str, users: &NamedTempFile) -> Running {
    let line = format!(
        "--bind {PROVIDER} --profile {profile} --users {}",
        users.path().display()
    );
    tool::serve(&line, &site.far())
}

/// A file with the account alone that the calls use.
pub(crate) fn users() -> NamedTempFile {
    let users = NamedTempFile::new().unwrap();
    fs::write(users.path(), format!("[alice]\nsecret = \"{SECRET}\"\n")).unwrap();
    users
}

/// The command that calls `extension` as alice.
pub(crate) fn command(extension: &str, options: &str) -> Command {
    let line = format!("call {PROVIDER} {extension} --user alice --json {options}");
    tool::with_secret(&line, SECRET)
}

/// Calls that have been begun.
pub(crate) struct Calling {
    running: Running,
    began: Instant,
}

impl Calling {
    /// Begins on the client's host.
    pub(crate) fn start(site: &Site, extension: &str, options: &str) -> Self {
        let running = Running::start(&mut command(extension, options), &site.near());
        Self {
            running,
            began: Instant::now(),
        }
    }

    /// The process under way.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Waits until so many of them were answered, at least.
    pub(crate) fn wait_for_talk(&self) {
        let answered = || self.running.stderr().contains("answered").then_some(());
        assert!(
            process::poll(ORDER, answered).is_some(),
            "nobody answered:\n{}",
            self.running.stderr()
        );
    }

    /// Waits for the end, and reads the report.
    pub(crate) fn end(self) -> Placed {
        Placed::new(Ended::new(self.running.end(PATIENCE), self.began))
    }
}

/// What a report has measured of the calls.
pub(crate) fn calls(report: &Value) -> &Value {
    &report["measurements"]["calls"]
}

/// Calls that have ended.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) ended: Ended,
    pub(crate) report: Value,
}

impl Placed {
    fn new(ended: Ended) -> Self {
        let report = ended.report();
        Self { ended, report }
    }

    /// Runs this command, which places calls, to its end.
    pub(crate) fn by(command: &mut Command, spawn: &Spawn<'_>) -> Self {
        Self::new(tool::run_within(PATIENCE, command, spawn))
    }

    /// Places calls from the client's host of `site`, and waits for their end.
    pub(crate) fn on(site: &Site, extension: &str, options: &str) -> Self {
        Calling::start(site, extension, options).end()
    }

    /// What was measured of the calls.
    pub(crate) fn calls(&self) -> &Value {
        calls(&self.report)
    }

    /// What was measured of their audio.
    pub(crate) fn media(&self) -> &Value {
        &self.calls()["media"]
    }

    /// The ids of the findings.
    pub(crate) fn findings(&self) -> Vec<&str> {
        tool::findings(&self.report)
    }

    /// The finding of this name.
    pub(crate) fn finding(&self, id: &str) -> &Value {
        let all = self.report["findings"].as_array().unwrap();
        all.iter()
            .find(|it| it["id"] == id)
            .unwrap_or_else(|| panic!("no {id}: {:#}", self.report))
    }

    /// How many calls ended with this symptom.
    pub(crate) fn signature(&self, name: &str) -> u64 {
        self.calls()["signatures"][name].as_u64().unwrap_or(0)
    }

    /// All went well, and nothing is to be found.
    #[track_caller]
    pub(crate) fn assert_healthy(&self, calls: u64) {
        let measured = self.calls();
        assert_eq!(measured["pattern"], "none", "{measured:#}");
        assert_eq!(measured["attempted"], calls, "{measured:#}");
        assert_eq!(measured["completed"], calls, "{measured:#}");
        tool::assert_no_fault(&self.report);
    }

    /// One kind of failure, and no other.
    #[track_caller]
    pub(crate) fn assert_signature(&self, name: &str, count: u64) {
        let expected = serde_json::json!({ name: count });
        assert_eq!(self.calls()["signatures"], expected, "{:#}", self.report);
    }
}

/// Deletes every entry that a router has for UDP, as its restart would.
pub(crate) fn forget_mappings(site: &Site, options: &str) {
    let mut command = Command::new("conntrack");
    command
        .args(["-D", "-p", "udp"])
        .args(options.split_whitespace());
    let finished = process::run(&mut command, &inside(router(site)), ORDER);
    assert!(finished.status.success(), "{finished:#?}");
}

/// The router nearest to the client.
pub(crate) fn router(site: &Site) -> &Namespace {
    &site.lab().routers()[0]
}

/// Drops on the router what `rule` matches among the datagrams it forwards; the name tells several such
/// tables apart.
pub(crate) fn drop_forwarded(site: &Site, rule: &str) {
    let rules = format!(
        "table ip fault {{\nchain forward {{\n\
         type filter hook forward priority -10\n{rule} drop\n}}\n}}\n"
    );
    router(site).nft(&rules).unwrap();
}

/// Runs so many side by side, and gives what they gave in order.
pub(crate) fn side_by_side<T: Send>(count: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|at| scope.spawn(move || run(at))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    })
}
