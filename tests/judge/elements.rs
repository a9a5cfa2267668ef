//! A frame with each information element.

use iax2_natcheck::{
    types::MappedAddr,
    wire::iax2::{
        command::{Command, FrameType},
        frame::Frame,
        ie::{IeId, IeWriter},
        ie_value::{DateTime, Ie, Text, write_sockaddr},
    },
};

use super::{
    Case,
    frames::{full, header},
};

/// The field in which tshark shows DATETIME as people write it.
pub(crate) const DATETIME: &str = "iax2.iax.datetime";

/// Names of tshark's fields, with the values it shows.
type Expected = Vec<(&'static str, String)>;

/// One frame for each information element, with that element alone.
pub(crate) fn all() -> Vec<Case> {
    let v4 = write_sockaddr(MappedAddr::new("192.0.2.1:4569".parse().unwrap()));
    let v6 = write_sockaddr(MappedAddr::new("[2001:db8::1]:4569".parse().unwrap()));
    let mut cases: Vec<Case> = IeId::KNOWN
        .iter()
        .map(|id| {
            let (command, value, fields) = element(*id, &v4);
            case(id.to_string(), command, &[value], fields)
        })
        .collect();
    cases.push(case(
        "APPARENT ADDR of IPv6",
        Command::RegAck,
        &[Ie::ApparentAddr(&v6)],
        vec![
            ("iax2.iax.app_addr.sinfamily", "10".to_owned()),
            ("iax2.peer_address_unsupported", "1".to_owned()),
        ],
    ));
    cases.push(case(
        "empty CALLTOKEN",
        Command::RegReq,
        &[Ie::CallToken(&[])],
        vec![],
    ));
    cases.push(case(
        "several elements",
        Command::RegReq,
        &[
            Ie::Username(Text(b"alice")),
            Ie::Refresh(60),
            Ie::CallToken(&[]),
        ],
        vec![
            ("iax2.iax.username", "alice".to_owned()),
            ("iax2.iax.refresh", "60".to_owned()),
        ],
    ));
    cases
}

fn case(name: impl Into<String>, command: Command, elements: &[Ie<'_>], fields: Expected) -> Case {
    let writer = elements
        .iter()
        .fold(IeWriter::new(), |writer, element| writer.ie(*element));
    let payload = writer.finish().unwrap();
    let frame = full(FrameType::Iax, command.into(), &payload);
    let lengths = elements.iter().map(|element| {
        let alone = IeWriter::new().ie(*element).finish().unwrap();
        (alone.len() - 2).to_string()
    });
    let ids = elements.iter().map(|element| element.id().to_string());
    let expected = [
        ("iax2.iax.subclass", command.get().to_string()),
        ("iax2.ie_id", ids.collect::<Vec<_>>().join(",")),
        ("iax2.length", lengths.collect::<Vec<_>>().join(",")),
    ];
    let expected = header(&frame).into_iter().chain(expected).chain(fields);
    Case::new(name, &Frame::Full(frame), expected)
}

/// A fitting command, the element, and what tshark has to read from it.
#[allow(clippy::too_many_lines)] // one line an element
fn element(id: IeId, address: &[u8]) -> (Command, Ie<'_>, Expected) {
    macro_rules! text {
        ($command:ident, $ie:ident, $value:literal, $field:literal) => {
            (
                Command::$command,
                Ie::$ie(Text($value.as_bytes())),
                vec![($field, $value.to_owned())],
            )
        };
    }
    macro_rules! octets {
        ($command:ident, $ie:ident, $value:literal, $field:literal) => {
            (
                Command::$command,
                Ie::$ie($value.as_bytes()),
                vec![($field, $value.to_owned())],
            )
        };
    }
    // The width of a hexadecimal number in tshark is that of its field.
    macro_rules! hex {
        ($command:ident, $ie:ident, $value:literal, $field:literal, $digits:literal) => {
            (
                Command::$command,
                Ie::$ie($value),
                vec![($field, format!("{:#0width$x}", $value, width = 2 + $digits))],
            )
        };
    }
    macro_rules! decimal {
        ($command:ident, $ie:ident, $value:literal, $field:literal) => {
            (
                Command::$command,
                Ie::$ie($value),
                vec![($field, $value.to_string())],
            )
        };
    }
    match id {
        IeId::CalledNumber => text!(New, CalledNumber, "100", "iax2.iax.called_number"),
        IeId::CallingNumber => text!(New, CallingNumber, "200", "iax2.iax.calling_number"),
        IeId::CallingAni => text!(New, CallingAni, "300", "iax2.iax.calling_ani"),
        IeId::CallingName => text!(New, CallingName, "Alice", "iax2.iax.calling_name"),
        IeId::CalledContext => text!(New, CalledContext, "inbound", "iax2.iax.called_context"),
        IeId::Username => text!(RegReq, Username, "alice", "iax2.iax.username"),
        IeId::Password => text!(AuthRep, Password, "letmein", "iax2.iax.password"),
        IeId::Capability => hex!(New, Capability, 0x0800_070e, "iax2.iax.capability", 8),
        IeId::Format => decimal!(Accept, Format, 0x0800_0000, "iax2.iax.format"),
        IeId::Language => text!(New, Language, "en", "iax2.iax.language"),
        IeId::Version => hex!(New, Version, 2, "iax2.iax.version", 4),
        IeId::AdsiCpe => hex!(New, AdsiCpe, 0x0102, "iax2.iax.cpe_adsi", 4),
        IeId::Dnid => text!(New, Dnid, "400", "iax2.iax.dnid"),
        IeId::AuthMethods => hex!(RegAuth, AuthMethods, 0x0106, "iax2.iax.auth.methods", 4),
        IeId::Challenge => octets!(RegAuth, Challenge, "123456789", "iax2.iax.auth.challenge"),
        IeId::Md5Result => text!(
            RegReq,
            Md5Result,
            "0123456789abcdef0123456789abcdef",
            "iax2.iax.auth.md5"
        ),
        IeId::RsaResult => text!(RegReq, RsaResult, "QUJD", "iax2.iax.auth.rsa"),
        IeId::ApparentAddr => (
            Command::RegAck,
            Ie::ApparentAddr(address),
            vec![
                ("iax2.iax.app_addr.sinfamily", "2".to_owned()),
                ("iax2.iax.app_addr.sinport", "4569".to_owned()),
                ("iax2.iax.app_addr.sinaddr", "192.0.2.1".to_owned()),
            ],
        ),
        IeId::Refresh => decimal!(RegAck, Refresh, 300, "iax2.iax.refresh"),
        IeId::DpStatus => hex!(DpRep, DpStatus, 0x4001, "iax2.iax.dialplan_status", 4),
        IeId::CallNo => decimal!(TxReq, CallNo, 0x1234, "iax2.iax.call_no"),
        IeId::Cause => text!(Hangup, Cause, "Busy", "iax2.iax.cause"),
        IeId::IaxUnknown => (
            Command::Unsupport,
            Ie::IaxUnknown(40),
            vec![("iax2.iax.iax_unknown", "28".to_owned())],
        ),
        IeId::MsgCount => decimal!(RegAck, MsgCount, 0x0203, "iax2.iax.msg_count"),
        IeId::AutoAnswer => (
            Command::New,
            Ie::AutoAnswer(()),
            vec![("iax2.iax.autoanswer", "1".to_owned())],
        ),
        IeId::MusicOnHold => (
            Command::Quelch,
            Ie::MusicOnHold(Text(b"")),
            vec![("iax2.iax.moh", "1".to_owned())],
        ),
        IeId::TransferId => hex!(TxReq, TransferId, 0x0102_0304, "iax2.iax.transferid", 8),
        IeId::Rdnis => text!(New, Rdnis, "500", "iax2.iax.rdnis"),
        // One nested element; tshark shows its octets as text.
        IeId::Provisioning => (
            Command::Provision,
            Ie::Provisioning(b"\x01\x011"),
            vec![("iax2.iax.provisioning", "\x01\x011".to_owned())],
        ),
        IeId::AesProvisioning => {
            octets!(
                Provision,
                AesProvisioning,
                "secret",
                "iax2.iax.aesprovisioning"
            )
        }
        IeId::DateTime => date_time(),
        IeId::DeviceType => text!(RegReq, DeviceType, "iaxy", "iax2.iax.devicetype"),
        IeId::ServiceIdent => text!(RegReq, ServiceIdent, "abcdef", "iax2.iax.serviceident"),
        IeId::FirmwareVer => hex!(RegReq, FirmwareVer, 0x0102, "iax2.iax.firmwarever", 4),
        IeId::FwBlockDesc => hex!(FwDownl, FwBlockDesc, 0x0102_0304, "iax2.iax.fwblockdesc", 8),
        IeId::FwBlockData => octets!(FwData, FwBlockData, "block", "iax2.iax.fwblockdata"),
        IeId::ProvVer => hex!(New, ProvVer, 0x0102_0304, "iax2.iax.provver", 8),
        IeId::CallingPres => hex!(New, CallingPres, 0x43, "iax2.iax.callingpres", 2),
        IeId::CallingTon => hex!(New, CallingTon, 0x10, "iax2.iax.callington", 2),
        IeId::CallingTns => hex!(New, CallingTns, 0x0102, "iax2.iax.callingtns", 4),
        IeId::SamplingRate => hex!(New, SamplingRate, 8000, "iax2.iax.samplingrate", 4),
        IeId::CauseCode => hex!(Hangup, CauseCode, 17, "iax2.iax.causecode", 2),
        IeId::Encryption => hex!(New, Encryption, 0x8001, "iax2.iax.encryption", 4),
        IeId::EncKey => octets!(New, EncKey, "key", "iax2.iax.enckey"),
        IeId::CodecPrefs => text!(New, CodecPrefs, "DEC", "iax2.iax.codecprefs"),
        IeId::RrJitter => hex!(Pong, RrJitter, 0x0102_0304, "iax2.iax.rrjitter", 8),
        IeId::RrLoss => hex!(Pong, RrLoss, 0x0502_0304, "iax2.iax.rrloss", 8),
        IeId::RrPkts => hex!(Pong, RrPkts, 0x0602_0304, "iax2.iax.rrpkts", 8),
        IeId::RrDelay => hex!(Pong, RrDelay, 0x0203, "iax2.iax.rrdelay", 4),
        IeId::RrDropped => hex!(Pong, RrDropped, 0x0702_0304, "iax2.iax.rrdropped", 8),
        IeId::RrOoo => hex!(Pong, RrOoo, 0x0802_0304, "iax2.iax.rrooo", 8),
        IeId::Variable => text!(New, Variable, "name=value", "iax2.iax.unknownstring"),
        IeId::OspToken => octets!(New, OspToken, "0token", "iax2.iax.unknownstring"),
        IeId::CallToken => octets!(CallToken, CallToken, "1234?abc", "iax2.iax.unknownstring"),
        IeId::Capability2 => hex!(
            New,
            Capability2,
            0x8007_0800_070e_u64,
            "iax2.iax.capability2",
            16
        ),
        IeId::Format2 => decimal!(Accept, Format2, 0x0004_0000_0000_u64, "iax2.iax.format2"),
        IeId::CallingAni2 => hex!(New, CallingAni2, 0x0102_0304, "iax2.iax.unknownlong", 8),
        IeId::Probe => octets!(Poke, Probe, "probe octets", "iax2.iax.unknownstring"),
        IeId::Unknown(id) => panic!("{id} is no known element"),
    }
}

/// tshark shows the packed number, and as what it reads it.
fn date_time() -> (Command, Ie<'static>, Expected) {
    let packed = DateTime {
        year: 2026,
        month: 11,
        day: 23,
        hour: 12,
        minute: 9,
        second: 14,
    }
    .pack();
    (
        Command::RegAck,
        Ie::DateTime(packed),
        vec![
            ("iax2.iax.datetime.raw", packed.to_string()),
            (DATETIME, "Nov 23, 2026 12:09:14".to_owned()),
        ],
    )
}
