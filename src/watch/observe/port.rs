//! What passes between the PBX's own port and the providers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;

use crate::{
    guard::observation::{Observer, OwnPortFrame, ProviderId, Seen},
    net::clock,
    os::capture::{Capture, Passed, Way},
    types::PeerAddr,
    watch::{
        effects::keep_open::KEEPALIVE,
        observe::{Common, Sight},
        own_port,
        setup::Asterisk,
    },
};

/// Frames that say no more than that there was one are told this often.
const SPARSE: Duration = Duration::from_secs(1);
/// After a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Watches the port, for ever.
pub(in crate::watch) async fn run(common: Common, asterisk: Asterisk, interface: Option<String>) {
    let mut sight = Sight::new(Observer::Capture);
    let mut told = BTreeMap::new();
    loop {
        let failed = match Capture::open(asterisk.port) {
            Err(error) => error,
            Ok(mut capture) => {
                sight.sees(&common).await;
                let since = clock::now();
                common.shared.with(|facts| facts.capturing = Some(since));
                loop {
                    match capture.next().await {
                        Ok(passed) if is_on(&passed, interface.as_deref()) => {
                            take(&common, &asterisk, &passed, &mut told).await;
                        }
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                }
            }
        };
        common.shared.with(|facts| facts.capturing = None);
        sight.blind(&common, failed.to_string()).await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn take(
    common: &Common,
    asterisk: &Asterisk,
    passed: &Passed<'_>,
    told: &mut BTreeMap<(ProviderId, Way), Instant>,
) {
    let Some((way, peer)) = of_pbx(common, asterisk, passed) else {
        return;
    };
    let provider = (0..)
        .map(ProviderId)
        .zip(common.peers.borrow().iter())
        .find_map(|(id, peers)| peers.contains(&peer).then_some(id));
    let Some(provider) = provider else {
        return;
    };
    let now = clock::now();
    if own_port::is_audio(passed.payload) {
        common.shared.with(|facts| {
            let (received, sent) = facts.audio.entry(provider).or_default();
            *(if way == Way::In { received } else { sent }) = Some(now);
        });
    }
    if way == Way::Out && passed.payload == KEEPALIVE {
        return; // what the guardian has ordered is no news to it
    }
    let frame = own_port::read(way, passed.payload);
    if matches!(frame, OwnPortFrame::OtherSent | OwnPortFrame::OtherReceived) {
        let last = told.get(&(provider, way));
        if last.is_some_and(|last| now.saturating_duration_since(*last) < SPARSE) {
            return;
        }
        told.insert((provider, way), now);
    }
    common.tell_of(now, Seen::OwnPort { provider, frame }).await;
}

/// Whether it passed the interface that the user has named, where one is.
fn is_on(passed: &Passed<'_>, interface: Option<&str>) -> bool {
    // An interface that was taken down and set up again has another number.
    interface.is_none_or(|name| if_nametoindex(name).is_ok_and(|index| index == passed.link))
}

/// Whether it left the PBX or came in for it, and its far end.
fn of_pbx(common: &Common, asterisk: &Asterisk, passed: &Passed<'_>) -> Option<(Way, PeerAddr)> {
    let (source, destination) = (passed.source, passed.destination);
    match (asterisk.behind, passed.way) {
        (None, Way::Out) if source.port() == asterisk.port => {
            Some((Way::Out, PeerAddr::new(destination)))
        }
        (None, Way::In) if destination.port() == asterisk.port => {
            Some((Way::In, PeerAddr::new(source)))
        }
        // A router sees what its PBX sends come in, and what it gets go out.
        (Some(pbx), Way::In) if (source.ip(), source.port()) == (pbx, asterisk.port) => {
            let peer = PeerAddr::new(destination);
            // What is held has come as far as here, and no further.
            let held = common.shared.with(|facts| facts.held.contains(&peer));
            (!held).then_some((Way::Out, peer))
        }
        (Some(pbx), Way::Out) if (destination.ip(), destination.port()) == (pbx, asterisk.port) => {
            Some((Way::In, PeerAddr::new(source)))
        }
        _ => None,
    }
}
