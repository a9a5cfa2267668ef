//! POKEs from fresh ports: whether a provider answers somebody who shares no NAT entry with the PBX.

use tokio::time::{Instant, sleep_until};

use crate::{
    guard::observation::{Observer, PokeOutcome, ProviderId, Seen},
    net::poke::{Poked, poke},
    types::PeerAddr,
    watch::observe::{AGAIN, Common, Sight},
};

/// Asks one provider, for ever, as often as the guardian wants it.
pub(in crate::watch) async fn run(common: Common, provider: ProviderId) {
    let mut sight = Sight::new(Observer::Poke);
    let (mut cadence, mut peers) = (common.cadence.clone(), common.peers.clone());
    let place = usize::from(provider.0);
    let mut nudges = common.nudges();
    loop {
        let mut began = Instant::now();
        let mine = peers.borrow_and_update().get(place).cloned();
        let asked = mine.clone().unwrap_or_default();
        loop {
            tokio::select! {
                () = ask(&common, &mut sight, provider, &asked) => break,
                // The way has changed: what was asked on the old one tells nothing of the new one.
                () = nudges.next() => began = Instant::now(),
            }
        }
        loop {
            let every = cadence
                .borrow_and_update()
                .get(place)
                .map_or(AGAIN, |it| it.poke);
            tokio::select! {
                () = sleep_until(began + every) => break,
                () = nudges.next() => break,
                // Sooner from now on, perhaps.
                changed = cadence.changed() => if changed.is_err() { return },
                changed = peers.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if peers.borrow_and_update().get(place) != mine.as_ref() {
                        break;
                    }
                }
            }
        }
    }
}

/// One answer from any address of it is one from the provider.
async fn ask(common: &Common, sight: &mut Sight, provider: ProviderId, peers: &[PeerAddr]) {
    let mut outcome = None;
    for peer in peers {
        let poked = match poke(*peer).await {
            Ok(poked) => poked,
            Err(error) => {
                sight.blind(common, error.to_string()).await;
                return;
            }
        };
        let this = match poked {
            Poked::Answered { rtt } => PokeOutcome::Answered { rtt },
            Poked::Silent => PokeOutcome::Silent,
            Poked::Unreachable => PokeOutcome::Unreachable,
            Poked::NotSent => PokeOutcome::NotSent,
        };
        let answered = matches!(this, PokeOutcome::Answered { .. });
        outcome = Some(this);
        if answered {
            break;
        }
    }
    if let Some(outcome) = outcome {
        sight.sees(common).await;
        common.tell(Seen::Poke { provider, outcome }).await;
    }
}
