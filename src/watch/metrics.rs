//! Metrics in Prometheus' text format, which its server and the node exporter's textfiles both read.

use std::fmt::{Display, Write as _};

use crate::{
    guard::{
        diagnosis::Diagnosis,
        machine::Guard,
        observation::{ProviderId, RegistryState},
    },
    watch::{observe::Shared, picture::Picture},
};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of them. What is not known is not there.
pub(super) fn render(guard: &Guard, picture: &Picture, shared: &Shared) -> String {
    let mut page = Page::default();
    page.family("info", "gauge", "The guardian that runs.");
    page.sample("info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let providers: Vec<(ProviderId, &str)> = (0..)
        .map(ProviderId)
        .zip(&guard.policy().providers)
        .map(|(id, provider)| (id, provider.name.as_str()))
        .collect();
    states(&mut page, guard, &providers);
    outages(&mut page, guard, picture, &providers);
    the_rest(&mut page, guard, picture, &providers);
    let own = shared.with(|facts| facts.own.clone());
    if !own.is_empty() {
        page.family(
            "held_registration",
            "gauge",
            "1 where a registration that the guardian holds itself stands.",
        );
    }
    for (name, line) in &own {
        let labels = [("registration", name.as_str())];
        page.sample("held_registration", &labels, u8::from(line.registered));
    }
    page.0
}

type Providers<'a> = [(ProviderId, &'a str)];

/// What the providers are.
fn states(page: &mut Page, guard: &Guard, providers: &Providers<'_>) {
    page.family(
        "provider_state",
        "gauge",
        "1 for what the provider is found to be, 0 for what it is not.",
    );
    for (id, name) in providers {
        let is = guard
            .diagnosed(*id)
            .map_or(Diagnosis::NotKnown, |diagnosed| diagnosed.diagnosis);
        for state in Diagnosis::ALL {
            let labels = [("provider", *name), ("state", state.as_str())];
            page.sample("provider_state", &labels, u8::from(state == is));
        }
    }
    page.family(
        "registered",
        "gauge",
        "1 where Asterisk says that it is registered with the provider.",
    );
    for (id, name) in providers {
        if let Some(state) = guard.registry(*id) {
            let registered = u8::from(state == RegistryState::Registered);
            page.sample("registered", &[("provider", name)], registered);
        }
    }
}

/// When they could not reach the PBX.
fn outages(page: &mut Page, guard: &Guard, picture: &Picture, providers: &Providers<'_>) {
    page.family(
        "incident",
        "gauge",
        "1 while the provider cannot reach the PBX.",
    );
    for (id, name) in providers {
        let open = u8::from(guard.incident(*id).is_some());
        page.sample("incident", &[("provider", name)], open);
    }
    page.family(
        "incidents_total",
        "counter",
        "Incidents that have begun since the guardian was started.",
    );
    for (id, name) in providers {
        let begun = picture.incidents.get(id).copied().unwrap_or_default();
        page.sample("incidents_total", &[("provider", name)], begun);
    }
    page.family(
        "unreachable_seconds_total",
        "counter",
        "For how long the provider could not reach the PBX, the incident that lasts included.",
    );
    for (id, name) in providers {
        let ended = picture.unreachable.get(id).copied().unwrap_or_default();
        let open = guard
            .incident(*id)
            .map_or_else(Default::default, |incident| incident.unreachable);
        let seconds = (ended + open).as_secs_f64();
        page.sample("unreachable_seconds_total", &[("provider", name)], seconds);
    }
}

/// How the way is, what was done, and what can be seen.
fn the_rest(page: &mut Page, guard: &Guard, picture: &Picture, providers: &Providers<'_>) {
    page.family(
        "poke_rtt_seconds",
        "gauge",
        "How long the last POKE from a fresh port took; absent where it was not answered.",
    );
    for (id, name) in providers {
        if let Some(rtt) = picture.rtt.get(id).copied().flatten() {
            page.sample("poke_rtt_seconds", &[("provider", name)], rtt.as_secs_f64());
        }
    }
    page.family(
        "actions_total",
        "counter",
        "What was done, and how it ended, since the guardian was started.",
    );
    for ((id, kind, result), count) in &picture.acted {
        let name = providers.iter().find(|(other, _)| other == id);
        let labels = [
            ("provider", name.map_or("", |(_, name)| name)),
            ("action", kind.as_str()),
            ("result", result),
        ];
        page.sample("actions_total", &labels, count);
    }
    page.family(
        "actions_left",
        "gauge",
        "How many more actions are allowed in this hour.",
    );
    page.sample("actions_left", &[], guard.budget_left());
    page.family(
        "observer_blind",
        "gauge",
        "1 where something that is watched cannot be seen.",
    );
    for observer in &picture.watching {
        let blind = u8::from(picture.blind.contains_key(observer));
        let labels = [("observer", observer.as_str())];
        page.sample("observer_blind", &labels, blind);
    }
    if let Some(resident) = picture.resident {
        page.family(
            "asterisk_resident_bytes",
            "gauge",
            "The memory that Asterisk holds.",
        );
        page.sample("asterisk_resident_bytes", &[], resident);
    }
}

/// The page under way. Every name begins alike.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP iax2_natcheck_{name} {help}");
        let _ = writeln!(self.0, "# TYPE iax2_natcheck_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "iax2_natcheck_{name}");
        if !labels.is_empty() {
            let pairs: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = write!(self.0, "{{{}}}", pairs.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// A label's value, between quotes.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::guard::policy::{Policy, ProviderPolicy};

    #[test]
    fn a_name_is_escaped_and_what_is_not_known_is_not_there() {
        let policy = Policy {
            providers: vec![ProviderPolicy::new("a \"b\" \\c")],
            ..Policy::default()
        };
        let guard = Guard::new(policy, [0; 32], Instant::now());
        let page = render(&guard, &Picture::default(), &Shared::default());
        let line =
            "iax2_natcheck_provider_state{provider=\"a \\\"b\\\" \\\\c\",state=\"not-known\"} 1";
        assert!(page.lines().any(|other| other == line), "{page}");
        assert!(!page.contains("iax2_natcheck_registered{"), "{page}");
        assert!(!page.contains("iax2_natcheck_poke_rtt_seconds{"), "{page}");
        assert!(
            page.lines()
                .all(|line| line.starts_with('#') || line.starts_with("iax2_natcheck_"))
        );
    }
}
