//! Times the mappings of a simulated NAT: minutes of its life in a blink, every packet decided by the
//! seed.
//!
//! ```console
//! $ cargo run --example simulate
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    io::{Write as _, stdout},
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::{
    lab::{
        nat::{NatConfig, Timers},
        network::{CLIENT, PUBLIC, SERVER},
        world::{SiteConfig, World},
    },
    probe::{
        behaviour::Shape,
        evidence::LifetimeEvidence,
        lifetime::{Answerer, Lifetime, LifetimeConfig},
        provider::{Provider, ProviderConfig},
    },
    proto::{
        contract::SocketKey,
        endpoint::{EndpointConfig, Profile},
        token::{TokenKey, Tokens, WallClock},
    },
    types::PeerAddr,
    wire::iax2::PORT,
};

const SEED: [u8; 32] = [7; 32];

fn main() -> Result<(), Box<dyn Error>> {
    // What Linux does unless told otherwise.
    let timers = Timers::linux(Duration::from_secs(30), Duration::from_secs(120));
    let evidence = sweep(timers).ok_or("the reflector was not found")?;
    for (shape, edge) in &evidence.shapes {
        writeln!(
            stdout(),
            "{shape}: alive after {:?}, gone after {:?}",
            edge.alive,
            edge.dead
        )?;
    }
    Ok(())
}

/// What a sweep of a NAT with these timers finds.
pub(crate) fn sweep(timers: Timers) -> Option<LifetimeEvidence> {
    let start = Instant::now();
    let mut world = World::new(start);
    let site = world.site(SiteConfig {
        nats: vec![NatConfig {
            timers,
            ..NatConfig::linux(PUBLIC.into())
        }],
        ..SiteConfig::default()
    });

    let address = SocketAddr::new(SERVER.into(), PORT);
    let _reflector = world.server([(SocketKey(0), address)], reflector(start));

    let config = LifetimeConfig {
        answerer: Answerer::Reflector(PeerAddr::new(address)),
        control: SocketKey(0),
        first_socket: 1,
        shapes: Shape::ALL.to_vec(),
        longest: Duration::from_secs(300),
        idles: Vec::new(),
        budget: 512,
        isolation: None,
        lossy: false,
        seed: SEED,
    };
    let client = world.client(site, CLIENT.into(), Lifetime::new(config, start));
    world.run_until_done(start + Duration::from_secs(3600), || {
        client.machine().is_finished()
    });
    client.machine().evidence()
}

/// What `iax2-natcheck serve` runs, without accounts.
fn reflector(now: Instant) -> Provider {
    let clock = WallClock {
        at: now,
        says: SystemTime::now(),
    };
    let config = ProviderConfig {
        endpoint: EndpointConfig {
            registrar: None,
            switchboard: None,
            profile: Profile::Asterisk,
            seed: SEED,
        },
        tokens: Tokens::for_probes(TokenKey::new([1; 16]), clock),
        sockets: BTreeMap::new(),
        seed: SEED,
    };
    Provider::new(config, now)
}
