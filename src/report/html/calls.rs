//! The calls of a burst: how many came to their planned end, and how the others failed.

use maud::{Markup, html};

use crate::report::{
    html::svg::{self, Scale},
    model::{Measurements, calls::Calls},
};

const HEIGHT: u32 = 22;

/// The picture, where more than one call was placed.
pub(super) fn picture(measured: &Measurements) -> Option<Markup> {
    let calls = measured
        .calls
        .as_ref()
        .filter(|calls| calls.attempted > 1)?;
    let scale = Scale::to(f64::from(calls.attempted))?;
    let completed = f64::from(calls.completed);
    let words = format!(
        "{} of {} calls came to their planned end",
        calls.completed, calls.attempted
    );
    Some(html! {
        figure {
            p { "Calls" }
            p.row { (words) }
            (svg::picture(HEIGHT, &words, &html! {
                (svg::bar(scale, (0.0, completed), (2, HEIGHT - 4), "open"))
                (svg::bar(scale, (completed, scale.end()), (HEIGHT - 8, 6), "shut"))
            }))
            @for (signature, count) in &calls.signatures {
                p.row { code { (signature) } ": " (count) }
                (svg::picture(HEIGHT, &format!("{signature}: {count}"), &html! {
                    (svg::bar(scale, (0.0, f64::from(*count)), (HEIGHT - 8, 6), "shut"))
                }))
            }
            @if let Some(why) = pattern(calls) { p.note { (why) } }
        }
    })
}

fn pattern(calls: &Calls) -> Option<String> {
    match (calls.pattern.as_deref()?, &calls.pattern_because) {
        ("none", _) => None,
        (pattern, Some(why)) => Some(format!("failures: {pattern} ({why})")),
        (pattern, None) => Some(format!("failures: {pattern}")),
    }
}
