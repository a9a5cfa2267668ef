//! *Absolute lifetimes*: does a mapping end at a certain age although packets pass all the time? There are mobile
//! carriers that end one after a minute, however busy it is.
//!
//! A packet of ours that finds its mapping gone opens another one, mostly with the same port, so that nothing
//! shows. So each mapping is kept busy nearly up to the age that is tried, and is then silent for a time that no
//! NAT forgets it in. Where the age lies within that silence, the answer that is due at its end does not come; the
//! silences overlap, so that four do not.

use std::time::{Duration, Instant};

use crate::{
    probe::{
        behaviour::Shape,
        evidence::ShapeLifetime,
        lifetime::{Answerer, Content, Isolation, Lifetime, LifetimeConfig, Near},
    },
    proto::contract::SocketKey,
    types::PeerAddr,
};

/// How long each mapping is silent at its end. The shortest timer known is 10 s.
const PAUSE: Duration = Duration::from_millis(7500);
/// From one age to the next, and between the packets that keep a mapping busy: a quarter of the silence.
const STEP: Duration = Duration::from_millis(1875);
/// The first age, in steps: not all of it is silence.
const FIRST: u32 = 5;
/// Ages, at most: up to two minutes.
const AGES: u32 = 60;

/// Begins; `None` where nothing is to be waited for long enough.
#[must_use]
pub fn begin(
    reflector: PeerAddr,
    longest: Duration,
    first_socket: SocketKey,
    lossy: bool,
    seed: [u8; 32],
    now: Instant,
) -> Option<Lifetime> {
    let ages = (FIRST..FIRST + AGES).map(|count| STEP * count);
    let idles: Vec<Duration> = ages.take_while(|age| *age <= longest).collect();
    let config = LifetimeConfig {
        answerer: Answerer::Reflector(reflector),
        control: first_socket,
        first_socket: first_socket.0 + 1,
        shapes: vec![Shape::Exchange],
        longest: *idles.last()?,
        budget: idles.len(),
        idles,
        isolation: Some(Isolation {
            near: Some(Near {
                ttl: None,
                content: Content::Nothing,
                pause: PAUSE,
            }),
            far: None,
            every: STEP,
        }),
        lossy,
        seed,
    };
    Some(Lifetime::new(config, now))
}

/// The ages at which mappings were there, and were gone.
#[must_use]
pub fn edge(busy: &Lifetime) -> Option<ShapeLifetime> {
    let shapes = busy.evidence()?.shapes;
    shapes.into_iter().next().map(|(_, edge)| edge)
}

/// Whether more has to be waited for, where idle mappings of any kind end after `longest`: their end may have been
/// that of an age, which shows a little later here, and where an age was not reached the next ones have to show why.
#[must_use]
pub fn is_open(busy: &Lifetime, longest: Option<Duration>) -> bool {
    // A stream is so old before it idles.
    const WARM_UP: Duration = Duration::from_millis(2100);
    let found = (!busy.is_finished()).then(|| edge(busy)).flatten();
    found.is_some_and(|edge| {
        let last = edge.samples.last().map_or((Duration::ZERO, None), |it| *it);
        let is_behind = longest.is_some_and(|longest| last.0 < longest + WARM_UP);
        edge.alive.is_some() && (is_behind || last.1 == Some(false))
    })
}
