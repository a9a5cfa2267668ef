//! An IPv4 network, such as the one of a LAN.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 network: `192.168.1.0/24`. Its address has no bit set behind its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Prefix {
    /// The private networks (RFC 1918 §3).
    pub const PRIVATE: [Self; 3] = [
        Self {
            address: Ipv4Addr::new(10, 0, 0, 0),
            length: 8,
        },
        Self {
            address: Ipv4Addr::new(172, 16, 0, 0),
            length: 12,
        },
        Self {
            address: Ipv4Addr::new(192, 168, 0, 0),
            length: 16,
        },
    ];

    /// The network of an address, whose other bits are dropped; none where the length is over 32.
    #[must_use]
    pub fn of(address: Ipv4Addr, length: u8) -> Option<Self> {
        let address = Ipv4Addr::from_bits(address.to_bits() & mask(length)?);
        Some(Self { address, length })
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Self::of(address, self.length) == Some(self)
    }

    /// Whether the other network is all in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Whether it is private all over.
    #[must_use]
    pub fn is_private(self) -> bool {
        Self::PRIVATE.iter().any(|private| private.covers(self))
    }
}

impl From<Ipv4Addr> for Prefix {
    fn from(address: Ipv4Addr) -> Self {
        Self {
            address,
            length: 32,
        }
    }
}

fn mask(length: u8) -> Option<u32> {
    let shift = 32_u32.checked_sub(length.into())?;
    Some(u32::MAX.checked_shl(shift).unwrap_or(0))
}

impl FromStr for Prefix {
    type Err = &'static str;

    /// Reads `192.168.1.0/24`, `192.168.1.0/255.255.255.0` or a single address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a network such as 192.168.1.0/24";
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| WRONG)?;
        let length = match length.parse::<Ipv4Addr>() {
            Ok(mask) if mask.to_bits().count_zeros() == mask.to_bits().trailing_zeros() => {
                u8::try_from(mask.to_bits().count_ones()).map_err(|_| WRONG)?
            }
            Ok(_) => return Err(WRONG),
            Err(_) => length.parse().map_err(|_| WRONG)?,
        };
        Self::of(address, length).ok_or(WRONG)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 32 {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_written() {
        let rows = [
            ("192.168.1.0/24", "192.168.1.0/24"),
            ("192.168.1.7/24", "192.168.1.0/24"),
            ("192.168.1.0/255.255.255.0", "192.168.1.0/24"),
            ("192.168.1.7", "192.168.1.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ];
        for (text, written) in rows {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), written);
        }
        for text in ["", "lan", "192.168.1.0/33", "10.0.0.0/255.0.255.0", "::1"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_private_only_all_over() {
        let private = |text: &str| text.parse::<Prefix>().unwrap().is_private();
        assert!(private("10.1.0.0/16") && private("172.31.0.0/16") && private("192.168.1.1"));
        assert!(!private("172.0.0.0/8") && !private("198.51.100.0/24") && !private("0.0.0.0/0"));
        let lan: Prefix = "192.168.1.0/24".parse().unwrap();
        assert!(lan.contains(Ipv4Addr::new(192, 168, 1, 9)));
        assert!(!lan.contains(Ipv4Addr::new(192, 168, 2, 9)));
    }
}
