//! The values that options take, and how they are read.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// The port of IAX2 (RFC 5456 §2).
const PORT: u16 = 4569;

/// A host and, where given, a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port, where it was given.
    pub(crate) port: Option<u16>,
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "write HOST, HOST:PORT, or [IPV6]:PORT";
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, behind) = rest.split_once(']').ok_or(FORMS)?;
            if host.parse::<IpAddr>().is_err() {
                return Err(FORMS);
            }
            match behind {
                "" => (host, None),
                _ => (host, Some(behind.strip_prefix(':').ok_or(FORMS)?)),
            }
        } else if text.parse::<IpAddr>().is_ok() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(FORMS);
        }
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return Err("the port is a number from 1 to 65535"),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

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
    fn hosts_come_in_every_form() {
        let rows = [
            ("iax.example.net", Some(("iax.example.net", None))),
            (
                "iax.example.net:4570",
                Some(("iax.example.net", Some(4570))),
            ),
            ("192.0.2.1", Some(("192.0.2.1", None))),
            ("192.0.2.1:1", Some(("192.0.2.1", Some(1)))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("[2001:db8::1]:4570", Some(("2001:db8::1", Some(4570)))),
            ("", None),
            (":4569", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]4570", None),
            ("[host]:4570", None),
            ("iax2://host", None),
            ("two words", None),
        ];
        for (text, expected) in rows {
            let read = text.parse::<HostPort>().ok();
            let expected = expected.map(|(host, port)| HostPort {
                host: host.into(),
                port,
            });
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_refresh_is_whole_seconds() {
        assert_eq!(refresh("2m"), Ok(Duration::from_secs(120)));
        for text in ["0s", "500ms", "1d", "soon"] {
            assert!(refresh(text).is_err(), "{text}");
        }
    }
}
