//! The router that this host sends to what is not on its own links.

use std::{fs, net::Ipv4Addr};

/// The flag of a route that leads through a router (route(8), `RTF_GATEWAY`).
const THROUGH_ROUTER: u32 = 2;

/// The router of the default route, the one with the least metric; `None` where there is none.
#[must_use]
pub fn default_gateway() -> Option<Ipv4Addr> {
    parse(&fs::read_to_string("/proc/net/route").ok()?)
}

/// Reads `/proc/net/route`: addresses are numbers in the byte order of the host.
fn parse(table: &str) -> Option<Ipv4Addr> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, destination, gateway, flags, _, _, metric, mask, ..] = columns.as_slice()
            else {
                return None;
            };
            let hex = |text: &str| u32::from_str_radix(text, 16).ok();
            let is_default = hex(destination)? == 0 && hex(mask)? == 0;
            let is_through = hex(flags)? & THROUGH_ROUTER != 0;
            let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
            (is_default && is_through).then_some((metric.parse::<u32>().ok()?, gateway))
        })
        .min()
        .map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn line(destination: &str, gateway: Ipv4Addr, flags: u8, metric: u32, mask: &str) -> String {
        let gateway = u32::from_ne_bytes(gateway.octets());
        format!(
            "eth0\t{destination}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"
        )
    }

    #[test]
    fn the_default_route_with_the_least_metric_counts() {
        let [near, far] = [1, 2].map(|host| Ipv4Addr::new(192, 168, 1, host));
        let none = Ipv4Addr::UNSPECIFIED;
        let table = [
            HEAD.to_owned(),
            line("0001A8C0", none, 1, 0, "00FFFFFF"),
            line("00000000", far, 3, 600, "00000000"),
            line("00000000", near, 3, 100, "00000000"),
            line("0000000A", far, 3, 0, "000000FF"),
            line("00000000", none, 1, 0, "00000000"),
        ];
        assert_eq!(parse(&table.concat()), Some(near));
        assert_eq!(parse(HEAD), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse(&format!("{HEAD}eth0\tnonsense\n")), None);
    }
}
