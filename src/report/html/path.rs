//! The way from the PBX to the provider: who stands on it, who keeps state, and how long.

use std::net::IpAddr;

use maud::{Markup, html};

use crate::report::{
    html::svg::{self, Scale},
    model::{Edge, Gone, Hops, NatHop, Number, Report},
    text::boxes,
};

/// The picture, where it is known who keeps state.
pub(super) fn picture(report: &Report) -> Option<Markup> {
    let hops = report.measurements.hops.as_ref()?;
    let steps = steps(hops);
    if steps.is_empty() {
        return None;
    }
    let longest = hops
        .nats
        .iter()
        .flat_map(|nat| [nat.alive_s, nat.exchange_s.seconds()])
        .flatten()
        .map(Number::get)
        .fold(0.0, f64::max);
    let scale = Scale::to(longest * 1.1);
    let from = report.host.as_ref().and_then(|host| host.local_address);
    Some(html! {
        figure {
            p { "Who stands on the way" }
            ol.way {
                li { "this host" @if let Some(from) = from { ", " (from) } }
                @for step in &steps { (self::step(step, scale)) }
                li {
                    "the reflector"
                    @if let Some(distance) = hops.distance {
                        ", " (distance) " hop" @if distance != 1 { "s" } " away"
                    }
                }
            }
            @if scale.is_some() {
                ul.legend {
                    li { span."swatch open" {} "keeps an idle exchange" }
                    li { span."swatch maybe" {} "not told" }
                }
            }
        }
    })
}

/// One router on the way.
struct Step<'a> {
    hop: u8,
    address: Option<IpAddr>,
    nat: Option<&'a NatHop>,
}

/// Everybody on the way, the nearest first.
fn steps(hops: &Hops) -> Vec<Step<'_>> {
    let routers = hops.routers.iter().copied().chain(std::iter::repeat(None));
    let farthest = hops
        .nats
        .iter()
        .map(|nat| usize::from(nat.hop))
        .max()
        .unwrap_or(0)
        .max(hops.routers.len());
    (1..=u8::try_from(farthest).unwrap_or(u8::MAX))
        .zip(routers)
        .map(|(hop, router)| {
            let nat = hops.nats.iter().find(|nat| nat.hop == hop);
            Step {
                hop,
                address: nat.and_then(|nat| nat.address).or(router),
                nat,
            }
        })
        .collect()
}

fn step(step: &Step<'_>, scale: Option<Scale>) -> Markup {
    let place = match step.address {
        Some(address) => address.to_string(),
        None => "reports nothing".into(),
    };
    let Some(nat) = step.nat else {
        return html! { li { "hop " (step.hop) ", " (place) } };
    };
    let edge = Edge {
        alive_s: nat.alive_s,
        dead_s: nat.exchange_s,
    };
    let is_timed = nat.alive_s.is_some() || nat.exchange_s != Gone::Unknown;
    html! {
        li.state {
            "hop " (step.hop) ", " (place) ": " strong { "keeps state" }
            @if is_timed { ", after an exchange " (boxes::edge(&edge)) }
            @if let Some(scale) = scale.filter(|_| is_timed) {
                (svg::picture(14, &boxes::edge(&edge), &timer(scale, &edge)))
            }
        }
    }
}

fn timer(scale: Scale, edge: &Edge) -> Markup {
    let alive = edge.alive_s.map_or(0.0, Number::get);
    let unsure = match edge.dead_s {
        Gone::After(dead) => dead.get(),
        Gone::Unknown | Gone::Outlived => scale.end(),
    };
    html! {
        (svg::bar(scale, (0.0, alive), (1, 12), "open"))
        (svg::bar(scale, (alive, unsure), (5, 4), "maybe"))
    }
}
