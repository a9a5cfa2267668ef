//! Keepalives: four zero octets from the PBX's own address and port, which no IAX2 peer answers or logs.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    os::{
        inject::{self, Datagram},
        route::{Passing, Routing},
    },
    types::PeerAddr,
    watch::setup::Asterisk,
};

/// An empty meta frame to Asterisk, Yate and libiax2.
pub(in crate::watch) const KEEPALIVE: [u8; 4] = [0; 4];
/// The time to live of what this host sends itself.
const TTL: u8 = 64;

/// Whose mappings are kept open.
#[derive(Debug, Default)]
pub(super) struct KeepOpen(BTreeMap<PeerAddr, Job>);

#[derive(Debug)]
struct Job {
    every: Duration,
    ttl: u8,
    due: Instant,
}

impl KeepOpen {
    pub(super) fn begin(&mut self, peers: &[PeerAddr], every: Duration, ttl: Option<u8>) {
        for peer in peers {
            let job = Job {
                every,
                ttl: ttl.unwrap_or(TTL),
                due: Instant::now(),
            };
            self.0.insert(*peer, job);
        }
    }

    pub(super) fn stop(&mut self, peers: &[PeerAddr]) {
        self.0.retain(|peer, _| !peers.contains(peer));
    }

    /// Waits until a keepalive is due.
    pub(super) async fn due(&self) {
        match self.0.values().map(|job| job.due).min() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Sends what is due.
    pub(super) async fn send(&mut self, asterisk: &Asterisk) {
        let now = Instant::now();
        for (peer, job) in self.0.iter_mut().filter(|(_, job)| job.due <= now) {
            job.due = now + job.every;
            let (peer, ttl, asterisk) = (peer.get(), job.ttl, asterisk.clone());
            // A neighbour that is not known yet is waited for.
            let sent = tokio::task::spawn_blocking(move || one(&asterisk, peer, ttl)).await;
            match sent {
                Ok(Ok(())) => tracing::debug!("keepalive to {peer}, TTL {ttl}"),
                Ok(Err(error)) => tracing::warn!("{error}"),
                Err(error) => tracing::error!("a keepalive to {peer} was not sent: {error}"),
            }
        }
    }
}

fn one(asterisk: &Asterisk, peer: SocketAddr, ttl: u8) -> Result<(), crate::os::OsError> {
    let no_way = |what| crate::os::OsError::NoWay {
        to: peer.ip(),
        what,
    };
    let way = Routing::open()?
        .way(peer.ip(), Passing::default())?
        .ok_or(no_way("there is no route"))?;
    let source = asterisk
        .behind
        .or(way.source)
        .ok_or(no_way("this host has no address there"))?;
    inject::send(
        way,
        Datagram {
            source: SocketAddr::new(source, asterisk.port),
            destination: peer,
            ttl,
            payload: &KEEPALIVE,
        },
    )
}
