//! How long idle mappings live: for each shape of traffic, whether one survives an idle time, with the
//! edge that was confirmed.

use maud::{Markup, html};

use crate::report::{
    html::svg::{self, Scale},
    model::{Edge, Gone, Measurements, Number},
    text::boxes,
};

/// What RFC 4787, REQ-5 asks of a NAT.
const ASKED_S: f64 = 120.0;
/// Room to the right of the last value.
const ROOM: f64 = 1.1;
const HEIGHT: u32 = 34;

/// The picture, where an edge was measured.
pub(super) fn picture(measured: &Measurements) -> Option<Markup> {
    let lifetime = measured.lifetime.as_ref()?;
    let shapes: Vec<(&str, &Edge)> = [
        ("after a single packet", &lifetime.one_way),
        ("after an exchange, as a registration", &lifetime.exchange),
        ("after a stream, as a call", &lifetime.stream),
    ]
    .into_iter()
    .filter_map(|(name, edge)| Some((name, edge.as_ref()?)))
    .filter(|(_, edge)| edge.alive_s.is_some() || edge.dead_s.seconds().is_some())
    .collect();
    let cycle = measured
        .reachable
        .and_then(|reachable| reachable.cycle_s)
        .map(Number::get);
    let largest = shapes
        .iter()
        .flat_map(|(_, edge)| [edge.alive_s, edge.dead_s.seconds()])
        .flatten()
        .map(Number::get)
        .chain(cycle)
        .fold(ASKED_S, f64::max);
    let scale = Scale::to(largest * ROOM).filter(|_| !shapes.is_empty())?;
    Some(html! {
        figure {
            p { "How long an idle mapping survives" }
            @for (name, edge) in &shapes {
                p.row { (name) ": " strong { (boxes::edge(edge)) } }
                (svg::picture(
                    HEIGHT,
                    &format!("{name}: {}", boxes::edge(edge)),
                    &survival(scale, edge, cycle),
                ))
            }
            (svg::axis(scale, "s"))
            ul.legend {
                li { span."swatch open" {} "proven alive" }
                li { span."swatch maybe" {} "not told" }
                li { span."swatch gone" {} "proven gone" }
                @if let Some(cycle) = cycle {
                    li { span."swatch mark" {} "the next registration, " (cycle) " s" }
                }
                li { span."swatch bound" {} "RFC 4787 asks for 120 s" }
            }
        }
    })
}

/// One step down from alive to gone.
fn survival(scale: Scale, edge: &Edge, cycle: Option<f64>) -> Markup {
    let alive = edge.alive_s.map_or(0.0, Number::get);
    let end = scale.end();
    let unsure = match edge.dead_s {
        Gone::After(dead) => dead.get(),
        Gone::Unknown | Gone::Outlived => end,
    };
    html! {
        (svg::bar(scale, (0.0, alive), (4, HEIGHT - 8), "open"))
        (svg::bar(scale, (alive, unsure), (HEIGHT / 2 - 3, 6), "maybe"))
        @if unsure < end {
            (svg::bar(scale, (unsure, end), (HEIGHT - 8, 4), "shut"))
        }
        (svg::upright(scale, ASKED_S, (0, HEIGHT), "bound"))
        @if let Some(cycle) = cycle {
            (svg::upright(scale, cycle, (0, HEIGHT), "mark"))
        }
    }
}
