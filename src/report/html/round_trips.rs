//! Round trips, the delay of audio, and jitter, on one scale.

use maud::{Markup, html};

use crate::report::{
    html::svg::{self, Scale},
    model::{Measurements, Reachability, Spread},
    text::measured::tenth,
};

const HEIGHT: u32 = 22;

/// One measure: its name, the least, the middle and the greatest, in milliseconds.
struct Row {
    name: &'static str,
    least: f64,
    middle: Option<f64>,
    most: f64,
    words: String,
}

/// The picture, where a round trip was measured.
pub(super) fn picture(measured: &Measurements) -> Option<Markup> {
    let rows = rows(measured);
    let scale = Scale::to(rows.iter().map(|row| row.most).fold(0.0, f64::max) * 1.05)?;
    Some(html! {
        figure {
            p { "Round trips and jitter" }
            @for row in &rows {
                p.row { (row.name) ": " strong { (row.words) } }
                (svg::picture(HEIGHT, &format!("{}: {}", row.name, row.words), &html! {
                    line.axis x1="0" x2="100%" y1=(HEIGHT / 2) y2=(HEIGHT / 2) {}
                    (svg::bar(scale, (row.least, row.most), (5, HEIGHT - 10), "open"))
                    @if let Some(middle) = row.middle {
                        (svg::upright(scale, middle, (1, HEIGHT - 1), "mark"))
                    }
                }))
            }
            (svg::axis(scale, "ms"))
            ul.legend {
                li { span."swatch open" {} "from the least to the greatest" }
                li { span."swatch mark" {} "the middle one" }
            }
        }
    })
}

fn rows(measured: &Measurements) -> Vec<Row> {
    let reach = |seen: &Option<Reachability>| seen.as_ref().and_then(|reach| reach.rtt_ms);
    let calls = measured.calls.as_ref();
    let media = calls.and_then(|calls| calls.media.as_ref());
    let mut rows: Vec<Row> = [
        ("POKE to the provider", reach(&measured.reachability)),
        ("POKE to the reflector", reach(&measured.reflector)),
        ("frames of calls", calls.and_then(|calls| calls.rtt_ms)),
        (
            "through the far end's media path",
            calls.and_then(|calls| calls.lag_ms),
        ),
    ]
    .into_iter()
    .filter_map(|(name, spread)| Some(spread_of(name, &spread?)))
    .collect();
    if let Some(delay) = media.and_then(|media| media.delay_ms) {
        let spread = Spread {
            min: delay.min,
            median: delay.median,
            max: delay.max,
        };
        rows.push(spread_of("audio and back", &spread));
    }
    if let Some(jitter) = media.and_then(|media| media.jitter_ms) {
        rows.push(Row {
            name: "jitter of the audio",
            least: 0.0,
            middle: None,
            most: jitter.get(),
            words: format!("{} ms", tenth(jitter)),
        });
    }
    rows
}

fn spread_of(name: &'static str, spread: &Spread) -> Row {
    Row {
        name,
        least: spread.min.get(),
        middle: Some(spread.median.get()),
        most: spread.max.get(),
        words: format!(
            "{} ms (least {}, most {})",
            tenth(spread.median),
            tenth(spread.min),
            tenth(spread.max)
        ),
    }
}
