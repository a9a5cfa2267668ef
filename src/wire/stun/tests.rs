//! The vectors of RFC 5769, and messages that no server should send.

use super::*;

/// RFC 5769 §2.1: a request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY
/// and FINGERPRINT.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 §2.2: an IPv4 response with SOFTWARE, XOR-MAPPED-ADDRESS, integrity and checksum.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 §2.3: the same for IPv6.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";
const TRANSACTION: Transaction = [
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
];

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn everything() -> Vec<u8> {
    let mut message = begin(MessageClass::Error, [7; 12]);
    push(&mut message, ERROR_CODE, b"\0\0\x04\x14Unknown");
    push(&mut message, CHANGE_REQUEST, &[0, 0, 0, 6]);
    push(&mut message, RESPONSE_PORT, &[0x11, 0xd9, 0, 0]);
    push(&mut message, PADDING, &[0; 64]);
    push(
        &mut message,
        SOURCE_ADDRESS,
        &[0, 1, 0x0d, 0x96, 192, 0, 2, 1],
    );
    push(
        &mut message,
        CHANGED_ADDRESS,
        &[0, 1, 0x0d, 0x97, 192, 0, 2, 2],
    );
    push(&mut message, 0x7fff, b"what");
    push(&mut message, MAPPED_ADDRESS, &[0, 9, 0, 1, 1, 2, 3, 4]);
    message.finish()
}

#[test]
fn rfc_5769_vectors() {
    let request = parse(&bytes(REQUEST)).unwrap();
    assert_eq!(request.class, Class::Request);
    assert!(request.is_binding());
    assert_eq!(request.transaction, TRANSACTION);
    assert_eq!(request.software.as_deref(), Some("STUN test client"));
    assert_eq!(request.fingerprint, Some(true));
    let kinds: Vec<u16> = request.others.iter().map(|other| other.kind).collect();
    assert_eq!(kinds, [0x0024, 0x8029, 0x0006, 0x0008]);
    assert_eq!(request.others[2].value, b"evtj:h6vY");

    let v4 = parse(&bytes(RESPONSE_V4)).unwrap();
    assert_eq!(v4.class, Class::Success);
    assert_eq!(v4.mapped().unwrap().to_string(), "192.0.2.1:32853");
    assert_eq!(v4.plain_mapped, None);
    assert_eq!(v4.fingerprint, Some(true));

    let v6 = parse(&bytes(RESPONSE_V6)).unwrap();
    assert_eq!(
        v6.mapped().unwrap().to_string(),
        "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
    );
    assert_eq!(v6.fingerprint, Some(true));
}

#[test]
fn a_changed_payload_fails_its_fingerprint_and_is_still_read() {
    let mut changed = bytes(RESPONSE_V4);
    changed[47] ^= 1;
    let message = parse(&changed).unwrap();
    assert_eq!(message.fingerprint, Some(false));
    assert_eq!(message.mapped().unwrap().to_string(), "192.0.2.0:32853");
}

#[test]
fn requests_say_what_rfc_5780_asks() {
    let plain = BindingRequest {
        transaction: TRANSACTION,
        ..BindingRequest::default()
    };
    assert_eq!(
        plain.encode(),
        bytes("000100002112a442b7e7a701bc34d686fa87dfae")
    );
    for (change_ip, change_port, flags) in [(true, false, 4), (false, true, 2), (true, true, 6)] {
        let request = BindingRequest {
            change_ip,
            change_port,
            response_port: Some(4569),
            ..plain
        };
        let encoded = request.encode();
        assert_eq!(encoded[20..28], [0, 3, 0, 4, 0, 0, 0, flags]);
        assert_eq!(encoded[28..], [0, 0x27, 0, 2, 0x11, 0xd9, 0, 0]);
        let message = parse(&encoded).unwrap();
        assert_eq!(
            (
                message.class,
                message.transaction,
                message.change_ip,
                message.change_port
            ),
            (Class::Request, TRANSACTION, change_ip, change_port)
        );
        assert_eq!(message.response_port, Some(4569));
    }
    let indication = BindingIndication {
        transaction: TRANSACTION,
    };
    assert_eq!(
        parse(&indication.encode()).unwrap().class,
        Class::Indication
    );
}

#[test]
fn answers_come_back_as_they_were() {
    for address in ["198.51.100.7:40123", "[2001:db8::7]:40123"] {
        let success = BindingSuccess {
            transaction: [3; 12],
            mapped: MappedAddr::new(address.parse().unwrap()),
            response_origin: Some(PeerAddr::new("192.0.2.1:3478".parse().unwrap())),
            other_address: Some(PeerAddr::new("192.0.2.2:3479".parse().unwrap())),
        };
        let message = parse(&success.encode()).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.transaction, success.transaction);
        assert_eq!(message.xor_mapped, Some(success.mapped));
        assert_eq!(message.plain_mapped, Some(success.mapped));
        assert_eq!(message.response_origin, success.response_origin);
        assert_eq!(message.other_address, success.other_address);
        assert_eq!(message.others, []);
    }
}

#[test]
fn legacy_unknown_and_unreadable_attributes_are_kept() {
    let message = parse(&everything()).unwrap();
    assert_eq!(message.class, Class::Error);
    assert_eq!(message.error, Some((420, "Unknown".to_owned())));
    assert!(message.change_ip && message.change_port);
    assert_eq!(message.response_port, Some(4569));
    assert_eq!(message.padding, Some(64));
    assert_eq!(
        message.response_origin.unwrap().to_string(),
        "192.0.2.1:3478"
    );
    assert_eq!(message.other_address.unwrap().to_string(), "192.0.2.2:3479");
    assert_eq!(message.plain_mapped, None);
    let others: Vec<_> = message
        .others
        .iter()
        .map(|other| (other.kind, other.value.as_slice()))
        .collect();
    assert_eq!(
        others,
        [
            (0x7fff, b"what".as_slice()),
            (MAPPED_ADDRESS, &[0, 9, 0, 1, 1, 2, 3, 4])
        ]
    );
}

#[test]
fn every_truncation_is_an_error_and_none_panics() {
    for whole in [
        bytes(REQUEST),
        bytes(RESPONSE_V4),
        bytes(RESPONSE_V6),
        everything(),
    ] {
        for cut in 0..whole.len() {
            let short = &whole[..cut];
            assert!(parse(short).is_err(), "{cut} of {} octets", whole.len());
            if cut >= 20 {
                // The same with a header that says so: only the attribute can be broken.
                let mut honest = short.to_vec();
                honest[2..4].copy_from_slice(&u16::try_from(cut - 20).unwrap().to_be_bytes());
                let _ = parse(&honest);
            }
        }
        let mut longer = whole.clone();
        longer.extend([0xff; 7]);
        assert_eq!(parse(&longer), parse(&whole));
    }
}

#[test]
fn an_attribute_that_reaches_too_far_is_named_by_its_offset() {
    let mut broken = bytes(RESPONSE_V4);
    broken[39] = 0xf0;
    assert_eq!(parse(&broken), Err(StunError::Attribute { offset: 36 }));
}

#[test]
fn iax2_is_not_stun() {
    assert!(is_stun(&bytes(RESPONSE_V4)));
    let poke = bytes("87d10000000000030000061e000000000000000000000000");
    assert!(!is_stun(&poke));
    assert_eq!(parse(&poke), Err(StunError::NotStun));
    assert!(!is_stun(&bytes(RESPONSE_V4)[..19]));
    assert!(!is_stun(b""));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(mut noise: Vec<u8>, cookie: bool) {
        if cookie && noise.len() >= 8 {
            noise[0] &= 0x3f;
            noise[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        let _ = parse(&noise);
    }
}
