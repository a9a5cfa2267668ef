//! The entry of the PBX's flow in the table of this router, and what is to be thought of it.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    check::taint::{self, Judged, NatRule, Router},
    guard::observation::{FlowEntry, Observer, ProviderId, Seen, TimerClass},
    os::{
        OsError,
        conntrack::{Entry, Flow, Table, Wanted},
        firewall,
        route::{Passing, Routing},
        sysctl,
    },
    types::PeerAddr,
    watch::{
        observe::{AGAIN, Common, Sight},
        setup::Asterisk,
    },
};

/// The table is not looked at more often.
const LEAST: Duration = Duration::from_millis(200);
/// Rules are read again after this time.
const RULES: Duration = Duration::from_secs(60);
/// The same while an entry looks wrong: the rules may be what has changed.
const RULES_DOUBTED: Duration = Duration::from_secs(2);

/// Looks at the table, for ever.
pub(in crate::watch) async fn run(common: Common, asterisk: Asterisk) {
    let mut sight = Sight::new(Observer::Conntrack);
    loop {
        if let Err(error) = session(&common, &asterisk, &mut sight).await {
            sight.blind(&common, error.to_string()).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn session(common: &Common, asterisk: &Asterisk, sight: &mut Sight) -> Result<(), OsError> {
    let mut look = Look {
        table: Table::open()?,
        routing: Routing::open()?,
        rules: None,
    };
    let mut nudges = common.nudges();
    loop {
        let mut doubted = false;
        for (provider, peers) in common.providers() {
            let entry = look.flow(asterisk, &peers)?;
            doubted |= tell(common, provider, entry).await;
        }
        sight.sees(common).await;
        if doubted {
            look.forget_rules(RULES_DOUBTED);
        }
        let every = common.most_often(|cadence| cadence.entry).min(AGAIN);
        let mut cadence = common.cadence.clone();
        tokio::select! {
            // What has changed may have changed the rules as well.
            early = nudges.pause(every) => if early {
                look.forget_rules(Duration::ZERO);
            },
            _ = cadence.changed() => tokio::time::sleep(LEAST).await,
        }
    }
}

/// Tells it; true where it looks wrong.
async fn tell(common: &Common, provider: ProviderId, entry: Option<(Entry, Judged)>) -> bool {
    let timers = sysctl::timers();
    let wrong = entry
        .as_ref()
        .is_some_and(|(entry, judged)| judged.kind.is_taint() || !entry.seen_reply);
    let entry = entry.map(|(entry, judged)| {
        let class = if entry.assured {
            TimerClass::Stream
        } else {
            TimerClass::Exchange
        };
        let timer = timers.map(|timers| match class {
            TimerClass::Stream => timers.stream,
            TimerClass::Exchange => timers.udp,
        });
        FlowEntry {
            class,
            // A rule may give this flow another one than the kernel's.
            timer: timer.filter(|timer| entry.expires.is_none_or(|left| left <= *timer)),
            left: entry.expires,
            kind: Some(judged.kind),
        }
    });
    common.tell(Seen::Entry { provider, entry }).await;
    wrong
}

struct Look {
    table: Table,
    routing: Routing,
    rules: Option<(Instant, Option<Vec<NatRule>>)>,
}

impl Look {
    /// The entry of the PBX's flow to one of the addresses, the worst one where there are several.
    fn flow(
        &mut self,
        asterisk: &Asterisk,
        peers: &[PeerAddr],
    ) -> Result<Option<(Entry, Judged)>, OsError> {
        let mut found: Option<(Entry, Judged)> = None;
        for entry in entries(&mut self.table, &mut self.routing, asterisk, peers)? {
            let judged = self.judge(&entry)?;
            if found
                .as_ref()
                .is_none_or(|(_, other)| other.kind < judged.kind)
            {
                found = Some((entry, judged));
            }
        }
        Ok(found)
    }

    fn judge(&mut self, entry: &Entry) -> Result<Judged, OsError> {
        self.forget_rules(RULES);
        let links = self.routing.links()?;
        let (_, rules) = self.rules.get_or_insert_with(|| {
            let rules = firewall::translating();
            (
                Instant::now(),
                rules.map(|rules| taint::nat_rules(&rules, &links)),
            )
        });
        let router = Router {
            links,
            addresses: self.routing.addresses()?,
            routes: self.routing.routes()?,
            rules: rules.clone(),
        };
        let routing = &mut self.routing;
        let way = taint::way_out(entry, &router, |to, passing| routing.way(to, passing))?;
        Ok(taint::judge(entry, &router, way, None))
    }

    fn forget_rules(&mut self, older: Duration) {
        if self
            .rules
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() >= older)
        {
            self.rules = None;
        }
    }
}

/// The entries of the PBX's flows to these addresses, whoever sent their first packet.
///
/// # Errors
///
/// Where the table cannot be read.
pub(in crate::watch) fn entries(
    table: &mut Table,
    routing: &mut Routing,
    asterisk: &Asterisk,
    peers: &[PeerAddr],
) -> Result<Vec<Entry>, OsError> {
    let mut found = vec![];
    let mut dumped = None;
    for peer in peers.iter().map(|peer| peer.get()) {
        let from = match asterisk.behind {
            Some(ip) => Some(ip),
            None => routing
                .way(peer.ip(), Passing::default())?
                .and_then(|way| way.source),
        };
        let flow = from.map(|from| Flow {
            source: SocketAddr::new(from, asterisk.port),
            destination: peer,
        });
        // The usual case is one small question; only else the table is gone through.
        if let Some(flow) = flow
            && let Some(entry) = table.get(flow, 0)?
        {
            found.push(entry);
            continue;
        }
        let all = if let Some(all) = &dumped {
            all
        } else {
            let wanted = Wanted {
                port: asterisk.port,
                peers: peers.iter().map(|peer| peer.get().ip()).collect(),
            };
            dumped.insert(table.entries(&wanted)?)
        };
        found.extend(all.iter().filter(|entry| is_of(entry, asterisk, peer)));
    }
    found.dedup();
    Ok(found)
}

fn is_of(entry: &Entry, asterisk: &Asterisk, peer: SocketAddr) -> bool {
    let pbx = |address: SocketAddr| {
        let is_host = |ip: IpAddr| asterisk.behind.is_none_or(|behind| behind == ip);
        address.port() == asterisk.port && is_host(address.ip())
    };
    pbx(entry.original.source) && entry.original.destination == peer
        || entry.original.source == peer && pbx(entry.reply.source)
}
