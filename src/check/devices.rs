//! Which box is it, and where on it are the timers and switches that matter? A knowledge base of NAT
//! devices that is part of the program, and the ways to find one in it.
//!
//! Every entry says how sure it is: [`Confidence`]. A step that nobody verified is never told as a
//! sure one. The hardware address of the gateway is not consulted: a list of manufacturers is larger
//! than this program, and the maker of a network chip is not the author of its firmware.

use std::{fmt, sync::LazyLock, time::Duration};

use serde::Deserialize;

use crate::{
    check::Context,
    probe::{
        behaviour::Shape,
        evidence::{Evidence, LifetimeEvidence, ShapeLifetime},
    },
};

/// How sure an entry, or its numbers, are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The vendor's documentation, the source code, or a measurement of ours says so.
    Verified,
    /// Somebody else does: a guide, a user's report.
    Secondary,
    /// General knowledge.
    Unverified,
}

impl Confidence {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Secondary => "secondary",
            Self::Unverified => "unverified",
        }
    }
}

/// One kind of box. What is not known is `None`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Who makes it.
    pub vendor: String,
    /// Which of theirs.
    pub product: String,
    /// What a UPnP description of it contains: small letters and digits alone.
    #[serde(default)]
    pub upnp: Vec<String>,
    /// The shortest timer of UDP in seconds, unless changed: packets one way only.
    pub udp_timeout_s: Option<u64>,
    /// The timer of a registration, where it is known which of the two that is: packets both ways, over
    /// within two seconds.
    pub exchange_timeout_s: Option<u64>,
    /// The timer of a call: packets both ways for longer.
    pub udp_stream_timeout_s: Option<u64>,
    /// Where the timer is set.
    pub timeout_setting: Option<String>,
    /// The command that sets it; see [`Device::raise_command`].
    timeout_command: Option<String>,
    /// What makes one public address for all destinations of it.
    pub consistent_nat_setting: Option<String>,
    /// What it does to SIP, and how that is turned off; IAX2 is not touched by it.
    pub sip_alg: Option<String>,
    /// What else is known.
    pub notes: Option<String>,
    /// Who says so.
    pub source: Option<String>,
    /// How sure the settings are.
    pub confidence: Confidence,
    /// How sure the timers are; `None`: there are none.
    pub number_confidence: Option<Confidence>,
}

/// The knowledge base, read once; the tests prove that it can be.
static DEVICES: LazyLock<Vec<Device>> =
    LazyLock::new(|| serde_json::from_str(include_str!("devices.json")).unwrap_or_default());

/// Calls are left this timer at least where a command sets both.
const STREAM: Duration = Duration::from_secs(300);

impl Device {
    /// The command that sets the timer of a registration to `timeout`, rounded up to what it takes.
    #[must_use]
    pub fn raise_command(&self, timeout: Duration) -> Option<String> {
        let seconds = timeout.as_secs();
        let stream = timeout.max(STREAM).as_secs();
        let clock = format!(
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        let command = self.timeout_command.as_ref()?;
        Some(
            command
                .replace("{s}", &seconds.to_string())
                .replace("{stream}", &stream.to_string())
                .replace("{m}", &seconds.div_ceil(60).to_string())
                .replace("{hms}", &clock),
        )
    }

    /// What to do on this box so that it keeps an idle mapping for `timeout`; `None` where nothing is
    /// known. What stands behind its last colon may be pasted only where it is verified.
    #[must_use]
    pub fn raise(&self, timeout: Duration) -> Option<String> {
        let seconds = timeout.as_secs();
        let setting = self
            .timeout_setting
            .as_ref()
            .map(|setting| format!("set {seconds} s or more at {setting}"));
        match (self.raise_command(timeout), setting) {
            (Some(command), _) if self.confidence == Confidence::Verified => Some(format!(
                "on {self}, raise the UDP timeout to {seconds} s or more: {command}"
            )),
            (Some(command), None) => Some(self.doubted(&format!("run `{command}`"))),
            (Some(command), Some(setting)) => {
                Some(self.doubted(&format!("{setting}, or `{command}`")))
            }
            (None, Some(setting)) => Some(self.doubted(&setting)),
            (None, None) => None,
        }
    }

    /// What to do on this box for one public address towards all destinations.
    #[must_use]
    pub fn make_consistent(&self) -> Option<String> {
        Some(self.doubted(self.consistent_nat_setting.as_ref()?))
    }

    /// A step with how sure it is.
    fn doubted(&self, step: &str) -> String {
        match self.confidence {
            Confidence::Verified => format!("on {self}, {step}"),
            Confidence::Secondary => {
                format!("on {self}, as others report and nobody here has verified, {step}")
            }
            Confidence::Unverified => {
                format!("on {self}, which is not verified, so see its manual, {step}")
            }
        }
    }

    /// Whether timers that were measured can be those that it has unless changed. Numbers that nobody
    /// verified match nothing.
    fn keeps(&self, measured: &Timers<'_>) -> bool {
        let is_known = matches!(
            self.number_confidence,
            Some(Confidence::Verified | Confidence::Secondary)
        );
        let (Some(short), Some(long)) = (self.udp_timeout_s, self.udp_stream_timeout_s) else {
            return false;
        };
        let fits = |timer: u64, shape: Option<&ShapeLifetime>| {
            shape.is_none_or(|shape| {
                let timer = Duration::from_secs(timer);
                shape.alive.is_none_or(|alive| alive < timer)
                    && shape.dead.is_none_or(|dead| timer <= dead)
            })
        };
        let exchange = match self.exchange_timeout_s {
            Some(known) => fits(known, measured.exchange),
            None => fits(short, measured.exchange) || fits(long, measured.exchange),
        };
        is_known && exchange && fits(short, measured.one_way) && fits(long, measured.stream)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.vendor, self.product)
    }
}

/// A box that is known to be in front of the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The box.
    pub device: &'static Device,
    /// Who says so.
    pub by: Witness,
}

/// Who says which box it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// The user, with `--device`.
    User,
    /// The box itself, in its `UPnP` description.
    Upnp,
}

impl Witness {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Upnp => "upnp",
        }
    }
}

/// Which box it is, where somebody says so: the user goes before the description, which may be that of
/// another box on the way. Words that fit several boxes name none.
#[must_use]
pub fn known(evidence: &Evidence, context: &Context) -> Option<Known> {
    let told = context.device.map(|device| (device, Witness::User));
    let mapping = evidence.port_mapping.as_ref();
    let found = || {
        let description = mapping?.device.as_ref()?;
        match described(description).as_slice() {
            [device] => Some((*device, Witness::Upnp)),
            _ => None,
        }
    };
    let (device, by) = told.or_else(found)?;
    Some(Known { device, by })
}

/// Edges that were measured.
struct Timers<'a> {
    one_way: Option<&'a ShapeLifetime>,
    exchange: Option<&'a ShapeLifetime>,
    stream: Option<&'a ShapeLifetime>,
}

/// Every box that is known, in the order of the knowledge base.
#[must_use]
pub fn all() -> &'static [Device] {
    &DEVICES
}

/// The boxes whose name has all the words. Case and punctuation do not matter; no words are all boxes.
/// A word such as `30/120` stands for the shorter and the longer timer.
#[must_use]
pub fn named(words: &str) -> Vec<&'static Device> {
    let fits = |device: &Device, word: &str| {
        let timers = word.split_once('/').and_then(|(short, long)| {
            Some((short.parse::<u64>().ok()?, long.parse::<u64>().ok()?))
        });
        match timers {
            Some((short, long)) => {
                (device.udp_timeout_s, device.udp_stream_timeout_s) == (Some(short), Some(long))
            }
            None => plain(&device.to_string()).contains(&plain(word)),
        }
    };
    all()
        .iter()
        .filter(|device| words.split_whitespace().all(|word| fits(device, word)))
        .collect()
}

/// The boxes that the words of a UPnP description fit.
#[must_use]
pub fn described(description: &str) -> Vec<&'static Device> {
    let description = plain(description);
    all()
        .iter()
        .filter(|device| device.upnp.iter().any(|mark| description.contains(mark)))
        .collect()
}

/// The boxes that keep these timers unless changed. Both ends of the range of timers must have been
/// found: a registration's or a single packet's, and a call's.
#[must_use]
pub fn with_timers(lifetime: &LifetimeEvidence) -> Vec<&'static Device> {
    let edge = |wanted| {
        let mut shapes = lifetime.shapes.iter();
        shapes
            .find(|(shape, _)| *shape == wanted)
            .map(|(_, edge)| edge)
            .filter(|edge| edge.dead.is_some())
    };
    let timers = Timers {
        one_way: edge(Shape::OneWay),
        exchange: edge(Shape::Exchange),
        stream: edge(Shape::Stream),
    };
    if timers.stream.is_none() || (timers.one_way.is_none() && timers.exchange.is_none()) {
        return vec![];
    }
    all()
        .iter()
        .filter(|device| device.keeps(&timers))
        .collect()
}

/// Small letters and digits alone.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{context, edge, exchange, outlived},
        probe::evidence::PortMappingEvidence,
    };

    fn names(devices: &[&Device]) -> Vec<String> {
        devices.iter().map(ToString::to_string).collect()
    }

    fn one(words: &str) -> &'static Device {
        let found = named(words);
        assert_eq!(found.len(), 1, "{words}: {:?}", names(&found));
        found[0]
    }

    #[test]
    fn the_knowledge_base_is_sound() {
        let read: Vec<Device> = serde_json::from_str(include_str!("devices.json")).unwrap();
        assert_eq!(read.as_slice(), all());
        assert!(all().len() > 50);
        let mut seen = names(&all().iter().collect::<Vec<_>>());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all().len(), "a box stands there twice");
        for device in all() {
            let numbers = [device.udp_timeout_s, device.udp_stream_timeout_s];
            let has_numbers = numbers.iter().any(Option::is_some);
            assert_eq!(device.number_confidence.is_some(), has_numbers, "{device}");
            if device.confidence == Confidence::Verified {
                assert!(device.source.is_some(), "{device} is verified by nobody");
            }
            for mark in &device.upnp {
                assert_eq!(*mark, plain(mark), "{device}");
            }
            if let Some(exchange) = device.exchange_timeout_s {
                assert!(numbers.contains(&Some(exchange)), "{device}");
            }
            let command = device.raise_command(Duration::from_secs(65));
            for part in ["{s}", "{m}", "{hms}", "{stream}"] {
                assert!(command.iter().all(|text| !text.contains(part)), "{device}");
            }
        }
    }

    #[test]
    fn the_boxes_of_the_users_page_are_there() {
        let sonicwall = one("SonicWall TZ");
        assert_eq!(sonicwall.udp_timeout_s, Some(30));
        let raise = sonicwall.raise(Duration::from_secs(65)).unwrap();
        assert!(raise.contains("65 s or more at Firewall > Advanced > Default UDP"));
        assert!(raise.contains("nobody here has verified"), "{raise}");
        let consistent = sonicwall.make_consistent().unwrap();
        assert!(consistent.contains("Enable consistent NAT"), "{consistent}");
        for words in ["sonicwall soho", "snapgear", "WRT54G with DD-WRT"] {
            assert_eq!(one(words).confidence, Confidence::Secondary);
        }
    }

    #[test]
    fn words_are_matched_without_case_and_punctuation() {
        assert_eq!(one("fritzbox").vendor, "AVM");
        assert_eq!(one("tz170 SONICWALL").vendor, "SonicWall");
        assert_eq!(one("linux 5.0 30/120").udp_stream_timeout_s, Some(120));
        assert_eq!(named("").len(), all().len());
        assert!(named("no-such-box").is_empty());
        assert!(named("30/121").is_empty());
        assert_eq!(named("sonicwall").len(), 4);
    }

    #[test]
    fn only_a_verified_command_stands_to_be_pasted() {
        let raise = |words, seconds| one(words).raise(Duration::from_secs(seconds));
        let rows = [
            (
                "linux later",
                65,
                ": sysctl -w net.netfilter.nf_conntrack_udp_timeout=65",
            ),
            ("asa", 165, ": timeout udp 0:02:45"),
            (
                "tomato",
                65,
                ": nvram set ct_udp_timeout=\"65 300\"; nvram commit",
            ),
            ("tomato", 400, "\"400 400\"; nvram commit"),
        ];
        for (words, seconds, end) in rows {
            let step = raise(words, seconds).unwrap();
            assert!(step.ends_with(end), "{step}");
        }
        for device in all() {
            let Some(step) = device.raise(Duration::from_secs(65)) else {
                continue;
            };
            let is_doubted = step.contains("verified");
            assert_eq!(
                is_doubted,
                device.confidence != Confidence::Verified,
                "{step}"
            );
        }
        assert_eq!(raise("fritzbox", 65), None);
    }

    #[test]
    fn timers_tell_the_kind_of_box() {
        let measured = |shapes: &[(Shape, u64)]| LifetimeEvidence {
            shapes: shapes
                .iter()
                .map(|(shape, timer)| (*shape, edge(timer - 1, *timer)))
                .collect(),
            ..exchange(outlived(300), 300)
        };
        let of = |one_way, exchange, stream| {
            let shapes = [
                (Shape::OneWay, one_way),
                (Shape::Exchange, exchange),
                (Shape::Stream, stream),
            ];
            names(&with_timers(&measured(&shapes)))
        };
        let linux = of(30, 30, 120);
        assert_eq!(linux[0], "Linux netfilter, kernel 5.0 and later");
        assert!(linux.iter().all(|name| !name.contains("before 5.0")));
        // The old kernels gave a registration the longer timer.
        let old = of(30, 180, 180);
        assert_eq!(old[0], "Linux netfilter, kernels before 5.0");
        assert!(of(60, 60, 60).iter().any(|name| name.contains("pfSense")));
        assert!(of(7, 7, 11).is_empty());
        // One timer alone fits too many.
        assert!(with_timers(&measured(&[(Shape::Exchange, 30)])).is_empty());
        assert!(with_timers(&measured(&[(Shape::OneWay, 30), (Shape::Exchange, 30)])).is_empty());
    }

    #[test]
    fn the_user_knows_better_than_a_description() {
        let evidence = |device: &str| Evidence {
            port_mapping: Some(PortMappingEvidence {
                device: Some(device.into()),
                ..PortMappingEvidence::default()
            }),
            ..Evidence::default()
        };
        let told = Context {
            device: Some(one("snapgear")),
            ..context()
        };
        let rows = [
            (
                &told,
                "AVM Berlin FRITZ!Box",
                Some(("SnapGear", Witness::User)),
            ),
            (
                &context(),
                "AVM Berlin FRITZ!Box",
                Some(("AVM", Witness::Upnp)),
            ),
            // Stock firmware and another one look the same.
            (&context(), "ASUSTeK RT-AX88U", None),
            (&context(), "Debian router", None),
        ];
        for (context, description, expected) in rows {
            let known = known(&evidence(description), context);
            let known = known.map(|known| (known.device.vendor.as_str(), known.by));
            assert_eq!(known, expected, "{description}");
        }
    }

    #[test]
    fn a_description_of_upnp_names_its_box() {
        let rows = [
            ("AVM Berlin FRITZ!Box 7590", "AVM FRITZ!Box"),
            (
                "OpenWrt OpenWRT router",
                "OpenWrt fw3/fw4, all current releases",
            ),
        ];
        for (description, name) in rows {
            assert_eq!(names(&described(description)), [name]);
        }
        assert!(described("Debian Debian router").is_empty());
        assert!(described("").is_empty());
    }
}
