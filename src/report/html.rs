//! The report, or [the guardian's incidents](incidents), as one page of HTML that needs nothing else: no script, no picture, no font from elsewhere.
//!
//! Names, causes and texts come from strangers; every one of them is escaped by the template engine.

mod calls;
mod cycle;
mod data;
pub mod incidents;
mod lifetime;
mod path;
mod round_trips;
mod svg;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{
    headline,
    model::{Finding, Report, Severity, Verdict},
    printable::printable,
    text::measured,
};

/// How it looks, in light, in the dark, on paper and on a telephone.
const STYLE: &str = include_str!("html/style.css");

/// Nothing may be loaded or run, whatever a stranger's text says.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Renders a report as a page.
#[must_use]
pub fn render(report: &Report) -> String {
    let report = &*printable(report);
    let title = format!("{}: {}", report.verdict.as_str(), headline(report));
    let body = html! {
        (header(report))
        main {
            (findings(&report.findings))
            (pictures(report))
            (rows(report))
            (data::sections(report))
        }
        (footer(report))
    };
    page(&title, &body)
}

/// A page with this title and body.
fn page(title: &str, body: &Markup) -> String {
    let mut page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string();
    page.push('\n');
    page
}

const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Critical => "critical",
        Verdict::Unknown => "unknown",
    }
}

const fn weight(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
        Severity::Unknown => "unknown",
    }
}

/// The verdict in one sentence, and what the report is about.
fn header(report: &Report) -> Markup {
    html! {
        header {
            p { span class={ "word " (class(report.verdict)) } { (report.verdict.as_str()) } }
            h1 { (headline(report)) }
            p.about {
                code { (report.command) }
                @if let Some(provider) = &report.provider {
                    " " (provider.name)
                    @if let Some(address) = provider.address
                        && address.to_string() != provider.name { " (" (address) ")" }
                    @if let Some(user) = &provider.user { ", account " (user) }
                }
                ", " time datetime=(report.finished_at) { (report.finished_at) }
                @if report.command == "demo" { ", times shortened to a fifth" }
                @if report.interrupted { ", stopped before its end" }
            }
        }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            h2 { "What is wrong, and what to do" }
        }
        @for found in findings {
            article class=(weight(found.severity)) {
                h3 { (found.title) }
                p.note {
                    span class={ "severity " (weight(found.severity)) } { (weight(found.severity)) }
                    ", " code { (found.id) }
                }
                @if !found.do_this.is_empty() {
                    h4 { "Do this" }
                    ol { @for step in &found.do_this { li { (self::step(step)) } } }
                }
                @if !found.because.is_empty() {
                    h4 { "Because" }
                    ul { @for fact in &found.because { li { (fact) } } }
                }
            }
        }
    }
}

/// What stands behind the last colon of a step is something to paste.
fn step(step: &str) -> Markup {
    html! {
        @match step.rsplit_once(": ") {
            Some((words, paste)) => { (words) ":" code { (paste) } }
            None => (step)
        }
    }
}

fn pictures(report: &Report) -> Markup {
    let measured = &report.measurements;
    let pictures: Vec<Markup> = [
        cycle::picture(measured),
        lifetime::picture(measured),
        path::picture(report),
        round_trips::picture(measured),
        calls::picture(measured),
    ]
    .into_iter()
    .flatten()
    .collect();
    html! {
        @if !pictures.is_empty() {
            h2 { "In pictures" }
            @for picture in pictures { (picture) }
        }
    }
}

/// What was measured, as the text has it; a row without a name goes on with the one above.
fn rows(report: &Report) -> Markup {
    let mut groups: Vec<(&str, Vec<String>)> = vec![];
    for (name, words) in measured::rows(&report.measurements) {
        match groups.last_mut() {
            Some((_, lines)) if name.is_empty() => lines.push(words),
            _ => groups.push((name, vec![words])),
        }
    }
    html! {
        @if !groups.is_empty() {
            h2 { "Measured" }
            dl.measured {
                @for (name, lines) in &groups {
                    dt { (name) }
                    dd { @for line in lines { p { (line) } } }
                }
            }
        }
    }
}

fn footer(report: &Report) -> Markup {
    html! {
        footer.note {
            p {
                (report.tool.name) " " (report.tool.version) ", "
                time datetime=(report.started_at) { (report.started_at) } " to "
                time datetime=(report.finished_at) { (report.finished_at) }
                @if let Some(host) = &report.host {
                    @if let Some(os) = &host.os {
                        ", on " (os)
                        @if let Some(kernel) = &host.kernel { " " (kernel) }
                    }
                }
                ". What was not measured is not shown, and nothing is assumed in its place."
            }
        }
    }
}

#[cfg(test)]
mod tests;
