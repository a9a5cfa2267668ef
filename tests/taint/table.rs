//! The kernel's tables as `os` reads them, beside what `conntrack` and `ip` say.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    lab::kernel::Namespace,
    os::{
        conntrack::{Entry, Event, Events, Flow, Table, Wanted},
        route::{Changes, Passing, Routing},
        sysctl,
    },
};

const IAX2: u16 = 4569;

/// A namespace in which connections are tracked, and that has two ways out.
fn router() -> Namespace {
    let router = Namespace::new("router").unwrap();
    router
        .ip(&[
            "link add wan type veth peer name wan-far",
            "link add lan type veth peer name lan-far",
            "link set wan-far up",
            "link set lan-far up",
            "link set wan up",
            "link set lan up",
            "address add 198.51.100.7/24 dev wan",
            "address add 192.168.1.1/24 dev lan",
            "address add 2001:db8:7::7/64 dev wan nodad",
            "route add default via 198.51.100.1",
            "route add 203.0.113.128/25 dev lan",
            "route add blackhole 203.0.113.64/26",
        ])
        .unwrap();
    router.forward().unwrap();
    router
        .nft("table inet track { chain in { type filter hook prerouting priority 0; ct state new\n }\n }\n")
        .unwrap();
    router
}

/// Has the program `conntrack` make entries.
fn make(router: &Namespace, arguments: &str) {
    let mut command = Command::new("conntrack");
    command.args(arguments.split(' '));
    let output = router.run(|| command.output()).unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
}

pub(crate) fn insert(router: &Namespace, source: &str, ports: (u16, u16), more: &str) {
    let destination = if source.contains(':') {
        "2001:db8::1"
    } else {
        "203.0.113.1"
    };
    let (sport, dport) = ports;
    make(
        router,
        &format!(
            "-I -p udp -s {source} -d {destination} --sport {sport} --dport {dport} --timeout 100{more}"
        ),
    );
}

fn open(router: &Namespace) -> Table {
    router.run(Table::open).unwrap().unwrap()
}

fn wanted() -> Wanted {
    Wanted {
        port: IAX2,
        peers: vec![],
    }
}

fn sources(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| entry.original.source.to_string())
        .collect()
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn the_entries_of_a_port_are_found_in_both_families_and_all_zones() {
    let router = router();
    insert(&router, "192.168.1.10", (4569, 4569), "");
    insert(&router, "192.168.1.11", (40_000, 4569), "");
    insert(&router, "192.168.1.12", (4569, 40_000), "");
    insert(&router, "192.168.1.13", (40_000, 40_000), "");
    insert(&router, "192.168.1.14", (4569, 4569), " -w 7");
    insert(&router, "fd00::10", (4569, 4569), "");
    make(
        &router,
        "-I -p tcp -s 192.168.1.15 -d 203.0.113.1 --sport 4569 --dport 4569 --timeout 100 --state ESTABLISHED",
    );
    let mut table = open(&router);
    let entries = table.entries(&wanted()).unwrap();
    assert_eq!(
        sources(&entries),
        [
            "192.168.1.10:4569",
            "192.168.1.11:40000",
            "192.168.1.12:4569",
            "192.168.1.14:4569",
            "[fd00::10]:4569"
        ]
    );
    for entry in &entries {
        assert_eq!(entry.reply.source, entry.original.destination);
        assert_eq!(entry.reply.destination, entry.original.source);
        assert!(entry.id.is_some() && !entry.assured, "{entry:?}");
        let left = entry.expires.unwrap().as_secs();
        assert!((80..=100).contains(&left), "{left}");
        let zone = if entry.original.source.ip().to_string().ends_with(".14") {
            7
        } else {
            0
        };
        assert_eq!(entry.zone, zone);
        assert_eq!(
            table.get(entry.original, zone).unwrap().map(|got| got.id),
            Some(entry.id)
        );
    }
    let peers = vec!["2001:db8::1".parse().unwrap()];
    let of_peer = table.entries(&Wanted { port: IAX2, peers }).unwrap();
    assert_eq!(sources(&of_peer), ["[fd00::10]:4569"]);
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn one_entry_is_deleted_and_never_its_successor() {
    let router = router();
    for host in 10..13 {
        insert(&router, &format!("192.168.1.{host}"), (4569, 4569), "");
    }
    insert(&router, "192.168.1.10", (4569, 4569), " -w 7");
    let mut table = open(&router);
    let before = table.entries(&wanted()).unwrap();
    assert_eq!(before.len(), 4);
    let first = before[0];
    assert!(table.delete(&first).unwrap());
    assert_eq!(
        table.entries(&wanted()).unwrap().len(),
        3,
        "one and no other"
    );
    assert!(!table.delete(&first).unwrap(), "it has gone");
    assert_eq!(table.get(first.original, 0).unwrap(), None);
    // The same flow again, translated otherwise, is another entry, which was not judged.
    insert(
        &router,
        "192.168.1.10",
        (4569, 4569),
        " --reply-src 203.0.113.1 --reply-dst 198.51.100.7 --reply-port-src 4569 --reply-port-dst 4569",
    );
    assert!(!table.delete(&first).unwrap());
    assert_eq!(table.entries(&wanted()).unwrap().len(), 4);
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn events_tell_what_happens_and_say_when_some_are_lost() {
    let router = router();
    let mut events = router.run(Events::open).unwrap().unwrap();
    insert(&router, "192.168.1.10", (4569, 4569), "");
    let mut table = open(&router);
    let entry = table.entries(&wanted()).unwrap()[0];
    table.delete(&entry).unwrap();
    let mut seen = vec![];
    events.take(|event| seen.push(event)).unwrap();
    let of = |event: &Event| match event {
        Event::Made(entry) => Some(("made", entry.original)),
        Event::Changed(entry) => Some(("changed", entry.original)),
        Event::Gone(entry) => Some(("gone", entry.original)),
        Event::Lost => None,
    };
    let told: Vec<_> = seen.iter().filter_map(of).collect();
    assert_eq!(told.first(), Some(&("made", entry.original)), "{seen:?}");
    assert_eq!(told.last(), Some(&("gone", entry.original)), "{seen:?}");

    // Far more than fit while nobody takes them.
    fill(&router, 100_000);
    let (mut made, mut lost) = (0, 0);
    events
        .take(|event| match event {
            Event::Made(_) => made += 1,
            Event::Lost => lost += 1,
            Event::Changed(_) | Event::Gone(_) => {}
        })
        .unwrap();
    assert!(lost > 0, "{made} made, none lost");
    assert!(made > 1000, "{made}");
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn events_keep_up_with_50_000_new_entries_a_second() {
    let router = router();
    let mut events = router.run(Events::open).unwrap().unwrap();
    let wanted = 50_000;
    let text = restore(wanted);
    let began = Instant::now();
    let mut child = {
        let mut command = Command::new("conntrack");
        command.args(["-R", text.path().to_str().unwrap()]);
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        router.command(&mut command).unwrap()
    };
    let (mut made, mut lost) = (0, 0);
    while made + lost < wanted && began.elapsed() < Duration::from_secs(60) {
        events
            .take(|event| match event {
                Event::Made(_) => made += 1,
                Event::Lost => lost = wanted,
                Event::Changed(_) | Event::Gone(_) => {}
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    assert!(child.wait().unwrap().success());
    println!("{made} of {wanted} events in {:.2} s", took.as_secs_f64());
    assert!(
        made >= wanted || lost > 0,
        "{made} of {wanted} and none called lost"
    );
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn links_addresses_and_ways_are_those_of_the_namespace() {
    let router = router();
    let mut routing = router.run(Routing::open).unwrap().unwrap();
    let mut changes = router.run(Changes::open).unwrap().unwrap();
    let links = routing.links().unwrap();
    let index = |name: &str| links.iter().find(|link| link.name == name).unwrap().index;
    let addresses = routing.addresses().unwrap();
    let has = |link: &str, ip: &str, prefix: u8| {
        let ip: IpAddr = ip.parse().unwrap();
        addresses
            .iter()
            .any(|at| (at.link, at.ip, at.prefix, at.valid) == (index(link), ip, prefix, None))
    };
    assert!(has("wan", "198.51.100.7", 24) && has("lan", "192.168.1.1", 24));
    assert!(has("wan", "2001:db8:7::7", 64));
    let defaults: Vec<_> = routing
        .routes()
        .unwrap()
        .into_iter()
        .filter(iax2_natcheck::os::route::Route::is_default)
        .collect();
    assert_eq!(defaults.len(), 1, "{defaults:?}");
    assert_eq!(defaults[0].links, [index("wan")]);

    let passing = Passing {
        from: Some(("192.168.1.10".parse().unwrap(), index("lan"))),
        mark: 0,
        ports: Some((IAX2, IAX2)),
    };
    for (to, link, gateway) in [
        ("203.0.113.1", Some("wan"), Some("198.51.100.1")),
        ("203.0.113.200", Some("lan"), None),
        ("203.0.113.65", None, None), // into the black hole
        ("198.51.100.7", None, None), // the router itself
    ] {
        for passing in [passing, Passing::default()] {
            let way = routing.way(to.parse().unwrap(), passing).unwrap();
            assert_eq!(way.map(|way| way.link), link.map(index), "{to} {passing:?}");
            let gateway = gateway.map(|gateway| gateway.parse().unwrap());
            assert_eq!(way.and_then(|way| way.gateway), gateway, "{to}");
        }
    }
    // A rule that follows marks is followed.
    router
        .ip(&[
            "route add default dev lan table 99",
            "rule add fwmark 5 lookup 99",
        ])
        .unwrap();
    let marked = Passing { mark: 5, ..passing };
    let to = "203.0.113.1".parse().unwrap();
    let way = routing.way(to, marked).unwrap().unwrap();
    assert_eq!(way.link, index("lan"));

    assert!(changes.seen().unwrap(), "the route was added");
    assert!(!changes.seen().unwrap());
    router
        .ip(&["address add 198.51.100.9 peer 198.51.100.10/32 dev wan valid_lft 100 preferred_lft 100"])
        .unwrap();
    assert!(changes.seen().unwrap());
    let added = routing.addresses().unwrap();
    let added = added
        .iter()
        .find(|address| address.ip.to_string() == "198.51.100.9")
        .unwrap();
    assert_eq!(added.peer, "198.51.100.10".parse().ok());
    assert!(added.valid.unwrap() <= Duration::from_secs(100));
}

#[test]
#[ignore = "needs network namespaces, ip, nft and conntrack"]
fn timers_and_use_are_those_of_the_namespace() {
    let router = router();
    router.udp_timeouts(17, 71).unwrap();
    let timers = router.run(sysctl::timers).unwrap().unwrap();
    assert_eq!((timers.udp.as_secs(), timers.stream.as_secs()), (17, 71));
    insert(&router, "192.168.1.10", (4569, 4569), "");
    let table = router.run(sysctl::table_use).unwrap().unwrap();
    assert_eq!(table.entries, 1);
    let most = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    assert_eq!(table.most.to_string(), most.trim());
    assert_eq!(router.run(sysctl::counts_packets).unwrap(), Some(false));
    assert!(router.run(sysctl::forwards).unwrap());
    assert_eq!(router.run(sysctl::policies).unwrap(), []);
    router
        .nft(
            "table ip mine {\nct timeout iax {\nprotocol udp;\nl3proto ip\n\
             policy = { unreplied : 7, replied : 9 }\n}\n}\n",
        )
        .unwrap();
    let policies = router.run(sysctl::policies).unwrap();
    let seconds: Vec<_> = policies
        .iter()
        .map(|policy| (policy.udp.as_secs(), policy.stream.as_secs()))
        .collect();
    assert_eq!(seconds, [(7, 9)]);
}

#[test]
fn a_flow_reads_as_an_arrow() {
    let flow = Flow {
        source: "[fd00::10]:4569".parse().unwrap(),
        destination: "[2001:db8::1]:4569".parse().unwrap(),
    };
    assert_eq!(flow.to_string(), "[fd00::10]:4569 → [2001:db8::1]:4569");
}

/// A file of this many entries in the form that `conntrack -R` reads.
fn restore(entries: u32) -> tempfile::NamedTempFile {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..entries {
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(
            text,
            "-A -t 300 -u SEEN_REPLY,ASSURED -s 10.{a}.{b}.{c} -d 203.0.113.1 -r 203.0.113.1 \
             -q 198.51.100.7 -p udp --sport 5060 --dport 5060 --reply-port-src 5060 \
             --reply-port-dst {}",
            1024 + number % 60_000
        )
        .unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

pub(crate) fn fill(router: &Namespace, entries: u32) {
    let file = restore(entries);
    make(router, &format!("-R {}", file.path().display()));
}
