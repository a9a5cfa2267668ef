//! SSDP: how a `UPnP` router is found (`UPnP` Device Architecture 1.1, §1.3).

use std::net::{IpAddr, SocketAddr};

/// Where a search goes: a multicast address, and this port of a single host.
pub const MULTICAST: &str = "239.255.255.250:1900";
/// The port of a search.
pub const PORT: u16 = 1900;

/// What routers call themselves.
pub const GATEWAYS: [&str; 2] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
];

/// A search for devices of this kind, to be answered within a second.
#[must_use]
pub fn search(kind: &str, host: SocketAddr) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {kind}\r\n\r\n"
    )
}

/// Where the device that answered describes itself; `None` where that is no answer of a router, or where it
/// names another host than itself.
#[must_use]
pub fn location(answer: &[u8], source: IpAddr) -> Option<Url> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?;
    if !(status.starts_with("HTTP/1.") && status.split(' ').nth(1) == Some("200")) {
        return None;
    }
    let headers: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let header = |wanted: &str| {
        let mut found = headers.iter();
        found
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
    };
    if !header("ST")?.contains("InternetGatewayDevice") {
        return None;
    }
    Url::parse(header("LOCATION")?).filter(|url| url.host.ip() == source)
}

/// An `http` address of a host that is named by its IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The host.
    pub host: SocketAddr,
    /// What is asked for, from the first slash on.
    pub path: String,
}

impl Url {
    /// Reads an absolute address; `None` where it is of another kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        let host = host
            .parse()
            .or_else(|_| host.parse().map(|ip| SocketAddr::new(ip, 80)))
            .ok()?;
        let is_plain = path.bytes().all(|octet| octet.is_ascii_graphic());
        is_plain.then(|| Self {
            host,
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }

    /// The address that stands in a document at this one, on the same host; `None` where it names another.
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        if reference.contains("://") {
            return Self::parse(reference).filter(|url| url.host.ip() == self.host.ip());
        }
        let (folder, slash) = if reference.starts_with('/') {
            ("", "")
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            (folder, "/")
        };
        Self::parse(&format!("http://{}{folder}{slash}{reference}", self.host))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
        ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
        Location: http://192.168.1.1:5000/rootDesc.xml\r\nEXT:\r\n\r\n";

    fn router() -> IpAddr {
        "192.168.1.1".parse().unwrap()
    }

    #[test]
    fn a_router_says_where_it_describes_itself() {
        let url = location(ANSWER.as_bytes(), router()).unwrap();
        assert_eq!(url.to_string(), "http://192.168.1.1:5000/rootDesc.xml");
    }

    #[test]
    fn what_is_no_answer_of_that_router_is_passed_over() {
        for answer in [
            ANSWER.replace("200 OK", "404 Not Found"),
            ANSWER.replace("InternetGatewayDevice", "MediaServer"),
            ANSWER.replace("192.168.1.1", "192.168.1.2"),
            ANSWER.replace("http://192.168.1.1", "http://router.example"),
            ANSWER.replace("Location", "Elsewhere"),
            ANSWER.replace("http", "https"),
            String::new(),
        ] {
            assert_eq!(location(answer.as_bytes(), router()), None, "{answer}");
        }
        assert_eq!(location(b"\xff\xfe", router()), None);
    }

    #[test]
    fn references_stay_on_their_host() {
        let base = Url::parse("http://192.168.1.1:5000/igd/desc.xml").unwrap();
        let rows = [
            ("/ctl/IPConn", Some("http://192.168.1.1:5000/ctl/IPConn")),
            ("ctl", Some("http://192.168.1.1:5000/igd/ctl")),
            ("http://192.168.1.1:80/x", Some("http://192.168.1.1:80/x")),
            ("http://192.168.1.2/x", None),
            ("/a b", None),
        ];
        for (reference, expected) in rows {
            let joined = base.join(reference).map(|url| url.to_string());
            assert_eq!(joined.as_deref(), expected, "{reference}");
        }
        assert_eq!(Url::parse("http://[fe80::1]:80").unwrap().path, "/");
    }
}
