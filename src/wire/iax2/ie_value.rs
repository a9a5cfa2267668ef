//! What information elements mean (RFC 5456 §8.6, and deployed peers where they differ).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use super::ie::{IeId, IeWriter, RawIe};
use crate::types::{MappedAddr, is_printable};

/// Text of a peer: meant as UTF-8, kept as it came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What moves the cursor or turns the direction of a text does not reach the terminal.
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_printable(character) {
                    write!(f, "{character}")?;
                } else {
                    write!(f, "{}", character.escape_default())?;
                }
            }
            for octet in chunk.invalid() {
                write!(f, "\\x{octet:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

macro_rules! ies {
    ($($(#[$doc:meta])* $variant:ident($kind:ident),)+) => {
        /// The value of one information element.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Ie<'a> {
            $($(#[$doc])* $variant(ies!(@type $kind)),)+
            /// An unknown element, or a known one whose data do not have its shape: both are skipped by
            /// deployed peers and kept here.
            Other(RawIe<'a>),
        }

        impl<'a> Ie<'a> {
            /// Reads the value of an element.
            #[must_use]
            pub fn read(raw: RawIe<'a>) -> Self {
                let value = match IeId::from(raw.id) {
                    $(IeId::$variant => ies!(@read $kind, raw.data).map(Self::$variant),)+
                    IeId::Unknown(_) => None,
                };
                value.unwrap_or(Self::Other(raw))
            }

            /// The id the element has on the wire.
            #[must_use]
            pub fn id(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => IeId::$variant.get(),)+
                    Self::Other(raw) => raw.id,
                }
            }

            fn write(&self, writer: IeWriter) -> IeWriter {
                match self {
                    $(Self::$variant(value) => {
                        let value = *value;
                        writer.raw(IeId::$variant.get(), ies!(@write $kind, value))
                    })+
                    Self::Other(raw) => writer.raw(raw.id, raw.data),
                }
            }
        }
    };
    (@type text) => { Text<'a> };
    (@type octets) => { &'a [u8] };
    (@type flag) => { () };
    (@type u8) => { u8 };
    (@type u16) => { u16 };
    (@type u32) => { u32 };
    (@type wide) => { u64 };
    (@read text, $data:expr) => { Some(Text($data)) };
    (@read octets, $data:expr) => { Some($data) };
    (@read flag, $data:expr) => { $data.is_empty().then_some(()) };
    (@read u8, $data:expr) => { $data.try_into().ok().map(u8::from_be_bytes) };
    (@read u16, $data:expr) => { $data.try_into().ok().map(u16::from_be_bytes) };
    (@read u32, $data:expr) => { $data.try_into().ok().map(u32::from_be_bytes) };
    // One octet of version, 0, before the 64 bits.
    (@read wide, $data:expr) => {
        match $data {
            [0, rest @ ..] => rest.try_into().ok().map(u64::from_be_bytes),
            _ => None,
        }
    };
    (@write text, $value:expr) => { $value.0 };
    (@write octets, $value:expr) => { $value };
    (@write flag, $value:expr) => { { let () = $value; &[] } };
    (@write u8, $value:expr) => { &$value.to_be_bytes() };
    (@write u16, $value:expr) => { &$value.to_be_bytes() };
    (@write u32, $value:expr) => { &$value.to_be_bytes() };
    (@write wide, $value:expr) => { &wide($value) };
}

ies! {
    /// The number dialled.
    CalledNumber(text),
    /// The caller's number.
    CallingNumber(text),
    /// The caller's number for billing.
    CallingAni(text),
    /// The caller's name.
    CallingName(text),
    /// The context dialled into.
    CalledContext(text),
    /// The account.
    Username(text),
    /// A plaintext password.
    Password(text),
    /// Formats the sender can do, as [`Formats`](super::format::Formats) bits.
    Capability(u32),
    /// The format wanted or chosen.
    Format(u32),
    /// The language.
    Language(text),
    /// The protocol version, 2.
    Version(u16),
    /// CPE ADSI capability.
    AdsiCpe(u16),
    /// The number originally dialled.
    Dnid(text),
    /// Methods offered: [`auth_method`] bits.
    AuthMethods(u16),
    /// The challenge; in RTKEY 16 octets of key.
    Challenge(octets),
    /// 32 hexadecimal digits.
    Md5Result(text),
    /// Base64 of a signature.
    RsaResult(text),
    /// A socket address: [`read_sockaddr`].
    ApparentAddr(octets),
    /// Seconds.
    Refresh(u16),
    /// What the dial plan knows.
    DpStatus(u16),
    /// The peer's call number.
    CallNo(u16),
    /// The cause in words.
    Cause(text),
    /// The command that is not supported.
    IaxUnknown(u8),
    /// Old messages in the high octet, new ones in the low; 0xFFFF: some.
    MsgCount(u16),
    /// Answer at once.
    AutoAnswer(flag),
    /// Nothing, or the class of music.
    MusicOnHold(text),
    /// Names a transfer.
    TransferId(u32),
    /// The redirecting number.
    Rdnis(text),
    /// Nested elements with ids of their own.
    Provisioning(octets),
    /// Encrypted provisioning.
    AesProvisioning(octets),
    /// Packed date and time: [`DateTime`].
    DateTime(u32),
    /// The kind of device.
    DeviceType(text),
    /// The device's service identifier.
    ServiceIdent(text),
    /// The firmware's version.
    FirmwareVer(u16),
    /// Which firmware block.
    FwBlockDesc(u32),
    /// A firmware block.
    FwBlockData(octets),
    /// The provisioning version.
    ProvVer(u32),
    /// Presentation of the caller's number.
    CallingPres(u8),
    /// Type of the caller's number.
    CallingTon(u8),
    /// Transit network of the caller.
    CallingTns(u16),
    /// Hertz in the RFC, a bit mask in Asterisk.
    SamplingRate(u16),
    /// A [`Cause`](super::cause::Cause).
    CauseCode(u8),
    /// 1: AES-128; 0x8000: key rotation. The RFC pictures one octet; every peer sends two.
    Encryption(u16),
    /// Reserved.
    EncKey(octets),
    /// Letters, see [`preferred_format`](super::format::preferred_format).
    CodecPrefs(text),
    /// Milliseconds.
    RrJitter(u32),
    /// Percent in the top octet, a count in the rest.
    RrLoss(u32),
    /// Frames received.
    RrPkts(u32),
    /// Milliseconds.
    RrDelay(u16),
    /// Frames dropped.
    RrDropped(u32),
    /// Frames out of order.
    RrOoo(u32),
    /// `name=value`.
    Variable(text),
    /// One octet of index, then a part of the token.
    OspToken(octets),
    /// Empty in a first request, else opaque.
    CallToken(octets),
    /// Formats the sender can do.
    Capability2(wide),
    /// The format wanted or chosen.
    Format2(wide),
    /// ANI II digits.
    CallingAni2(u32),
    /// The probe protocol of this project's reflector.
    Probe(octets),
}

impl IeWriter {
    /// Appends one element.
    #[must_use]
    pub fn ie(self, value: Ie<'_>) -> Self {
        value.write(self)
    }
}

/// The bits of AUTHMETHODS (RFC 5456 §8.6.13).
pub mod auth_method {
    /// The secret in clear; reserved in the RFC.
    pub const PLAINTEXT: u16 = 1;
    /// MD5 over challenge and secret.
    pub const MD5: u16 = 2;
    /// RSA signature of the challenge.
    pub const RSA: u16 = 4;
}

fn wide(value: u64) -> [u8; 9] {
    let mut octets = [0; 9];
    octets[1..].copy_from_slice(&value.to_be_bytes());
    octets
}

/// Reads the socket address of APPARENT ADDR: 16 octets are IPv4, 28 are IPv6, as the sender's operating
/// system lays them out (RFC 5456 §8.6.17 leaves it at that). The family word differs between
/// systems and is not looked at; port and address stand at the same place in all.
#[must_use]
pub fn read_sockaddr(octets: &[u8]) -> Option<MappedAddr> {
    let port = u16::from_be_bytes(*octets.get(2..)?.first_chunk()?);
    let ip = match octets.len() {
        16 => IpAddr::V4(Ipv4Addr::from(*octets.get(4..)?.first_chunk::<4>()?)),
        28 => IpAddr::V6(Ipv6Addr::from(*octets.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(MappedAddr::new(SocketAddr::new(ip, port)))
}

/// Writes a socket address as Linux on a little-endian machine lays it out, which is what all deployed
/// peers understand: 16 octets for IPv4, 28 for IPv6.
#[must_use]
pub fn write_sockaddr(address: MappedAddr) -> Vec<u8> {
    const AF_INET: [u8; 2] = [2, 0];
    const AF_INET6: [u8; 2] = [10, 0];
    let mut octets = Vec::with_capacity(28);
    match address.get() {
        SocketAddr::V4(v4) => {
            octets.extend_from_slice(&AF_INET);
            octets.extend_from_slice(&v4.port().to_be_bytes());
            octets.extend_from_slice(&v4.ip().octets());
            octets.extend_from_slice(&[0; 8]);
        }
        SocketAddr::V6(v6) => write_sockaddr_v6(v6, AF_INET6, &mut octets),
    }
    octets
}

fn write_sockaddr_v6(address: SocketAddrV6, family: [u8; 2], octets: &mut Vec<u8>) {
    octets.extend_from_slice(&family);
    octets.extend_from_slice(&address.port().to_be_bytes());
    octets.extend_from_slice(&address.flowinfo().to_be_bytes());
    octets.extend_from_slice(&address.ip().octets());
    octets.extend_from_slice(&address.scope_id().to_le_bytes());
}

/// The packed date and time of DATETIME (RFC 5456 §8.6.28), to two seconds. The RFC says UTC; Asterisk
/// sends its local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// 2000 to 2127.
    pub year: u16,
    /// 1 to 12; the field holds 0 to 15.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 58, even; the field holds up to 62.
    pub second: u8,
}

impl DateTime {
    /// Reads the packed value.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // each field is masked to its bits
    pub const fn unpack(packed: u32) -> Self {
        Self {
            second: ((packed & 0x1f) * 2) as u8,
            minute: (packed >> 5 & 0x3f) as u8,
            hour: (packed >> 11 & 0x1f) as u8,
            day: (packed >> 16 & 0x1f) as u8,
            month: (packed >> 21 & 0x0f) as u8,
            year: 2000 + (packed >> 25) as u16,
        }
    }

    /// The packed value; fields that exceed their bits are cut to them.
    #[must_use]
    pub const fn pack(self) -> u32 {
        ((self.second as u32 / 2) & 0x1f)
            | ((self.minute as u32 & 0x3f) << 5)
            | ((self.hour as u32 & 0x1f) << 11)
            | ((self.day as u32 & 0x1f) << 16)
            | ((self.month as u32 & 0x0f) << 21)
            | ((self.year.wrapping_sub(2000) as u32 & 0x7f) << 25)
    }

    /// The UTC date and time `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // every remainder fits its field
    pub const fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let of_day = seconds % 86_400;
        // Days to civil date in the proleptic Gregorian calendar, eras of 400 years from 0000-03-01.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apparent_address_of_every_layout() {
        // The golden REGACK's: 127.0.0.2:4569 as Linux lays it out.
        let linux = [2, 0, 0x11, 0xd9, 127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        let address = MappedAddr::new("127.0.0.2:4569".parse().unwrap());
        assert_eq!(read_sockaddr(&linux), Some(address));
        assert_eq!(write_sockaddr(address), linux);
        let mut bsd = linux;
        bsd[..2].copy_from_slice(&[0x10, 0x02]);
        assert_eq!(read_sockaddr(&bsd), Some(address));
        let v6 = MappedAddr::new("[2001:db8::1]:4569".parse().unwrap());
        assert_eq!(read_sockaddr(&write_sockaddr(v6)), Some(v6));
        assert_eq!(read_sockaddr(&linux[..15]), None);
        assert_eq!(read_sockaddr(&[]), None);
    }

    #[test]
    fn date_and_time_of_the_golden_regack() {
        let moment = DateTime::unpack(0x3577_0127);
        let expected = DateTime {
            year: 2026,
            month: 11,
            day: 23,
            hour: 0,
            minute: 9,
            second: 14,
        };
        assert_eq!(moment, expected);
        assert_eq!(moment.pack(), 0x3577_0127);
        assert_eq!(DateTime::from_unix(1_795_392_554), expected);
        assert_eq!(
            DateTime::from_unix(951_782_400),
            DateTime {
                year: 2000,
                month: 2,
                day: 29,
                hour: 0,
                minute: 0,
                second: 0
            }
        );
    }

    #[test]
    fn known_elements_of_wrong_shape_are_kept() {
        let raw = RawIe {
            id: IeId::Refresh.get(),
            data: &[1, 2, 3],
        };
        assert_eq!(Ie::read(raw), Ie::Other(raw));
        let raw = RawIe {
            id: IeId::Format2.get(),
            data: &[1, 0, 0, 0, 0, 0, 0, 0, 4],
        };
        assert_eq!(Ie::read(raw), Ie::Other(raw));
    }

    #[test]
    fn text_of_strangers_is_escaped() {
        assert_eq!(Text(b"a\x1b[2J\xff").to_string(), "a\\u{1b}[2J\\xff");
    }
}
