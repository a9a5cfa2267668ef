//! A home with a PBX, a router with a PPP line and a second way out, and a provider beyond both.
//!
//! ```text
//!                          ppp0 198.51.100.7 ── 198.51.100.1
//! pbx 192.168.1.10 ── lan0 router                            net, provider 203.0.113.1
//!                          eth1 192.168.100.2 ── 192.168.100.1
//! ```

use std::{process::Command, time::Duration};

use iax2_natcheck::lab::kernel::Namespace;

use crate::support::{
    process::{self, Finished},
    site::inside,
    tool,
};

/// Where the provider is.
pub const PROVIDER: &str = "203.0.113.1";
/// The address of the PPP line.
pub const PUBLIC: &str = "198.51.100.7";
/// The one that it gets next, where it changes.
pub const NEXT: &str = "198.51.100.9";
/// The address of the second way out.
pub const SECOND: &str = "192.168.100.2";

/// How long a program of the router may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The home.
pub struct Home {
    /// The host of the PBX.
    pub pbx: Namespace,
    /// The router.
    pub router: Namespace,
    /// The provider's host.
    pub net: Namespace,
}

impl Home {
    /// Builds it, without any rule.
    pub fn new() -> Self {
        let home = Self {
            pbx: Namespace::new("pbx").unwrap(),
            router: Namespace::new("router").unwrap(),
            net: Namespace::new("net").unwrap(),
        };
        // The second way out comes first: a line without an address borrows from the first one.
        home.router.connect("eth1", &home.net, "b0").unwrap();
        home.pbx.connect("eth0", &home.router, "lan0").unwrap();
        home.router.connect("ppp0", &home.net, "a0").unwrap();
        // PPP has no ARP: what is sent arrives, whatever address the other end has just now.
        for (namespace, interface) in [(&home.router, "ppp0"), (&home.net, "a0")] {
            namespace
                .ip(&[&format!(
                    "link set {interface} address 02:00:00:00:00:01 arp off"
                )])
                .unwrap();
        }
        let address = |namespace: &Namespace, order: &str| {
            namespace.ip(&[&format!("address add {order}")]).unwrap();
        };
        address(&home.pbx, "192.168.1.10/24 dev eth0");
        home.pbx.default_route([192, 168, 1, 1].into()).unwrap();
        address(&home.router, "192.168.1.1/24 dev lan0");
        address(&home.router, "192.168.100.2/24 dev eth1");
        home.line_up(PUBLIC);
        address(&home.net, "198.51.100.1/24 dev a0");
        address(&home.net, "192.168.100.1/24 dev b0");
        address(&home.net, "203.0.113.1/32 dev lo");
        for (namespace, interfaces) in [
            (&home.router, vec!["all", "ppp0", "eth1"]),
            (&home.net, vec!["all", "a0", "b0"]),
        ] {
            namespace.forward().unwrap();
            for interface in interfaces {
                let key = format!("net.ipv4.conf.{interface}.rp_filter");
                namespace.setting(&key, "0").unwrap();
            }
        }
        home
    }

    /// Brings the PPP line up with an address and the default route, as pppd does.
    pub fn line_up(&self, address: &str) {
        self.router
            .ip(&[
                "link set ppp0 up",
                &format!("address replace {address} peer 198.51.100.1/32 dev ppp0"),
                "route replace default dev ppp0",
            ])
            .unwrap();
    }

    /// Takes the line down, with its addresses, as pppd does.
    pub fn line_down(&self) {
        self.router
            .ip(&["address flush dev ppp0", "link set ppp0 down"])
            .unwrap();
    }

    /// Adds a default route over the second way out, that counts while the line is down.
    pub fn add_fallback(&self) {
        self.router
            .ip(&["route replace default via 192.168.100.1 dev eth1 metric 100"])
            .unwrap();
    }

    /// Takes it away again.
    pub fn remove_fallback(&self) {
        self.router
            .ip(&["route del default via 192.168.100.1 dev eth1 metric 100"])
            .unwrap();
    }

    /// Runs a line of the shell on the router, which must succeed.
    pub fn sh(&self, line: &str) -> String {
        let finished = self.try_sh(line);
        assert!(finished.status.success(), "{line}: {finished:#?}");
        finished.stdout
    }

    /// Runs a line of the shell on the router.
    pub fn try_sh(&self, line: &str) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        process::run(&mut command, &inside(&self.router), PATIENCE)
    }

    /// What `snat` prints on the router with these options.
    pub fn snat(&self, options: &str) -> String {
        let ended = tool::run(
            &mut tool::command(&format!("snat {options}")),
            &inside(&self.router),
        );
        assert_eq!(ended.status, 0, "{ended:#?}");
        ended.stdout
    }

    /// Empties the NAT table.
    pub fn forget(&self) {
        self.sh("conntrack -F 2>/dev/null");
    }
}
