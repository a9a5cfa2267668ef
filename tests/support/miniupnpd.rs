//! Debian's miniupnpd on a router of the lab: `UPnP`, NAT-PMP and PCP as home routers have them.

use std::{fs, process::Command, time::Duration};

use iax2_natcheck::lab::kernel::Namespace;
use tempfile::TempDir;

use super::{
    process::{self, Process},
    site::inside,
};

/// The router's public address: the program refuses those of documentation and private ones.
pub const EXTERNAL: &str = "11.0.0.7";
/// How long it has to say that it listens.
const BOOT: Duration = Duration::from_secs(10);

/// The chains that the program fills, as its own script makes them.
const CHAINS: &str = "\
table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain forward { type filter hook forward priority 0; jump miniupnpd; }
    chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
}
";

/// The running program; killed on drop.
pub struct Miniupnpd<'a> {
    process: Process,
    router: &'a Namespace,
    _folder: TempDir,
}

impl<'a> Miniupnpd<'a> {
    /// Gives the router [`EXTERNAL`] and starts the program there, with these lines of configuration.
    pub fn start(router: &'a Namespace, server: &Namespace, lines: &str) -> Self {
        router
            .ip(&[
                "address flush dev wan",
                &format!("address add {EXTERNAL}/24 dev wan"),
                "route add default via 11.0.0.1",
            ])
            .unwrap();
        server.ip(&["address add 11.0.0.1/24 dev eth0"]).unwrap();
        router.nft(CHAINS).unwrap();
        let folder = TempDir::with_prefix("miniupnpd-").unwrap();
        let file = folder.path().join("miniupnpd.conf");
        let configuration = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=5000\nsecure_mode=yes\n\
             uuid=00000000-0000-0000-0000-000000000001\n{lines}\n\
             allow 1024-65535 192.168.1.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
        );
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("/usr/sbin/miniupnpd");
        command.arg("-d").arg("-f").arg(&file);
        command.arg("-P").arg(folder.path().join("pid"));
        let log = folder.path().join("log");
        let process = Process::start(&mut command, &inside(router), &log);
        let mut server = Self {
            process,
            router,
            _folder: folder,
        };
        let ready = process::poll(BOOT, || {
            assert!(server.process.is_running(), "{}", server.process.output());
            let output = server.process.output();
            output.contains("HTTP listening on port").then_some(())
        });
        assert!(ready.is_some(), "not ready:\n{}", server.process.output());
        server
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The rules that it keeps for mappings, one a line.
    pub fn mappings(&self) -> Vec<String> {
        let mut list = Command::new("nft");
        list.args(["list", "table", "inet", "filter"]);
        let rules = process::run(&mut list, &inside(self.router), BOOT).stdout;
        let rules = rules.lines().filter(|line| line.contains("dnat"));
        rules.map(|line| line.trim().to_owned()).collect()
    }
}
