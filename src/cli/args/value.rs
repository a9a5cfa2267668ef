//! The values that options take, and how they are read.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use iax2_natcheck::wire::{firewall::Prefix, iax2::PORT};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_is_whole_seconds() {
        assert_eq!(refresh("2m"), Ok(Duration::from_secs(120)));
        for text in ["0s", "500ms", "1d", "soon"] {
            assert!(refresh(text).is_err(), "{text}");
        }
    }
}
