//! The guardian's incidents as a page: its days as bands of 24 hours, what the causes cost, and each incident.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use maud::{Markup, html};

use crate::{
    report::html::{
        page,
        svg::{self, Scale},
    },
    types::printable,
    watch::Told,
};

const DAY: u64 = 24 * 3600;
/// So many days are drawn, the last ones.
const DRAWN: u64 = 31;
/// So many incidents are told one by one, the last ones.
const LISTED: usize = 500;
/// The band of a day, from its top.
const BAND: (u32, u32) = (2, 16);

/// An incident with its ends on the clock, in seconds since 1970.
struct Spell<'a> {
    told: &'a Told,
    began: u64,
    ended: u64,
}

/// Renders incidents, the oldest first, as a page of HTML.
#[must_use]
pub fn render(incidents: &[Told]) -> String {
    let spells: Vec<Spell<'_>> = incidents.iter().filter_map(Spell::of).collect();
    let headline = headline(incidents);
    let body = html! {
        header {
            h1 { (headline) }
            p.about { code { "watch history" } ", times in UTC" }
        }
        main {
            (days(&spells))
            (causes(incidents))
            (listed(incidents))
        }
        footer.note {
            p {
                "iax2-natcheck " (env!("CARGO_PKG_VERSION")) ". An incident that lasts is not here; watch status \
                 shows it. A day without a bar is one without an incident, or one on which the guardian did not run."
            }
        }
    };
    printable(&page(&headline, &body)).into_owned()
}

impl<'a> Spell<'a> {
    /// An incident whose times can be read.
    fn of(told: &'a Told) -> Option<Self> {
        let began = seconds(&told.began_at)?;
        let ended = told.ended_at.as_deref().and_then(seconds).unwrap_or(began);
        Some(Self {
            told,
            began,
            ended: ended.max(began),
        })
    }
}

fn seconds(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The day as people write it.
fn date(day: u64) -> String {
    let time = Duration::from_secs(day.saturating_mul(DAY));
    let words = SystemTime::UNIX_EPOCH
        .checked_add(time)
        .map(|time| humantime::format_rfc3339_seconds(time).to_string());
    words
        .and_then(|words| words.get(..10).map(str::to_owned))
        .unwrap_or_default()
}

fn headline(incidents: &[Told]) -> String {
    match incidents.len() {
        0 => "No incident has ended yet".to_owned(),
        1 => format!("1 incident, unreachable for {}", span(lost(incidents))),
        count => format!(
            "{count} incidents, unreachable for {} in all",
            span(lost(incidents))
        ),
    }
}

fn lost<'a>(incidents: impl IntoIterator<Item = &'a Told>) -> f64 {
    let each = incidents.into_iter().map(|told| told.unreachable_s);
    each.filter(|lost| lost.is_finite() && *lost > 0.0).sum()
}

/// A time as people write it.
fn span(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds >= 1.0 => {
            humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
        }
        Ok(_) if seconds <= 0.0 => "no time".to_owned(),
        _ => format!("{seconds} s"),
    }
}

/// A band for each day from the first that is drawn to the last.
fn days(spells: &[Spell<'_>]) -> Markup {
    let (Some(first), Some(last)) = (
        spells.iter().map(|spell| spell.began / DAY).min(),
        spells.iter().map(|spell| spell.ended / DAY).max(),
    ) else {
        return html! {};
    };
    let from = first.max(last.saturating_sub(DRAWN - 1));
    let Some(scale) = Scale::to(24.0) else {
        return html! {};
    };
    html! {
        h2 { "By day" }
        figure {
            p { "When something was wrong" }
            @if from > first {
                p.note { "The last " (DRAWN) " days; incidents go back to " (date(first)) "." }
            }
            @for day in from..=last { (band(scale, day, spells)) }
            (svg::axis(scale, "h"))
            ul.legend {
                li { span."swatch still" {} "no incident" }
                li { span."swatch lasted" {} "an incident lasted" }
            }
        }
    }
}

fn band(scale: Scale, day: u64, spells: &[Spell<'_>]) -> Markup {
    let (start, end) = (
        day.saturating_mul(DAY),
        day.saturating_add(1).saturating_mul(DAY),
    );
    let here: Vec<&Spell<'_>> = spells
        .iter()
        .filter(|spell| spell.began < end && spell.ended >= start)
        .collect();
    let began = here.iter().filter(|spell| spell.began >= start);
    let (count, lost) = (
        began.clone().count(),
        lost(began.clone().map(|spell| spell.told)),
    );
    let words = match (here.len(), count) {
        (0, _) => String::new(),
        (_, 0) => ": one from the day before goes on".to_owned(),
        (_, 1) => format!(": 1 incident, unreachable for {}", span(lost)),
        (_, count) => format!(": {count} incidents, unreachable for {}", span(lost)),
    };
    let drawing = html! {
        (svg::bar(scale, (0.0, 24.0), BAND, "still"))
        @for spell in &here {
            @let (from, to) = (hour(spell.began.max(start) - start), hour(spell.ended.min(end) - start));
            (svg::bar(scale, (from, to), BAND, "shut"))
            // A short one is seen too.
            (svg::upright(scale, from, (BAND.0, BAND.0 + BAND.1), "begin"))
        }
    };
    let date = date(day);
    html! {
        p.row { time datetime=(date) { (date) } (words) }
        (svg::picture(BAND.0 + BAND.1 + 2, &format!("{date}{words}"), &drawing))
    }
}

/// Seconds of a day as its hours.
fn hour(seconds: u64) -> f64 {
    f64::from(u32::try_from(seconds.min(DAY)).unwrap_or(0)) / 3600.0
}

/// What each cause cost, the dearest first.
fn causes(incidents: &[Told]) -> Markup {
    let mut sums: BTreeMap<(&str, &str), Vec<&Told>> = BTreeMap::new();
    for told in incidents {
        let key = (told.provider.as_str(), told.cause.as_str());
        sums.entry(key).or_default().push(told);
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(key, told)| (key, told.len(), lost(told)))
        .collect();
    rows.sort_by(|a, b| b.2.total_cmp(&a.2).then(b.1.cmp(&a.1)));
    html! {
        @if !rows.is_empty() {
            h2 { "What it was" }
            div.scroll { table {
                thead { tr { th { "provider" } th { "cause" } th { "incidents" } th { "unreachable" } } }
                tbody {
                    @for ((provider, cause), count, lost) in &rows {
                        tr { td { (provider) } td { code { (cause) } } td { (count) } td { (span(*lost)) } }
                    }
                }
            } }
        }
    }
}

/// Each incident, the last one first.
fn listed(incidents: &[Told]) -> Markup {
    html! {
        @if !incidents.is_empty() {
            h2 { "One by one" }
        }
        @if incidents.len() > LISTED {
            p.note { "The last " (LISTED) " of " (incidents.len()) "." }
        }
        @for told in incidents.iter().rev().take(LISTED) {
            article.warning {
                h3 { (told.provider) ": " (told.cause) @if let Some(taint) = &told.taint { " (" (taint) ")" } }
                p.note {
                    time { (told.began_at) }
                    ", lasted " (span(told.lasted_s)) ", unreachable for " (span(told.unreachable_s))
                }
                @if !told.because.is_empty() {
                    h4 { "Because" }
                    ul { @for fact in &told.because { li { (fact) } } }
                }
                @if !told.actions.is_empty() {
                    h4 { "Done" }
                    ul {
                        @for action in &told.actions {
                            li {
                                (action.at) " " strong { (action.action) } " "
                                (action.result.as_deref().unwrap_or("not known")) ": " (action.reason)
                            }
                        }
                    }
                }
                @if told.acted as usize > told.actions.len() {
                    p.note { (told.acted) " actions in all; the first ones are listed." }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(began_at: &str, ended_at: &str, unreachable_s: f64) -> Told {
        Told {
            provider: "main".into(),
            began_at: began_at.into(),
            ended_at: Some(ended_at.into()),
            lasted_s: unreachable_s + 1.0,
            unreachable_s,
            cause: "provider-down".into(),
            taint: None,
            because: vec!["3 POKEs in a row are unanswered".into()],
            actions: vec![],
            acted: 0,
        }
    }

    #[test]
    fn each_day_between_has_its_band() {
        let page = render(&[
            told("2026-11-20T23:00:00Z", "2026-11-21T01:00:00Z", 7200.0),
            told("2026-11-23T12:00:00Z", "2026-11-23T12:00:30Z", 30.0),
        ]);
        for words in [
            "<h1>2 incidents, unreachable for 2h 30s in all</h1>",
            "2026-11-20</time>: 1 incident, unreachable for 2h<",
            "2026-11-21</time>: one from the day before goes on<",
            "2026-11-22</time></p>",
            "2026-11-23</time>: 1 incident, unreachable for 30s<",
            r#"<rect class="shut" x="95.83%" width="4.17%""#,
            r#"<rect class="shut" x="0.00%" width="4.17%""#,
            "<td>2</td><td>2h 30s</td>",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
    }

    #[test]
    fn a_file_of_a_stranger_ends_in_a_page() {
        let mut evil = told("\u{1b}<script>", "9999-99-99", f64::NAN);
        evil.provider = "</style><script>".into();
        let mut old = told("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", f64::MAX);
        old.lasted_s = -1.0;
        let many = vec![old; LISTED + 1];
        for incidents in [vec![], vec![evil.clone()], many] {
            let page = render(&incidents);
            assert!(page.ends_with("</html>\n"));
            assert!(!page.contains("<script") && !page.contains('\u{1b}'));
            assert!(page.matches("<svg").count() <= 33);
        }
        assert!(render(&[]).contains("No incident has ended yet"));
        assert!(render(&[evil]).contains("&lt;/style&gt;"));
    }
}
