//! The table as a text file, for those who may read it and may not ask over netlink.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Entry, Flow, Wanted};
use crate::os::OsError;

/// Where it is, on kernels that are built with it.
pub const PROC_FILE: &str = "/proc/net/nf_conntrack";

/// What was read of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The entries that are wanted, in order.
    pub entries: Vec<Entry>,
}

impl Reading {
    /// Reads the file. It says less than netlink: no numbers of entries, so that none can be deleted
    /// without the danger of hitting its successor.
    ///
    /// # Errors
    ///
    /// [`OsError::NotPermitted`], or [`OsError::NoConntrack`] where there is no such file.
    pub fn take(wanted: &Wanted) -> Result<Self, OsError> {
        const WHAT: &str = "the table of connections cannot be read";
        let file = File::open(PROC_FILE).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OsError::NoConntrack { what: WHAT },
            io::ErrorKind::PermissionDenied => OsError::NotPermitted { what: WHAT },
            _ => OsError::Netlink {
                what: WHAT,
                source: error,
            },
        })?;
        read_lines(BufReader::new(file), wanted)
            .map_err(|source| OsError::Netlink { what: WHAT, source })
    }
}

/// Reads lines in the form of the file; lines of other protocols are passed over.
///
/// # Errors
///
/// Where the source cannot be read.
pub fn read_lines(source: impl BufRead, wanted: &Wanted) -> io::Result<Reading> {
    let mut entries = vec![];
    for line in source.lines() {
        if let Some(entry) = entry(&line?).filter(|entry| wanted.takes(entry)) {
            entries.push(entry);
        }
    }
    entries.sort_by_key(|entry| (entry.original, entry.zone));
    Ok(Reading { entries })
}

/// `ipv4 2 udp 17 29 src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… sport=… dport=… mark=0 use=2`
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    words.nth(2).filter(|protocol| *protocol == "udp")?;
    let expires = Duration::from_secs(words.nth(1)?.parse().ok()?);
    let mut fields: [Vec<&str>; 4] = Default::default();
    let (mut seen_reply, mut assured, mut mark, mut zone) = (true, false, 0, 0);
    for word in words {
        match word.split_once('=') {
            Some(("src", value)) => fields[0].push(value),
            Some(("dst", value)) => fields[1].push(value),
            Some(("sport", value)) => fields[2].push(value),
            Some(("dport", value)) => fields[3].push(value),
            Some(("mark", value)) => mark = value.parse().ok()?,
            Some(("zone", value)) => zone = value.parse().ok()?,
            None if word == "[UNREPLIED]" => seen_reply = false,
            None if word == "[ASSURED]" => assured = true,
            _ => {}
        }
    }
    let flow = |index: usize| {
        let at = |field: &Vec<&str>| field.get(index).copied().map(str::to_owned);
        let ip = |field| at(field)?.parse::<IpAddr>().ok();
        let port = |field| at(field)?.parse::<u16>().ok();
        Some(Flow {
            source: SocketAddr::new(ip(&fields[0])?, port(&fields[2])?),
            destination: SocketAddr::new(ip(&fields[1])?, port(&fields[3])?),
        })
    };
    Some(Entry {
        original: flow(0)?,
        reply: flow(1)?,
        seen_reply,
        assured,
        expires: Some(expires),
        mark,
        zone,
        id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read_and_others_passed_over() {
        let text = "\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.0.0.3 sport=4569 dport=4569 src=10.0.0.3 dst=10.0.0.2 sport=4569 dport=4569 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 119 src=192.168.1.10 dst=203.0.113.1 sport=4569 dport=4569 src=203.0.113.1 dst=198.51.100.7 sport=4569 dport=4569 [ASSURED] mark=256 zone=3 use=2
ipv6     10 udp      17 29 src=fd00:0000:0000:0000:0000:0000:0000:0010 dst=2001:0db8:0000:0000:0000:0000:0000:0001 sport=4569 dport=4569 [UNREPLIED] src=2001:0db8:0000:0000:0000:0000:0000:0001 dst=fd00:0000:0000:0000:0000:0000:0000:0010 sport=4569 dport=4569 mark=0 zone=0 use=2
ipv4     2 udp      17 9 src=192.168.1.10 dst=203.0.113.1 sport=53 dport=53 src=203.0.113.1 dst=198.51.100.7 sport=53 dport=53 mark=0 use=2
ipv4     2 udp      17 9 src=192.168.1.10 dst=
";
        let wanted = Wanted {
            port: 4569,
            peers: vec![],
        };
        let entries = read_lines(text.as_bytes(), &wanted).unwrap().entries;
        assert_eq!(entries.len(), 2, "{entries:#?}");
        let [v4, v6] = entries[..] else { panic!() };
        assert_eq!(
            v4.original.to_string(),
            "192.168.1.10:4569 → 203.0.113.1:4569"
        );
        assert_eq!(v4.reply.destination, "198.51.100.7:4569".parse().unwrap());
        assert_eq!((v4.mark, v4.zone, v4.id), (256, 3, None));
        assert!(v4.assured && v4.seen_reply);
        assert_eq!(v4.expires, Some(Duration::from_secs(119)));
        assert_eq!(v6.original.source, "[fd00::10]:4569".parse().unwrap());
        assert!(!v6.assured && !v6.seen_reply);
    }
}
