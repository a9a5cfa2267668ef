//! How long the measurement of a lifetime takes, through a real kernel NAT in a virtual network.
//!
//! ```text
//! cargo bench --bench lifetime
//! ```
//!
//! Needs `ip` and `nft`, and root or user namespaces. The peer is bisection on one socket between 10 and
//! 600 s, which is what a tool without parallel sockets does; what it takes follows from its steps and is
//! computed, not waited for.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its figures, and may panic"
)]

#[path = "../tests/support/figures.rs"]
mod figures;

use std::{future, time::Duration};

use iax2_natcheck::{
    lab::{
        demo, kernel,
        network::{Network, Router},
        scenario::{self, Scenario},
    },
    probe::{behaviour::Shape, evidence::LifetimeEvidence},
};

/// The timers of the NATs measured, in seconds, for all shapes of traffic alike.
const TIMERS: [u64; 2] = [30, 120];

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    kernel::enter().expect("a kernel that grants network namespaces");
    for timer in TIMERS {
        let evidence = measure(timer);
        let (_, exchange) = evidence
            .shapes
            .iter()
            .find(|(shape, _)| *shape == Shape::Exchange)
            .expect("an exchange was measured");
        let found = |edge: Option<Duration>| edge.map_or(0, |edge| edge.as_secs());
        let wall = evidence.elapsed.as_secs_f64();
        let bisection = bisection(f64::from(u32::try_from(timer).expect("a small number")));
        figures::row(
            &format!(
                "lifetime of a NAT that keeps {timer} s, to 1 s, three kinds of traffic at once"
            ),
            &format!("≤ {} s", timer + 5),
            &format!(
                "{wall:.1} s, found alive at {} s and dead at {} s",
                found(exchange.alive),
                found(exchange.dead)
            ),
            &format!("bisection on one socket: {bisection:.0} s, computed"),
        );
    }
}

fn measure(timer: u64) -> LifetimeEvidence {
    let scenario = Scenario {
        network: Network::behind([Router::masquerade(timer, timer)]),
        refresh: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(300),
        ..scenario::find(scenario::DEFAULT).expect("the default scenario exists")
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(demo::in_kernel(
            &scenario,
            [7; 32],
            |_| {},
            future::pending::<()>(),
        ))
        .expect("the virtual network works")
        .lifetime
        .expect("lifetimes were measured")
}

/// Seconds that bisection to one second takes where the mapping lives `timer` seconds: each step waits for
/// the middle of what is left.
fn bisection(timer: f64) -> f64 {
    let (mut alive, mut dead, mut total) = (10.0, 600.0, 0.0);
    while dead - alive > 1.0 {
        let middle = f64::midpoint(alive, dead);
        total += middle;
        if middle < timer {
            alive = middle;
        } else {
            dead = middle;
        }
    }
    total
}
