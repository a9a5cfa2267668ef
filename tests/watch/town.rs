//! A street with a real Asterisk as PBX, two more as its providers, and the guardian where a test wants it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the helpers of tests are no tests to the lint"
)]

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use iax2_natcheck::lab::kernel::Namespace;
use nix::{sys::signal::kill, unistd::Pid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    street::{PBX, PROVIDER, Street, on},
    support::{
        asterisk::{AMI_SECRET, AMI_USER, Asterisk, Builder},
        process::{self, Process, Running},
        tool,
    },
};

/// The second provider.
pub(crate) const OTHER: &str = "203.0.113.2";
/// MASQUERADE on the WAN, as most routers have it.
pub(crate) const MASQUERADE: &str = "table ip mine\ndelete table ip mine\ntable ip mine {\n\
    chain post {\ntype nat hook postrouting priority 100\noifname \"ppp0\" masquerade\n}\n}";

/// How long the guardian may take to start.
const BOOT: Duration = Duration::from_secs(20);

/// The whole town.
pub(crate) struct Town {
    pub(crate) pbx: Asterisk,
    pub(crate) provider: Asterisk,
    pub(crate) other: Asterisk,
    pub(crate) street: Street,
}

impl Town {
    /// Everything is up and registered, with these rules on the router.
    pub(crate) fn new(rules: &str) -> Self {
        Self::with(rules, 10, |pbx| pbx)
    }

    /// The same with a refresh in seconds that both providers grant, and a PBX that is changed.
    pub(crate) fn with(rules: &str, refresh: u32, change: impl Fn(Builder) -> Builder) -> Self {
        let street = Street::new();
        street
            .net
            .ip(&["address add 203.0.113.2/32 dev lo"])
            .unwrap();
        street.nft(rules);
        let registrar = |ip: &str| {
            let ip: std::net::IpAddr = ip.parse().unwrap();
            Asterisk::registrar(ip)
                .refresh(refresh)
                .start(&on(&street.net))
        };
        let (provider, other) = (registrar(PROVIDER), registrar(OTHER));
        let ip: std::net::IpAddr = PBX.parse().unwrap();
        let builder = Asterisk::client(ip, provider.address())
            .refresh_between(10, 3600)
            .register("alice")
            .general("register => bob:s3cret@203.0.113.2");
        let pbx = change(builder).start(&on(&street.pbx));
        let town = Self {
            pbx,
            provider,
            other,
            street,
        };
        town.pbx.wait_for_registration("bob");
        town
    }

    /// Starts the guardian on a host; `more` is added to its configuration.
    pub(crate) fn guardian<'a>(
        &'a self,
        host: &'a Namespace,
        options: &str,
        more: &str,
    ) -> Guardian<'a> {
        self.guardian_as(host, options, more, |text| text)
    }

    /// The same with a configuration that is changed.
    pub(crate) fn guardian_as<'a>(
        &'a self,
        host: &'a Namespace,
        options: &str,
        more: &str,
        change: impl Fn(String) -> String,
    ) -> Guardian<'a> {
        let folder = self.configured(more, change);
        self.start(folder, host, options, |_| {})
    }

    fn configured(&self, more: &str, change: impl Fn(String) -> String) -> TempDir {
        let folder = TempDir::with_prefix("watch-").unwrap();
        let secret = folder.path().join("ami.secret");
        fs::write(&secret, AMI_SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let ami = self.pbx.ami();
        let (program, config) = self.pbx.program_and_configuration();
        let at = folder.path().display();
        let mut text = String::new();
        let remedies = match (more.contains("remedies ="), more.contains("router = true")) {
            (true, _) => "",
            (_, true) => {
                "remedies = [\"hold\", \"delete-entry\", \"quiet\", \"reregister\", \"keep-open\", \"notify\"]"
            }
            (_, false) => {
                "remedies = [\"hold\", \"quiet\", \"reregister\", \"keep-open\", \"notify\"]"
            }
        };
        let (first, rest) = more.split_once('\u{0}').unwrap_or(("", more));
        write!(
            text,
            "[[provider]]\nname = \"main\"\nhost = \"{PROVIDER}\"\nuser = \"alice\"\n{remedies}\n{first}\n\
             [[provider]]\nname = \"other\"\nhost = \"{OTHER}\"\nuser = \"bob\"\n{remedies}\n{first}\n\
             [files]\nstate = \"{at}/watch.json\"\nincidents = \"{at}/incidents.jsonl\"\n\
             socket = \"{at}/watch.sock\"\n\
             [asterisk]\nami = \"{ami}\"\nami_user = \"{AMI_USER}\"\nami_secret_file = \"ami.secret\"\n\
             program = \"{}\"\nconfig = \"{}\"\n{rest}\n",
            program.display(),
            config.display()
        )
        .unwrap();
        fs::write(folder.path().join("watch.toml"), change(text)).unwrap();
        folder
    }

    /// The same with a command that is changed before it is started.
    pub(crate) fn guardian_with<'a>(
        &'a self,
        host: &'a Namespace,
        more: &str,
        change: impl Fn(&mut Command) + 'a,
    ) -> Guardian<'a> {
        let folder = self.configured(more, |text| text);
        self.start(folder, host, "", change)
    }

    fn start<'a>(
        &'a self,
        folder: TempDir,
        host: &'a Namespace,
        options: &str,
        change: impl Fn(&mut Command) + 'a,
    ) -> Guardian<'a> {
        let mut guardian = Guardian {
            town: self,
            folder,
            options: options.to_owned(),
            host,
            change: Box::new(change),
            running: None,
        };
        guardian.start();
        guardian
    }

    /// Kills the PBX's Asterisk and starts another one with its configuration.
    pub(crate) fn restart(&self) -> Process {
        let pid = Pid::from_raw(self.pbx.pid().try_into().unwrap());
        kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        let (program, config) = self.pbx.program_and_configuration();
        let log = config.with_file_name("restarted");
        let mut command = Command::new(program);
        command.args(["-f", "-C"]).arg(config);
        Process::start(&mut command, &on(&self.street.pbx), &log)
    }

    /// The line of an account in the PBX's registry.
    pub(crate) fn registry(&self, account: &str) -> String {
        let text = self.pbx.cli("iax2 show registry");
        let line = text
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(account));
        line.unwrap_or_default().to_owned()
    }

    /// The router's entries of the flow to a provider.
    pub(crate) fn entries(&self, provider: &str) -> String {
        let mut command = Command::new("conntrack");
        command.args(["-L", "-p", "udp", "-s", PBX, "-d", provider]);
        let ended = process::run(
            &mut command,
            &on(&self.street.router),
            Duration::from_secs(10),
        );
        ended.stdout
    }

    /// Whether the flow to a provider goes out as `public` and is answered.
    pub(crate) fn gets_through(&self, provider: &str, public: &str) -> bool {
        self.entries(provider)
            .lines()
            .any(|line| line.contains(&format!("dst={public} ")) && !line.contains("[UNREPLIED]"))
    }

    /// Waits until it does; how long that took.
    pub(crate) fn wait_until_through(&self, public: &str, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        process::poll(patience, || {
            self.gets_through(PROVIDER, public).then(|| began.elapsed())
        })
    }

    /// Makes the router forget the flow to the main provider: the next packet makes a new entry.
    pub(crate) fn forget(&self) {
        let mut command = Command::new("conntrack");
        command.args(["-D", "-p", "udp", "-s", PBX, "-d", PROVIDER]);
        process::run(
            &mut command,
            &on(&self.street.router),
            Duration::from_secs(10),
        );
    }

    /// The table of ours on a host, where it is.
    pub(crate) fn left_in_nft(host: &Namespace) -> String {
        let mut command = Command::new("nft");
        command.args(["list", "ruleset"]);
        process::run(&mut command, &on(host), Duration::from_secs(10)).stdout
    }
}

/// A guardian that runs.
pub(crate) struct Guardian<'a> {
    town: &'a Town,
    folder: TempDir,
    options: String,
    host: &'a Namespace,
    change: Box<dyn Fn(&mut Command) + 'a>,
    running: Option<Running>,
}

impl Guardian<'_> {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let config = self.folder.path().join("watch.toml");
        let line = format!("watch -v --config {} {}", config.display(), self.options);
        let mut command = tool::command(&line);
        (self.change)(&mut command);
        self.running = Some(Running::start(&mut command, &on(self.host)));
        let ready = process::poll(BOOT, || self.status());
        assert!(ready.is_some(), "no guardian:\n{}", self.log());
    }

    /// Kills it, at once.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    pub(crate) fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    pub(crate) fn take(&mut self) -> Running {
        self.running.take().unwrap()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// What it logs.
    pub(crate) fn log(&self) -> String {
        self.running
            .as_ref()
            .map(Running::stderr)
            .unwrap_or_default()
    }

    /// What `watch status` says; `None` where it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        let config = self.folder.path().join("watch.toml");
        let line = format!("watch status --json --config {}", config.display());
        let ended = tool::run(&mut tool::command(&line), &process::plain);
        serde_json::from_str(&ended.stdout).ok()
    }

    /// The state of a provider.
    pub(crate) fn state(&self, provider: &str) -> String {
        let status = self.status().unwrap_or_default();
        let providers = status["providers"].as_array().cloned().unwrap_or_default();
        let found = providers.iter().find(|it| it["name"] == provider);
        found.map_or(String::new(), |it| it["state"].as_str().unwrap().to_owned())
    }

    /// Waits until a provider is in a state.
    pub(crate) fn wait_for(&self, provider: &str, state: &str, patience: Duration) {
        let found = process::poll(patience, || (self.state(provider) == state).then_some(()));
        assert!(
            found.is_some(),
            "{provider} does not become {state}: {:#}\n{}\n{}",
            self.status().unwrap_or_default(),
            self.log(),
            self.town.pbx.cli("iax2 show registry"),
        );
    }

    /// The incidents that have ended.
    pub(crate) fn incidents(&self) -> Vec<Value> {
        let text = process::read_lossy(&self.folder.path().join("incidents.jsonl"));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits for this many incidents of a provider.
    pub(crate) fn wait_for_incidents(
        &self,
        provider: &str,
        count: usize,
        patience: Duration,
    ) -> Vec<Value> {
        let found = process::poll(patience, || {
            let mut incidents = self.incidents();
            incidents.retain(|incident| incident["provider"] == provider);
            (incidents.len() >= count).then_some(incidents)
        });
        found.unwrap_or_else(|| {
            panic!(
                "no incident of {provider} has ended: {:#}\n{}",
                self.status().unwrap_or_default(),
                self.log()
            )
        })
    }

    /// The kinds of the actions that it has decided on, as its log says.
    pub(crate) fn decided(&self, provider: &str) -> Vec<String> {
        let mark = format!("provider=\"{provider}\" action=\"");
        self.log()
            .lines()
            .filter(|line| line.contains(" WARN "))
            .filter_map(|line| {
                let (_, rest) = line.split_once(&mark)?;
                Some(rest.split('"').next()?.to_owned())
            })
            .collect()
    }
}
