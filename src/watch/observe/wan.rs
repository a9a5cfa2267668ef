//! The way out of this host: its link, its address and its routes, as rtnetlink tells of them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    guard::observation::{Observer, Seen, Wan},
    os::{
        OsError,
        route::{Changes, Passing, Routing},
    },
    watch::observe::{AGAIN, Common, Sight},
};

/// Changes come in bunches: what belongs together is waited for.
const SETTLE: Duration = Duration::from_millis(50);
/// A link that comes and goes all the time is not looked at more often.
const LEAST: Duration = Duration::from_millis(200);

/// Watches the way out, for ever.
pub(in crate::watch) async fn run(common: Common, named: Option<String>) {
    let mut sight = Sight::new(Observer::Wan);
    loop {
        if let Err(error) = session(&common, named.as_deref(), &mut sight).await {
            sight.blind(&common, error.to_string()).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn session(common: &Common, named: Option<&str>, sight: &mut Sight) -> Result<(), OsError> {
    let mut changes = Changes::open()?;
    let mut routing = Routing::open()?;
    let mut known: Option<Wan> = None;
    let mut link = None;
    let mut peers = common.peers.clone();
    loop {
        let looked = Instant::now();
        let wan = look(&mut routing, common, named, &mut link)?;
        sight.sees(common).await;
        common.tell(Seen::Wan(wan)).await;
        if known.is_some_and(|known| known != wan) {
            common.nudge();
        }
        known = Some(wan);
        tokio::select! {
            told = changes.wait() => {
                told?;
                tokio::time::sleep(SETTLE).await;
                changes.seen()?;
            }
            _ = peers.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
        tokio::time::sleep_until(looked + LEAST).await;
    }
}

/// The way to the first provider that has one; `link` is the one of before, by its number. A way by
/// another interface than the one that the user has `named` does not count.
fn look(
    routing: &mut Routing,
    common: &Common,
    named: Option<&str>,
    link: &mut Option<u32>,
) -> Result<Wan, OsError> {
    let peers: Vec<SocketAddr> = common
        .providers()
        .iter()
        .flat_map(|(_, peers)| peers.iter().map(|peer| peer.get()))
        .collect();
    if peers.is_empty() {
        return Ok(Wan::default());
    }
    let mut way = None;
    for peer in &peers {
        way = routing.way(peer.ip(), Passing::default())?;
        if way.is_some() {
            break;
        }
    }
    let links = routing.links()?;
    if let Some(named) = named {
        let index = links.iter().find(|link| link.name == named);
        // One that has gone comes back with another number.
        *link = index.map(|link| link.index).or(Some(0));
        way = way.filter(|way| Some(way.link) == *link);
    }
    if let Some(way) = way {
        *link = Some(way.link);
    }
    // One that has gone is as good as down.
    let is_up = |index| links.iter().any(|link| link.index == index && link.up);
    let up = link.map(is_up);
    let address = match *link {
        None => None,
        Some(index) => {
            let v4 = peers.iter().any(SocketAddr::is_ipv4);
            let addresses = routing.addresses()?;
            let on_link = |ip: &IpAddr| ip.is_ipv4() == v4;
            addresses
                .iter()
                .filter(|address| address.link == index)
                .map(|address| address.ip)
                .find(on_link)
        }
    };
    Ok(Wan {
        link: up,
        // A link without an address of its own borrows one, and that is not the way out's.
        address: address.filter(|_| way.is_some()),
        has_address: link.map(|_| address.is_some()),
        route: Some(way.is_some()),
    })
}
