//! The addresses of the providers: of those that are names, looked up again and again.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    guard::observation::{Observer, Seen},
    net::resolve::{Dns, Host, Service, resolve},
    types::PeerAddr,
    watch::{
        observe::{Common, Peers, Sight},
        setup::Provider,
    },
};

/// From one lookup to the next.
const EVERY: Duration = Duration::from_secs(100);
/// The same while a name does not resolve.
const FAILING: Duration = Duration::from_secs(10);

/// Looks the names up, for ever.
pub(in crate::watch) async fn run(
    common: Common,
    providers: Vec<Provider>,
    peers: watch::Sender<Peers>,
) {
    let dns = if providers.iter().any(asks_names) {
        Some(Dns::system())
    } else {
        None
    };
    let mut sight = Sight::new(Observer::Resolver);
    loop {
        let mut failing = false;
        let mut found_all = vec![];
        for (provider, known) in providers.iter().zip(common.providers()) {
            let (id, known) = known;
            let found = match literal(provider) {
                Some(peer) => vec![peer],
                None => match &dns {
                    Some(dns) => look_up(provider, dns).await,
                    None => vec![],
                },
            };
            failing |= found.is_empty();
            common
                .tell(Seen::Resolved {
                    provider: id,
                    peers: found.clone(),
                })
                .await;
            // A name that does not resolve now has not moved.
            found_all.push(if found.is_empty() { known } else { found });
        }
        sight.sees(&common).await;
        peers.send_if_modified(|peers| {
            let changed = *peers != found_all;
            if changed {
                *peers = found_all;
            }
            changed
        });
        tokio::time::sleep(if failing { FAILING } else { EVERY }).await;
    }
}

fn asks_names(provider: &Provider) -> bool {
    literal(provider).is_none()
}

/// The address that the configuration itself names.
fn literal(provider: &Provider) -> Option<PeerAddr> {
    let port = provider.target.port.unwrap_or(Service::IAX2.port);
    match provider.target.host {
        Host::Address(ip) => Some(PeerAddr::new((ip, port).into())),
        Host::Name(_) => None,
    }
}

/// The addresses in an order of their own: servers turn them round at each answer.
async fn look_up(provider: &Provider, dns: &Dns) -> Vec<PeerAddr> {
    match resolve(&provider.target, Service::IAX2, dns).await {
        Ok(found) => {
            let mut peers: Vec<_> = found.into_iter().map(|found| found.address).collect();
            peers.sort_by_key(|peer| peer.get());
            peers.dedup();
            peers
        }
        Err(error) => {
            tracing::debug!("{}: {error}", provider.name);
            vec![]
        }
    }
}
