//! Boxes of the knowledge base, as `devices` shows them: the JSON contract and its text.

use std::time::Duration;

use serde::Serialize;

use crate::{
    check::devices::{self, Confidence},
    report::{
        assemble::tool,
        json,
        model::{Number, SCHEMA_VERSION, Tool},
        text::wrap,
    },
};

/// The timer that a PBX with Asterisk's defaults needs: it registers again after 50 s, and 15 s are for
/// a lost request.
const NEEDED: Duration = Duration::from_secs(65);
/// How much room the names of the lines take.
const INDENT: usize = 17;

/// What `devices --json` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceList {
    /// The version of the contract.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// `devices`.
    pub command: String,
    /// What was looked for.
    pub words: String,
    /// What was found, in the order of the knowledge base.
    pub devices: Vec<Entry>,
}

/// One box; what is not known is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Who makes it.
    pub vendor: String,
    /// Which of theirs.
    pub product: String,
    /// Its timer for packets one way only, unless changed.
    pub udp_timeout_s: Option<Number>,
    /// Its timer for a registration.
    pub exchange_timeout_s: Option<Number>,
    /// Its timer for a call.
    pub udp_stream_timeout_s: Option<Number>,
    /// How sure the timers are: `verified`, `secondary` or `unverified`.
    pub number_confidence: Option<String>,
    /// Where the timer is set.
    pub timeout_setting: Option<String>,
    /// The command that sets it to 65 s.
    pub timeout_command: Option<String>,
    /// What gives one public address for all destinations.
    pub consistent_nat_setting: Option<String>,
    /// What it does to SIP.
    pub sip_alg: Option<String>,
    /// What else is known.
    pub notes: Option<String>,
    /// Who says so.
    pub source: Option<String>,
    /// How sure the settings are: `verified`, `secondary` or `unverified`.
    pub confidence: String,
}

impl DeviceList {
    /// What the knowledge base has on these words.
    #[must_use]
    pub fn of(words: &str) -> Self {
        let seconds = |count: Option<u64>| Some(Number::seconds(Duration::from_secs(count?)));
        let sure = |confidence: Confidence| confidence.as_str().to_owned();
        let entries = devices::named(words).into_iter().map(|device| Entry {
            vendor: device.vendor.clone(),
            product: device.product.clone(),
            udp_timeout_s: seconds(device.udp_timeout_s),
            exchange_timeout_s: seconds(device.exchange_timeout_s),
            udp_stream_timeout_s: seconds(device.udp_stream_timeout_s),
            number_confidence: device.number_confidence.map(sure),
            timeout_setting: device.timeout_setting.clone(),
            timeout_command: device.raise_command(NEEDED),
            consistent_nat_setting: device.consistent_nat_setting.clone(),
            sip_alg: device.sip_alg.clone(),
            notes: device.notes.clone(),
            source: device.source.clone(),
            confidence: sure(device.confidence),
        });
        Self {
            schema_version: SCHEMA_VERSION,
            tool: tool(),
            command: "devices".into(),
            words: words.into(),
            devices: entries.collect(),
        }
    }

    /// As JSON, indented, with a newline at its end.
    #[must_use]
    pub fn json(&self) -> String {
        json::pretty(self)
    }

    /// As text of 80 columns: everything about what was looked for, a line each where that is all.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<String> = if self.devices.is_empty() {
            wrap::paragraph(
                &format!(
                    "Nothing is known of \"{}\"; `iax2-natcheck devices` lists every box, and \
                     `iax2-natcheck nat lifetime` measures the timers of yours.",
                    self.words
                ),
                "",
                "",
            )
        } else if self.words.is_empty() {
            self.table()
        } else {
            let mut lines: Vec<String> = self.devices.iter().flat_map(details).collect();
            lines.pop(); // the empty line behind the last one
            lines
        };
        lines.join("\n") + "\n"
    }

    fn table(&self) -> Vec<String> {
        let head = "Timers in seconds, unless changed: packets one way / calls. In full: iax2-natcheck \
                    devices WORDS";
        let mut lines = wrap::paragraph(head, "", "");
        lines.push(String::new());
        lines.extend(self.devices.iter().flat_map(|entry| {
            let shown = |timer: Option<Number>| timer.map_or("?".into(), |timer| timer.to_string());
            let sure = match entry.number_confidence.as_deref() {
                Some("verified") | None => "",
                Some(_) => " ~",
            };
            let timers = format!(
                "{}/{}{sure}",
                shown(entry.udp_timeout_s),
                shown(entry.udp_stream_timeout_s)
            );
            let name = format!("{} {}", entry.vendor, entry.product);
            wrap::paragraph(&name, &format!("{timers:<10}"), &" ".repeat(10))
        }));
        lines.push(String::new());
        lines.push("~ not verified, ? not known".into());
        lines
    }
}

/// Everything about one box, and an empty line behind it.
fn details(entry: &Entry) -> Vec<String> {
    let timers: Vec<String> = [
        ("packets one way", entry.udp_timeout_s),
        ("a registration", entry.exchange_timeout_s),
        ("a call", entry.udp_stream_timeout_s),
    ]
    .into_iter()
    .filter_map(|(what, timer)| Some(format!("{what} {} s", timer?)))
    .collect();
    let timers = entry
        .number_confidence
        .as_ref()
        .map(|sure| format!("{} ({sure})", timers.join(", ")));
    let command = entry
        .timeout_command
        .as_ref()
        .map(|command| match entry.confidence.as_str() {
            "verified" => command.clone(),
            doubt => format!("{command} ({doubt}: look it up first)"),
        });
    let rows = [
        ("timers", timers),
        ("set at", entry.timeout_setting.clone()),
        ("command, 65 s", command),
        ("one address", entry.consistent_nat_setting.clone()),
        ("SIP", entry.sip_alg.clone()),
        ("notes", entry.notes.clone()),
        ("source", entry.source.clone()),
        ("settings are", Some(entry.confidence.clone())),
    ];
    let name = format!("{} {}", entry.vendor, entry.product);
    let mut lines = wrap::paragraph(&name, "", "  ");
    for (what, words) in rows {
        let words = words.unwrap_or_else(|| "none known".into());
        let first = format!("   {what:<14}");
        lines.extend(wrap::paragraph(&words, &first, &" ".repeat(INDENT)));
    }
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_box_in_full() {
        let text = DeviceList::of("sonicwall tz").text();
        assert!(text.starts_with("SonicWall TZ170 (TZ series), SonicOS Enhanced\n"));
        assert!(text.contains("   timers        packets one way 30 s (secondary)\n"));
        assert!(text.contains("   one address   Firewall > VOIP > Enable consistent NAT\n"));
        assert!(text.contains("   settings are  secondary\n"), "{text}");
    }

    #[test]
    fn an_unverified_command_says_so_in_its_line() {
        let text = DeviceList::of("draytek").text();
        assert!(text.contains("portmaptime -u 65 (secondary: look it up first)"));
    }

    #[test]
    fn all_of_them_a_line_each() {
        let list = DeviceList::of("");
        let text = list.text();
        assert!(
            text.contains("30/120    Linux netfilter, kernel 5.0 and later\n"),
            "{text}"
        );
        assert!(text.contains("?/?       AVM FRITZ!Box\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        assert!(list.json().contains("\"command\": \"devices\""));
    }

    #[test]
    fn nothing_found_says_where_to_look() {
        assert!(
            DeviceList::of("no-such-box")
                .text()
                .starts_with("Nothing is known")
        );
    }
}
