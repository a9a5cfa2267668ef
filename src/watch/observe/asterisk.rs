//! Asterisk itself: its registrations and calls, by its manager interface or its command line.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    guard::observation::{Audio, CallUp, Observer, Process, ProviderId, RegistryState, Seen},
    net::clock,
    os::{
        OsError,
        asterisk::{Cli, RegistryEntry, manager::Manager},
    },
    types::PeerAddr,
    watch::{
        observe::{Common, Sight},
        setup::{Asterisk, Provider},
    },
};

/// After a session that ended, the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// After a refused login: somebody has to change something first.
const REFUSED: Duration = Duration::from_secs(60);
/// A call in which one direction has been silent for this long is dead.
const SILENT: Duration = Duration::from_secs(30);

/// Watches Asterisk, for ever.
pub(in crate::watch) async fn run(common: Common, asterisk: Asterisk, providers: Vec<Provider>) {
    let mut observer = AsteriskObserver {
        common,
        providers,
        sight: Sight::new(Observer::Asterisk),
        calls: BTreeMap::new(),
    };
    match asterisk.manager {
        Some(login) => loop {
            let error = match Manager::connect(&login).await {
                Ok(mut manager) => observer.session(&mut manager).await,
                Err(error) => error,
            };
            observer.failed(&error).await;
            let pause = if matches!(error, OsError::ManagerLogin { .. }) {
                REFUSED
            } else {
                RETRY
            };
            tokio::time::sleep(pause).await;
        },
        None => loop {
            if let Err(error) = observer.look_by_cli(&asterisk.cli).await {
                observer.failed(&error).await;
            }
            let every = observer.common.most_often(|cadence| cadence.registry);
            // What this look has said itself is no reason for the next one.
            observer.common.nudges().pause(every).await;
        },
    }
}

struct AsteriskObserver {
    common: Common,
    providers: Vec<Provider>,
    sight: Sight,
    /// The calls that are up, and since when they have been seen.
    calls: BTreeMap<String, Instant>,
}

impl AsteriskObserver {
    /// One session, until it ends.
    async fn session(&mut self, manager: &mut Manager) -> OsError {
        // What waits for Asterisk to come back need not wait longer.
        self.common.nudge();
        let mut nudges = self.common.nudges();
        loop {
            if let Err(error) = self.look(manager).await {
                return error;
            }
            let began = tokio::time::Instant::now();
            let mut cadence = self.common.cadence.clone();
            loop {
                cadence.borrow_and_update();
                let every = self.common.most_often(|cadence| cadence.registry);
                tokio::select! {
                    () = tokio::time::sleep_until(began + every) => break,
                    () = nudges.next() => break,
                    changed = cadence.changed() => if changed.is_err() { std::future::pending().await },
                    told = manager.told() => match told {
                        Ok(_) => break,
                        Err(error) => return error,
                    },
                }
            }
        }
    }

    async fn look(&mut self, manager: &mut Manager) -> Result<(), OsError> {
        let registry = match manager.registry().await {
            Err(OsError::NoIax2 { .. }) => {
                self.no_module().await;
                return Ok(());
            }
            registry => registry?,
        };
        let mut channels = manager.channels().await?;
        channels.retain(|channel| channel.state != "Down");
        let peers = if channels.is_empty() {
            vec![]
        } else {
            manager.peers().await?
        };
        let calls = channels.into_iter().map(|channel| {
            let address = peers
                .iter()
                .find(|peer| peer.name == channel.peer())
                .and_then(|peer| peer.address)
                .or_else(|| address_in(channel.peer()));
            (channel.name, address)
        });
        let calls: Vec<_> = calls.collect();
        self.seen(&registry, calls).await;
        Ok(())
    }

    async fn look_by_cli(&mut self, cli: &Cli) -> Result<(), OsError> {
        let registry = match cli.registry().await {
            Err(OsError::NoIax2 { .. }) => {
                self.no_module().await;
                return Ok(());
            }
            registry => registry?,
        };
        let channels = cli.channels().await?;
        let peers = if channels.is_empty() {
            vec![]
        } else {
            cli.peers().await?
        };
        let calls = channels.into_iter().map(|channel| {
            let host = peers
                .iter()
                // Asterisk cuts the names of peers in that table.
                .find(|peer| channel.peer().starts_with(peer.name.as_str()))
                .and_then(|peer| peer.host.as_ref()?.parse().ok());
            let address = host.or_else(|| address_in(channel.peer()));
            (channel.name, address)
        });
        let calls: Vec<_> = calls.collect();
        self.seen(&registry, calls).await;
        Ok(())
    }

    async fn seen(
        &mut self,
        registry: &[RegistryEntry],
        calls: Vec<(String, Option<std::net::IpAddr>)>,
    ) {
        self.sight.sees(&self.common).await;
        self.common.tell(Seen::Asterisk(Process::Up)).await;
        let watched = self.common.providers();
        for ((provider, peers), configured) in watched.iter().zip(&self.providers) {
            let line = line_of(registry, configured, peers);
            self.common.tell(registry_seen(*provider, line)).await;
        }
        let now = clock::now();
        self.calls
            .retain(|name, _| calls.iter().any(|(other, _)| other == name));
        let mut up = vec![];
        for (name, address) in calls {
            let since = *self.calls.entry(name).or_insert(now);
            let provider = address.and_then(|address| {
                watched
                    .iter()
                    .find(|(_, peers)| peers.iter().any(|peer| peer.get().ip() == address))
                    .map(|(provider, _)| *provider)
            });
            let audio =
                provider.map_or(Audio::NotKnown, |provider| self.audio(provider, since, now));
            up.push(CallUp { provider, audio });
        }
        self.common.tell(Seen::Calls(up)).await;
    }

    /// Whether calls with a provider carry audio, by what the capture has seen.
    fn audio(&self, provider: ProviderId, since: Instant, now: Instant) -> Audio {
        self.common.shared.with(|facts| {
            let Some(capturing) = facts.capturing else {
                return Audio::NotKnown;
            };
            let (received, sent) = facts.audio.get(&provider).copied().unwrap_or_default();
            let fresh = |seen: Option<Instant>| {
                seen.is_some_and(|seen| now.saturating_duration_since(seen) < SILENT)
            };
            if fresh(received) && fresh(sent) {
                Audio::Both
            } else if now.saturating_duration_since(since.max(capturing)) >= SILENT {
                Audio::Dead
            } else {
                Audio::NotKnown
            }
        })
    }

    async fn no_module(&mut self) {
        self.sight.sees(&self.common).await;
        self.calls.clear();
        self.common.tell(Seen::Asterisk(Process::NoModule)).await;
        self.common.tell(Seen::Calls(vec![])).await;
    }

    async fn failed(&mut self, error: &OsError) {
        self.calls.clear();
        if matches!(error, OsError::NotRunning) {
            self.common.tell(Seen::Asterisk(Process::Down)).await;
        }
        if self.sight.blind(&self.common, error.to_string()).await {
            self.common.nudge();
        }
    }
}

/// The line of a provider: by its address, or by the account where it has moved.
fn line_of<'a>(
    registry: &'a [RegistryEntry],
    configured: &Provider,
    peers: &[PeerAddr],
) -> Option<&'a RegistryEntry> {
    let is_user = |entry: &&RegistryEntry| {
        configured
            .user
            .as_ref()
            .is_none_or(|user| entry.is_user(user))
    };
    let at = registry
        .iter()
        .filter(is_user)
        .find(|entry| peer_of(entry).is_some_and(|peer| peers.contains(&peer)));
    if at.is_some() || configured.user.is_none() {
        return at;
    }
    // The name stands for other addresses now, or did not resolve when Asterisk asked.
    let mut lines = registry.iter().filter(is_user);
    let only = lines.next();
    only.filter(|_| lines.next().is_none())
}

fn peer_of(entry: &RegistryEntry) -> Option<PeerAddr> {
    let address: SocketAddr = entry.host.as_ref()?.parse().ok()?;
    Some(PeerAddr::new(address))
}

fn registry_seen(provider: ProviderId, line: Option<&RegistryEntry>) -> Seen {
    Seen::Registry {
        provider,
        state: line.map_or(RegistryState::Absent, |line| {
            RegistryState::from_word(&line.state)
        }),
        peer: line.and_then(peer_of),
        perceived: line.and_then(|line| line.perceived),
        refresh: line.map(|line| line.refresh),
    }
}

/// The address in the name of a channel whose peer Asterisk does not know.
fn address_in(peer: &str) -> Option<std::net::IpAddr> {
    peer.parse()
        .ok()
        .or_else(|| Some(peer.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(host: &str, user: &str) -> RegistryEntry {
        RegistryEntry {
            host: Some(host.to_owned()),
            user: user.to_owned(),
            perceived: None,
            refresh: Duration::from_secs(60),
            state: "Registered".to_owned(),
            user_cut: false,
        }
    }

    #[test]
    fn the_line_of_a_provider_is_found_by_address_and_by_account() {
        let registry = [
            line("203.0.113.1:4569", "alice"),
            line("203.0.113.1:4569", "bob"),
            line("203.0.113.9:4569", "carol"),
        ];
        let provider = |user: Option<&str>| Provider {
            name: "one".into(),
            target: "203.0.113.1".parse().unwrap(),
            user: user.map(str::to_owned),
        };
        let peers = [PeerAddr::new("203.0.113.1:4569".parse().unwrap())];
        let user = |user| {
            let line = line_of(&registry, &provider(user), &peers);
            line.map(|line| line.user.as_str())
        };
        assert_eq!(user(None), Some("alice"));
        assert_eq!(user(Some("bob")), Some("bob"));
        assert_eq!(user(Some("carol")), Some("carol"), "the name has moved");
        assert_eq!(user(Some("dave")), None);
        assert_eq!(address_in("203.0.113.1:4569"), "203.0.113.1".parse().ok());
        assert_eq!(address_in("to-alice"), None);
    }
}
