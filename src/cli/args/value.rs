//! The values that options take, and how they are read.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use iax2_natcheck::{
    check::devices::{self, Device},
    wire::{
        firewall::Prefix,
        iax2::{PORT, format::Formats},
    },
};

/// An address to listen on, port 4569 unless given.
pub(super) fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, PORT))
        .or_else(|_| text.parse())
        .map_err(|_| "write ADDRESS, ADDRESS:PORT, or [IPV6]:PORT")
}

/// A duration of more than nothing.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or("write a duration such as 90s or 5m")
}

/// A duration, perhaps none.
pub(super) fn any_duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "write a duration such as 1s or 500ms, or 0s")
}

/// A box of the knowledge base, by words that no other one has.
pub(super) fn device(text: &str) -> Result<&'static Device, String> {
    const NAMED: usize = 4;
    let found = devices::named(text);
    match found.as_slice() {
        [device] if !text.trim().is_empty() => Ok(device),
        [] => Err("no such box is known; `iax2-natcheck devices` lists them".into()),
        several => {
            let names = several.iter().take(NAMED).map(ToString::to_string);
            let dots = if several.len() > NAMED { "; …" } else { "" };
            Err(format!(
                "{} boxes have these words: {}{dots}; add words",
                several.len(),
                names.collect::<Vec<_>>().join("; ")
            ))
        }
    }
}

/// A network.
pub(super) fn prefix(text: &str) -> Result<Prefix, &'static str> {
    text.parse()
}

/// A refresh: whole seconds that REFRESH can carry (RFC 5456 §8.6.18).
pub(super) fn refresh(text: &str) -> Result<Duration, &'static str> {
    duration(text)
        .ok()
        .filter(|refresh| refresh.subsec_nanos() == 0 && refresh.as_secs() <= 65_535)
        .ok_or("write whole seconds from 1s to 65535s, such as 60s or 5m")
}

/// A codec, by the name that Asterisk gives it.
pub(super) fn codec(text: &str) -> Result<Formats, &'static str> {
    Formats::from_bits(u64::MAX)
        .iter()
        .find(|format| format.name() == Some(text))
        .ok_or("write the name of a codec, such as ulaw, alaw, gsm or g729")
}

/// DTMF digits.
pub(super) fn digits(text: &str) -> Result<String, &'static str> {
    let fit = |digit: u8| digit.is_ascii_digit() || b"ABCD*#".contains(&digit);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(fit) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 64 of the digits 0 to 9, A to D, * and #")
    }
}

/// A rate in bits a second: a number, and kbit or mbit behind it.
pub(super) fn rate(text: &str) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (number, factor) = [
        ("kbit", 1_000),
        ("mbit", 1_000_000),
        ("gbit", 1_000_000_000),
        ("bit", 1),
    ]
    .into_iter()
    .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?, factor)))
    .unwrap_or((&lower, 1));
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|rate| *rate > 0)
        .ok_or("write a rate such as 640kbit or 1mbit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_named_by_words_of_its_own() {
        assert_eq!(
            device("sonicwall tz").map(|device| device.udp_timeout_s),
            Ok(Some(30))
        );
        for (text, expected) in [
            ("no-such-box", "no such box"),
            ("", "boxes have"),
            (
                "mikrotik",
                "2 boxes have these words: MikroTik RouterOS v6; MikroTik RouterOS v7; add",
            ),
        ] {
            assert!(device(text).unwrap_err().contains(expected), "{text}");
        }
    }

    #[test]
    fn rates_codecs_and_digits_are_read() {
        assert_eq!(rate("1mbit"), Ok(1_000_000));
        assert_eq!(rate("640kbit"), Ok(640_000));
        assert_eq!(rate("9600"), Ok(9600));
        for text in ["", "fast", "-1mbit", "0", "99999999999999gbit"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(codec("alaw"), Ok(Formats::ALAW));
        assert!(codec("mp3").is_err());
        assert_eq!(digits("12#*D").as_deref(), Ok("12#*D"));
        assert!(digits("12a").is_err());
    }

    #[test]
    fn a_refresh_is_whole_seconds() {
        assert_eq!(refresh("2m"), Ok(Duration::from_secs(120)));
        for text in ["0s", "500ms", "1d", "soon"] {
            assert!(refresh(text).is_err(), "{text}");
        }
    }
}
