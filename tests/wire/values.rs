//! Values below the frame: every number a field can hold keeps its meaning both ways.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use iax2_natcheck::{
    types::MappedAddr,
    wire::iax2::{
        cause::Cause,
        command::{Command, Control, FrameType, Html},
        format::{Formats, preference_letter, preferred_format},
        frame::Subclass,
        ie::{IeId, IeWriter, ProvisioningId, RawIe},
        ie_value::{DateTime, Ie, read_sockaddr, write_sockaddr},
    },
};
use proptest::prelude::*;

use super::{elements::ELEMENTS, fixtures::octets};

#[test]
fn every_kind_of_element_is_written_and_read() {
    let kinds: Vec<_> = ELEMENTS.iter().map(|(value, _)| value.id()).collect();
    let known: Vec<_> = IeId::KNOWN.iter().map(|id| id.get()).collect();
    assert_eq!(kinds, known, "one element of every kind");
    let mut writer = IeWriter::new();
    let mut all = Vec::new();
    for (value, hex) in ELEMENTS {
        let data = octets(hex);
        let expected = [&[value.id(), u8::try_from(data.len()).unwrap()], &data[..]].concat();
        let written = IeWriter::new().ie(value).finish().unwrap();
        assert_eq!(written, expected, "{value:?}");
        let (raw, rest) = RawIe::split(&written, 0).unwrap();
        assert_eq!((Ie::read(raw), rest), (value, &[][..]));
        writer = writer.ie(value);
        all.extend(expected);
    }
    assert_eq!(writer.finish().unwrap(), all);
}

#[test]
fn elements_hold_255_octets_and_no_more() {
    let data = [b'a'; 256];
    let longest = IeWriter::new()
        .ie(Ie::CallToken(&data[..255]))
        .finish()
        .unwrap();
    assert_eq!(longest.len(), 257);
    let error = IeWriter::new()
        .ie(Ie::CallToken(&data))
        .raw(6, &data)
        .ie(Ie::Refresh(60))
        .finish()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "information element 54 would need 256 octets, 255 is the most it holds"
    );
}

macro_rules! keeps_every_value {
    ($($name:ident),+) => {
        $({
            let mut last = None;
            for known in $name::KNOWN {
                assert!(known.name().is_some());
                assert!(Some(known.get()) > last, "{known} is out of order");
                last = Some(known.get());
            }
            for raw in 0..=u8::MAX {
                let value = $name::from(raw);
                assert_eq!(u8::from(value), raw);
                assert_eq!($name::KNOWN.contains(&value), value.name().is_some());
                assert!(!value.to_string().is_empty() && !format!("{value:?}").is_empty());
            }
        })+
    };
}

#[test]
fn enumerations_keep_every_value() {
    keeps_every_value!(
        FrameType,
        Command,
        Control,
        Html,
        Cause,
        IeId,
        ProvisioningId
    );
}

#[test]
fn commands_have_the_names_of_the_rfc() {
    // RFC 5457 §4 in order from 1, then Asterisk's two.
    let names = "NEW PING PONG ACK HANGUP REJECT ACCEPT AUTHREQ AUTHREP INVAL LAGRQ LAGRP REGREQ \
        REGAUTH REGACK REGREJ REGREL VNAK DPREQ DPREP DIAL TXREQ TXCNT TXACC TXREADY TXREL TXREJ QUELCH \
        UNQUELCH POKE PAGE MWI UNSUPPORT TRANSFER PROVISION FWDOWNL FWDATA TXMEDIA RTKEY CALLTOKEN";
    let commands: Vec<_> = (1..=40).map(|raw| Command::from(raw).to_string()).collect();
    assert_eq!(commands, names.split_whitespace().collect::<Vec<_>>());
    let unnumbered: Vec<_> = (0..=u8::MAX)
        .map(Command::from)
        .filter(|command| command.is_unnumbered())
        .map(|command| command.to_string())
        .collect();
    assert_eq!(unnumbered, ["ACK", "INVAL", "VNAK", "TXCNT", "TXACC"]);
}

#[test]
fn subclasses_hold_small_values_and_powers_of_two() {
    for raw in 0..=u8::MAX {
        let subclass = Subclass::from_raw(raw);
        assert_eq!(subclass.raw(), raw);
        let expected = match raw {
            0..=0x7f => Some(u64::from(raw)),
            0x80..=0xbf => Some(1 << (raw - 0x80)),
            0xc0..=0xff => None,
        };
        assert_eq!(subclass.value(), expected, "{raw:#x}");
    }
    for value in (0..=1000).chain((0..64).map(|power| 1 << power)) {
        let fits = value < 0x80 || u64::is_power_of_two(value);
        let subclass = Subclass::from_value(value);
        assert_eq!(subclass.is_some(), fits, "{value}");
        assert_eq!(subclass.and_then(Subclass::value), fits.then_some(value));
    }
}

#[test]
fn preference_letters_are_those_of_the_list() {
    // Position in the list after 'A', and the bit; the eight slots from '^' on are empty.
    let list = [
        0, 1, 2, 3, 11, 5, 6, 7, 8, 9, 33, 10, 4, 12, 15, 16, 17, 18, 19, 20, 21, 22, 26, 27, 13,
        14, 47, 32,
    ];
    let expected = |letter: u8| match letter {
        b'B'..=b']' => Some(list[usize::from(letter - b'B')]),
        b'f' => Some(34),
        b'g' => Some(23),
        _ => None,
    };
    for letter in 0..=u8::MAX {
        let format = expected(letter).map(|bit| Formats::from_bits(1 << bit));
        assert_eq!(preferred_format(letter), format, "{letter:?}");
        if let Some(format) = format {
            assert_eq!(preference_letter(format), Some(letter));
            assert!(format.name().is_some(), "{format}");
        }
    }
    assert_eq!(preference_letter(Formats::NONE), None);
    assert_eq!(preference_letter(Formats::ULAW.or(Formats::ALAW)), None);
}

#[test]
fn every_format_has_a_name_of_its_own() {
    let names: BTreeSet<_> = (0..64)
        .map(|bit| Formats::from_bits(1 << bit).to_string())
        .collect();
    assert_eq!(names.len(), 64);
}

proptest! {
    #[test]
    fn elements_of_any_data_are_kept(id: u8, data in prop::collection::vec(any::<u8>(), 0..=255)) {
        let raw = RawIe { id, data: &data };
        let value = Ie::read(raw);
        prop_assert_eq!(value.id(), id);
        let written = IeWriter::new().ie(value).finish().unwrap();
        let (again, rest) = RawIe::split(&written, 0).unwrap();
        prop_assert_eq!(again, raw);
        prop_assert!(rest.is_empty());
        let printed = format!("{value:?}");
        prop_assert!(!printed.chars().any(char::is_control));
    }

    #[test]
    fn dates_keep_every_bit(packed: u32) {
        let moment = DateTime::unpack(packed);
        prop_assert_eq!(moment.pack(), packed);
        prop_assert_eq!(DateTime::unpack(moment.pack()), moment);
    }

    /// From 2000 to the end of 2127, against a calendar that is not ours.
    #[test]
    fn dates_are_those_of_the_calendar(seconds in 946_684_800u64..4_985_971_200) {
        let moment = DateTime::from_unix(seconds);
        let DateTime { year, month, day, hour, minute, second } = moment;
        prop_assert_eq!(
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        );
        let even = DateTime { second: second & !1, ..moment };
        prop_assert_eq!(DateTime::unpack(moment.pack()), even);
    }

    #[test]
    fn socket_addresses_are_read_as_written(address: SocketAddr) {
        let address = MappedAddr::new(SocketAddr::new(address.ip(), address.port()));
        let written = write_sockaddr(address);
        prop_assert_eq!(written.len(), if address.get().is_ipv4() { 16 } else { 28 });
        prop_assert_eq!(read_sockaddr(&written), Some(address));
    }

    #[test]
    fn only_16_and_28_octets_are_socket_addresses(
        octets in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            prop::collection::vec(any::<u8>(), 16),
            prop::collection::vec(any::<u8>(), 28),
        ],
    ) {
        prop_assert_eq!(read_sockaddr(&octets).is_some(), matches!(octets.len(), 16 | 28));
    }

    #[test]
    fn format_sets_are_their_members(bits: u64) {
        let formats = Formats::from_bits(bits);
        let union = formats.iter().fold(Formats::NONE, Formats::or);
        prop_assert_eq!(union, formats);
        prop_assert_eq!(formats.iter().count(), bits.count_ones() as usize);
        let printed = formats.to_string();
        prop_assert_eq!(printed.split('|').count(), (bits.count_ones() as usize).max(1));
    }
}
