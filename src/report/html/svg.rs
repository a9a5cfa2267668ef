//! Pieces of pictures. Along the width everything is in percent, so that a picture is as wide as its page
//! and its words are as large as those around it.

use maud::{Markup, html};

/// A scale from 0 to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    end: f64,
}

impl Scale {
    /// A scale with room for this value; `None` where there is nothing to show.
    pub(super) fn to(largest: f64) -> Option<Self> {
        (largest.is_finite() && largest > 0.0).then_some(Self { end: largest })
    }

    /// Where its end is.
    pub(super) const fn end(self) -> f64 {
        self.end
    }

    /// A place on it, in percent.
    pub(super) fn at(self, value: f64) -> String {
        format!("{:.2}%", self.share(value) * 100.0)
    }

    /// How far it is from one place to another, in percent.
    pub(super) fn between(self, from: f64, to: f64) -> String {
        let share = (self.share(to) - self.share(from)).max(0.0);
        format!("{:.2}%", share * 100.0)
    }

    fn share(self, value: f64) -> f64 {
        (value / self.end).clamp(0.0, 1.0)
    }

    /// How a word at this place is to stand, so that it stays inside.
    pub(super) fn anchor(self, value: f64) -> &'static str {
        match self.share(value) {
            share if share < 0.12 => "start",
            share if share > 0.88 => "end",
            _ => "middle",
        }
    }

    /// Round values for its axis, four of them or a few more.
    pub(super) fn ticks(self) -> Vec<f64> {
        let rough = self.end / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let mut ticks = vec![];
        let mut tick = 0.0;
        while tick <= self.end {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}

/// A picture as high as this many pixels, with its content told in words.
pub(super) fn picture(height: u32, words: &str, content: &Markup) -> Markup {
    html! {
        svg role="img" aria-label=(words) height=(height) { (content) }
    }
}

/// A bar from one value to another.
pub(super) fn bar(
    scale: Scale,
    (from, to): (f64, f64),
    (top, height): (u32, u32),
    class: &str,
) -> Markup {
    html! {
        rect class=(class) x=(scale.at(from)) width=(scale.between(from, to)) y=(top) height=(height) {}
    }
}

/// A line from top to bottom.
pub(super) fn upright(scale: Scale, at: f64, (top, bottom): (u32, u32), class: &str) -> Markup {
    let x = scale.at(at);
    html! { line class=(class) x1=(x) x2=(x) y1=(top) y2=(bottom) {} }
}

/// A word at a value, with its foot at `y`.
pub(super) fn label(scale: Scale, at: f64, y: u32, words: &str, class: &str) -> Markup {
    html! {
        text class=(class) x=(scale.at(at)) y=(y) text-anchor=(scale.anchor(at)) { (words) }
    }
}

/// An axis with its values, in a picture of its own.
pub(super) fn axis(scale: Scale, unit: &str) -> Markup {
    let ticks = scale.ticks();
    let words = format!("scale from 0 to {:.0} {unit}", scale.end());
    picture(
        22,
        &words,
        &html! {
            line.axis x1="0" x2="100%" y1="1" y2="1" {}
            @for tick in &ticks {
                (upright(scale, *tick, (1, 6), "axis"))
                (label(scale, *tick, 19, &short(*tick, unit), "soft"))
            }
        },
    )
}

/// A number as people write it.
fn short(value: f64, unit: &str) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (end, expected) in [
            (55.0, vec![0.0, 20.0, 40.0]),
            (132.0, vec![0.0, 50.0, 100.0]),
            (300.0, vec![0.0, 100.0, 200.0, 300.0]),
            (4.0, vec![0.0, 1.0, 2.0, 3.0, 4.0]),
        ] {
            assert_eq!(Scale::to(end).unwrap().ticks(), expected, "{end}");
        }
        for end in [1e-9, 0.07, 1e9, 1e300] {
            let ticks = Scale::to(end).unwrap().ticks();
            assert!((2..=6).contains(&ticks.len()), "{end}: {ticks:?}");
        }
    }

    #[test]
    fn nothing_leaves_the_picture() {
        let scale = Scale::to(50.0).unwrap();
        assert_eq!(scale.at(-1.0), "0.00%");
        assert_eq!(scale.at(80.0), "100.00%");
        assert_eq!(scale.between(40.0, 80.0), "20.00%");
        assert_eq!(scale.between(40.0, 20.0), "0.00%");
        for nothing in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert!(Scale::to(nothing).is_none());
        }
    }
}
