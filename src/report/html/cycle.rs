//! The interval of registrations as a line of time: open, shut, the next registration, calls that were
//! placed.

use maud::{Markup, html};

use crate::report::{
    html::svg::{self, Scale},
    model::{Measurements, calls::Attempt},
    text::measured::share,
};

/// Two intervals, so that the second registration is seen to open the way again.
const SHOWN: u32 = 2;
/// The band, from its top.
const BAND: (u32, u32) = (22, 30);
const BOTTOM: u32 = BAND.0 + BAND.1;

/// The picture, where the interval and what the NAT does in it are known.
pub(super) fn picture(measured: &Measurements) -> Option<Markup> {
    let reachable = measured.reachable.as_ref()?;
    let cycle = reachable.cycle_s?.get();
    // A way that outlived all that was tried is open all the time where the share says so.
    let open = match (reachable.open_s, reachable.fraction) {
        (Some(open), _) => open.get().min(cycle),
        (None, Some(fraction)) if fraction.get() >= 1.0 => cycle,
        (None, _) => return None,
    };
    let scale = Scale::to(cycle * f64::from(SHOWN))?;
    let is_shut = open < cycle;
    let attempts: Vec<&Attempt> = measured
        .callback
        .iter()
        .flat_map(|callback| callback.late.iter().chain(&callback.control))
        .collect();
    let words = share(reachable);
    let drawing = html! {
        @for turn in 0..SHOWN {
            @let start = f64::from(turn) * cycle;
            (svg::bar(scale, (start, start + open), BAND, "open"))
            @if is_shut {
                (svg::bar(scale, (start + open, start + cycle), BAND, "shut"))
                (stripes(scale, (start + open, start + cycle)))
                (svg::upright(scale, start + open, (BAND.0, BOTTOM + 6), "bound"))
            }
        }
        @for turn in 0..=SHOWN {
            @let at = f64::from(turn) * cycle;
            (svg::upright(scale, at, (BAND.0 - 6, BOTTOM), "mark"))
            (svg::label(scale, at, 12, &format!("{} s", round(at)), ""))
        }
        @if is_shut {
            @for turn in 0..SHOWN {
                @let at = f64::from(turn) * cycle + open;
                (svg::label(scale, at, BOTTOM + 20, &format!("{} s", round(at)), ""))
            }
        }
        @for (place, attempt) in attempts.iter().enumerate() {
            (call(scale, cycle, place, attempt))
        }
    };
    Some(html! {
        figure {
            p { "Between two registrations" }
            p.note { (words) }
            (svg::picture(BOTTOM + 26, &words, &drawing))
            ul.legend {
                li { span."swatch mark" {} "the PBX registers" }
                li { span."swatch open" {} "calls come in" }
                @if is_shut {
                    li { span."swatch shut" {} "calls are lost" }
                    li { span."swatch bound" {} "the NAT forgets" }
                }
                @if attempts.iter().any(|attempt| attempt.arrived == Some(true)) {
                    li { "● a call that arrived" }
                }
                @if attempts.iter().any(|attempt| attempt.arrived == Some(false)) {
                    li { "○ a call that did not arrive" }
                }
            }
        }
    })
}

/// What is shut is striped, for who sees no colours.
fn stripes(scale: Scale, (from, to): (f64, f64)) -> Markup {
    const STEP: f64 = 0.02;
    let step = scale.end() * STEP;
    let mut places = vec![];
    let mut place = from + step / 2.0;
    while place < to && step > 0.0 {
        places.push(place);
        place += step;
    }
    html! {
        @for place in places {
            line.stripe x1=(scale.at(place)) x2=(scale.at(place - step / 2.0)) y1=(BAND.0) y2=(BOTTOM) {}
        }
    }
}

/// A call that was placed: the late one in the first interval, the control in the second.
fn call(scale: Scale, cycle: f64, place: usize, attempt: &Attempt) -> Markup {
    let start = if place == 0 { 0.0 } else { cycle };
    let class = match attempt.arrived {
        Some(true) => "arrived",
        Some(false) => "missed",
        None => return html! {},
    };
    html! {
        circle class=(class) cx=(scale.at(start + attempt.after_s.get())) cy=(BAND.0 + BAND.1 / 2) r="7" {}
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
