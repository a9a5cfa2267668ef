//! The registrations that the guardian holds itself, each from a port of its own.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};

use crate::{
    config::watch::OwnRegistration,
    guard::registrations::{Held, HeldChange, HeldEvent, Registrations},
    net::{
        NetError, clock,
        drive::drive,
        resolve::{Dns, Service, resolve},
        sockets::Sockets,
        udp::Ground,
    },
    proto::auth::Credentials,
    types::PeerAddr,
    watch::observe::{OwnLine, Shared},
};

/// The name is looked up again after this time.
const LOOKUP: Duration = Duration::from_secs(300);
/// After a failure of this host's it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Holds one of them, for ever. `mapping` is how long the NAT keeps it, where that is known.
pub(super) async fn run(own: OwnRegistration, mapping: Option<Duration>, shared: Shared) {
    let dns = Dns::system();
    loop {
        if let Err(error) = hold(&own, mapping, &shared, &dns).await {
            tracing::warn!(registration = own.name, "{error}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hold(
    own: &OwnRegistration,
    mapping: Option<Duration>,
    shared: &Shared,
    dns: &Dns,
) -> Result<(), NetError> {
    let registrar = address(own, dns).await?;
    let held = Held {
        registrar,
        credentials: Credentials {
            secret: Some(own.secret.clone()),
            ..Credentials::named(&own.user)
        },
        refresh: own.refresh,
        mapping,
        may_move: own.port.is_none(),
    };
    let mut registrations = Registrations::new(vec![held], rand::random(), clock::now());
    let mut sockets = Sockets::client(Ground::host(), None);
    if let Some(port) = own.port {
        let local: SocketAddr = match registrar.get() {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        };
        sockets = sockets.with_first(local)?;
    }
    loop {
        let on_event = |event: HeldEvent, _| {
            note(own, shared, &event.what);
            ControlFlow::<()>::Continue(())
        };
        drive(
            &mut registrations,
            &mut sockets,
            on_event,
            tokio::time::sleep(LOOKUP),
        )
        .await?;
        match address(own, dns).await {
            Ok(registrar) => registrations.moved(0, registrar),
            // What does not resolve now has not moved.
            Err(error) => tracing::debug!(registration = own.name, "{error}"),
        }
    }
}

async fn address(own: &OwnRegistration, dns: &Dns) -> Result<PeerAddr, NetError> {
    let found = resolve(&own.host, Service::IAX2, dns).await?;
    let first = found.first().map(|found| found.address);
    first.ok_or_else(|| NetError::Unresolved {
        name: own.host.to_string(),
        reason: "it has no address".to_owned(),
    })
}

fn note(own: &OwnRegistration, shared: &Shared, what: &HeldChange) {
    let name = own.name.as_str();
    let mut line = OwnLine::default();
    match what {
        HeldChange::Registered { apparent, every } => {
            line.registered = true;
            line.apparent = *apparent;
            tracing::info!(
                registration = name,
                "registered, seen as {}, again every {every:.0?}",
                apparent.map_or("an address not told".to_owned(), |it| it.to_string())
            );
        }
        HeldChange::Failed { outcome, again_in } => tracing::warn!(
            registration = name,
            "not registered: {outcome:?}; again in {again_in:.0?}"
        ),
        HeldChange::Moved => {
            tracing::warn!(
                registration = name,
                "a fresh port: the old one was not answered"
            );
            return;
        }
        HeldChange::GivenUp { outcome } => tracing::error!(
            registration = name,
            "refused too often: {outcome:?}; correct the account, then send SIGHUP"
        ),
    }
    shared.with(|facts| facts.own.insert(own.name.clone(), line));
}
