//! Registers an account once and gives the registration up again: one machine after the other, driven
//! over UDP by the event loop under tokio.
//!
//! ```console
//! $ cargo run --example register -- 127.0.0.1:4569 alice secret-file
//! ```

use std::{
    env,
    error::Error,
    future::pending,
    io::{Write as _, stdout},
    net::SocketAddr,
    ops::ControlFlow,
    path::Path,
    time::Duration,
};

use iax2_natcheck::{
    config::secret_file,
    net::{
        clock,
        drive::{Ended, drive},
        sockets::{FIRST, Sockets},
        udp::Ground,
    },
    proto::{
        auth::Credentials,
        registration::{Outcome, Registration, RegistrationConfig, RegistrationEvent},
        reliable::RetryPolicy,
    },
    types::PeerAddr,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, server, user, file] = env::args()
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: register ADDRESS:PORT USER SECRET-FILE")?;
    let server: SocketAddr = server.parse()?;
    let credentials = Credentials {
        secret: Some(secret_file::read(Path::new(&file))?),
        ..Credentials::named(&user)
    };
    for outcome in register_and_release(server, &credentials).await? {
        writeln!(stdout(), "{outcome:?}")?;
    }
    Ok(())
}

/// What came of the registration, and what of giving it up.
pub(crate) async fn register_and_release(
    server: SocketAddr,
    credentials: &Credentials,
) -> Result<[Option<Outcome>; 2], Box<dyn Error>> {
    // Both from one socket: to the registrar it is the same client.
    let mut sockets = Sockets::client(Ground::host(), None);
    let mut outcomes = [None, None];
    for (outcome, release) in outcomes.iter_mut().zip([false, true]) {
        let config = RegistrationConfig {
            registrar: PeerAddr::new(server),
            socket: FIRST,
            credentials: credentials.clone(),
            refresh: Duration::from_secs(60),
            release,
            offer_token: true,
            retry: RetryPolicy::QUICK,
            seed: rand::random(),
        };
        let mut machine = Registration::new(config, clock::now());
        let ended = drive(
            &mut machine,
            &mut sockets,
            |event, _| match event {
                RegistrationEvent::Ended(outcome) => ControlFlow::Break(outcome),
                _ => ControlFlow::Continue(()),
            },
            pending::<()>(),
        )
        .await?;
        if let Ended::Event(ended) = ended {
            *outcome = Some(ended);
        }
    }
    Ok(outcomes)
}
