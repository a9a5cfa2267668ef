//! Information elements as octets: an id, a length and data, one after the other (RFC 5456 §8.6).

use super::{DecodeError, EncodeError, open_enum::open_enum};

open_enum! {
    /// The id of an information element (RFC 5456 §8.6, RFC 5457 §5; from 52 on as Asterisk uses
    /// them).
    pub enum IeId(u8) {
        /// The number dialled.
        CalledNumber = 1 => "CALLED NUMBER",
        /// The caller's number.
        CallingNumber = 2 => "CALLING NUMBER",
        /// The caller's number for billing.
        CallingAni = 3 => "CALLING ANI",
        /// The caller's name.
        CallingName = 4 => "CALLING NAME",
        /// The context dialled into.
        CalledContext = 5 => "CALLED CONTEXT",
        /// The account.
        Username = 6 => "USERNAME",
        /// A plaintext password; obsolete.
        Password = 7 => "PASSWORD",
        /// Formats the sender can do.
        Capability = 8 => "CAPABILITY",
        /// The format wanted or chosen.
        Format = 9 => "FORMAT",
        /// The language.
        Language = 10 => "LANGUAGE",
        /// The protocol version, 2.
        Version = 11 => "VERSION",
        /// CPE ADSI capability.
        AdsiCpe = 12 => "ADSICPE",
        /// The number originally dialled.
        Dnid = 13 => "DNID",
        /// Authentication methods offered.
        AuthMethods = 14 => "AUTHMETHODS",
        /// The challenge; in RTKEY the new key.
        Challenge = 15 => "CHALLENGE",
        /// The answer to a challenge by MD5.
        Md5Result = 16 => "MD5 RESULT",
        /// The answer to a challenge by RSA.
        RsaResult = 17 => "RSA RESULT",
        /// The address the sender of the frame saw.
        ApparentAddr = 18 => "APPARENT ADDR",
        /// Seconds a registration is valid.
        Refresh = 19 => "REFRESH",
        /// What the dial plan knows of a number.
        DpStatus = 20 => "DPSTATUS",
        /// The peer's call number, for a transfer.
        CallNo = 21 => "CALLNO",
        /// The cause in words.
        Cause = 22 => "CAUSE",
        /// The command that is not supported.
        IaxUnknown = 23 => "IAX UNKNOWN",
        /// Messages waiting.
        MsgCount = 24 => "MSGCOUNT",
        /// Answer at once.
        AutoAnswer = 25 => "AUTOANSWER",
        /// Music on hold.
        MusicOnHold = 26 => "MUSICONHOLD",
        /// Names a transfer.
        TransferId = 27 => "TRANSFERID",
        /// The redirecting number.
        Rdnis = 28 => "RDNIS",
        /// Nested provisioning elements.
        Provisioning = 29 => "PROVISIONING",
        /// Encrypted provisioning.
        AesProvisioning = 30 => "AESPROVISIONING",
        /// Date and time.
        DateTime = 31 => "DATETIME",
        /// The kind of device.
        DeviceType = 32 => "DEVICETYPE",
        /// The device's service identifier.
        ServiceIdent = 33 => "SERVICEIDENT",
        /// The firmware's version.
        FirmwareVer = 34 => "FIRMWAREVER",
        /// Which firmware block.
        FwBlockDesc = 35 => "FWBLOCKDESC",
        /// A firmware block.
        FwBlockData = 36 => "FWBLOCKDATA",
        /// The provisioning version.
        ProvVer = 37 => "PROVVER",
        /// Presentation of the caller's number.
        CallingPres = 38 => "CALLINGPRES",
        /// Type of the caller's number.
        CallingTon = 39 => "CALLINGTON",
        /// Transit network of the caller.
        CallingTns = 40 => "CALLINGTNS",
        /// Sampling rates.
        SamplingRate = 41 => "SAMPLINGRATE",
        /// The cause as a number.
        CauseCode = 42 => "CAUSECODE",
        /// Encryption offered or chosen.
        Encryption = 43 => "ENCRYPTION",
        /// Reserved.
        EncKey = 44 => "ENCKEY",
        /// Formats in order of preference.
        CodecPrefs = 45 => "CODEC PREFS",
        /// Receiver report: jitter.
        RrJitter = 46 => "RR JITTER",
        /// Receiver report: loss.
        RrLoss = 47 => "RR LOSS",
        /// Receiver report: frames received.
        RrPkts = 48 => "RR PKTS",
        /// Receiver report: playout delay.
        RrDelay = 49 => "RR DELAY",
        /// Receiver report: frames dropped.
        RrDropped = 50 => "RR DROPPED",
        /// Receiver report: frames out of order.
        RrOoo = 51 => "RR OOO",
        /// A channel variable; the RFC's tables give this number to OSPTOKEN.
        Variable = 52 => "VARIABLE",
        /// A part of an OSP token.
        OspToken = 53 => "OSPTOKEN",
        /// The token that proves a source address.
        CallToken = 54 => "CALLTOKEN",
        /// Formats the sender can do, 64 bits.
        Capability2 = 55 => "CAPABILITY2",
        /// The format wanted or chosen, 64 bits.
        Format2 = 56 => "FORMAT2",
        /// ANI II digits.
        CallingAni2 = 57 => "CALLING ANI2",
        /// The probe protocol of this project's reflector; other peers skip it.
        Probe = 0xc4 => "PROBE",
    }
}

open_enum! {
    /// The id of an element nested in PROVISIONING (RFC 5456 §6.11; for `IAXy` devices only).
    pub enum ProvisioningId(u8) {
        /// Whether to use DHCP.
        UseDhcp = 1 => "use DHCP",
        /// The device's address.
        IpAddress = 2 => "IP address",
        /// The device's netmask.
        Subnet = 3 => "subnet",
        /// The device's gateway.
        Gateway = 4 => "gateway",
        /// The device's port.
        Port = 5 => "port",
        /// The account.
        User = 6 => "user",
        /// The password.
        Password = 7 => "password",
        /// The account of the server.
        ServerUser = 8 => "server user",
        /// The password of the server.
        ServerPassword = 9 => "server password",
        /// The language.
        Language = 10 => "language",
        /// The type of service.
        Tos = 11 => "TOS",
        /// Flags.
        Flags = 12 => "flags",
        /// The media format.
        Format = 13 => "format",
        /// The AES key.
        AesKey = 14 => "AES key",
        /// The server's address.
        ServerIp = 15 => "server IP",
        /// The server's port.
        ServerPort = 16 => "server port",
        /// The next AES key.
        NewAesKey = 17 => "new AES key",
        /// The provisioning version.
        Version = 18 => "version",
        /// Another server.
        AlternateServer = 19 => "alternate server",
    }
}

/// One information element as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawIe<'a> {
    /// Its id.
    pub id: u8,
    /// Its data, at most 255 octets.
    pub data: &'a [u8],
}

impl<'a> RawIe<'a> {
    /// Splits the first element off `elements`, which begin at `offset` of the datagram.
    ///
    /// # Errors
    ///
    /// [`DecodeError::IeHeader`] or [`DecodeError::IeOverrun`] where the element exceeds the octets
    /// that are there. `elements` must not be empty: an empty slice gives `IeHeader`.
    pub fn split(elements: &'a [u8], offset: usize) -> Result<(Self, &'a [u8]), DecodeError> {
        let (&id, rest) = elements
            .split_first()
            .ok_or(DecodeError::IeHeader { id: 0, offset })?;
        let (&length, rest) = rest
            .split_first()
            .ok_or(DecodeError::IeHeader { id, offset })?;
        let length = usize::from(length);
        let (data, rest) = rest
            .split_at_checked(length)
            .ok_or(DecodeError::IeOverrun {
                id,
                offset,
                length,
                rest: rest.len(),
            })?;
        Ok((Self { id, data }, rest))
    }
}

/// The elements of a frame, in order. Made from octets whose structure was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ies<'a>(&'a [u8]);

impl<'a> Ies<'a> {
    /// Checks the structure of `elements`, which begin at `offset` of the datagram.
    ///
    /// # Errors
    ///
    /// The first element that exceeds the octets that are there.
    pub fn parse(elements: &'a [u8], offset: usize) -> Result<Self, DecodeError> {
        let mut rest = elements;
        while !rest.is_empty() {
            (_, rest) = RawIe::split(rest, offset + elements.len() - rest.len())?;
        }
        Ok(Self(elements))
    }

    /// Elements whose structure was checked; broken ones end the walk.
    pub(super) const fn trusted(elements: &'a [u8]) -> Self {
        Self(elements)
    }

    /// The data of the last element with this id: a repeated element overrides, as in Asterisk.
    #[must_use]
    pub fn find(self, id: IeId) -> Option<&'a [u8]> {
        self.filter(|ie| ie.id == id.get()).last().map(|ie| ie.data)
    }
}

impl<'a> Iterator for Ies<'a> {
    type Item = RawIe<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = RawIe::split(self.0, 0).ok()?;
        self.0 = rest;
        Some(first)
    }
}

/// Writes information elements one after the other.
///
/// An element that is too long is remembered, and [`IeWriter::finish`] says so: nothing is cut short.
#[derive(Clone, Debug, Default)]
pub struct IeWriter {
    octets: Vec<u8>,
    error: Option<EncodeError>,
}

impl IeWriter {
    /// Writes nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            octets: Vec::new(),
            error: None,
        }
    }

    /// Appends one element from its octets.
    #[must_use]
    pub fn raw(mut self, id: u8, data: &[u8]) -> Self {
        match u8::try_from(data.len()) {
            Ok(length) => {
                self.octets.extend_from_slice(&[id, length]);
                self.octets.extend_from_slice(data);
            }
            Err(_) => {
                self.error.get_or_insert(EncodeError::IeTooLong {
                    id,
                    length: data.len(),
                });
            }
        }
        self
    }

    /// The octets of all elements.
    ///
    /// # Errors
    ///
    /// The first element that did not fit.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.octets),
        }
    }
}
