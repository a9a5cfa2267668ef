//! Who may call, and whether the call is encrypted.

use iax2_natcheck::{
    proto::{
        account::{Account, CallTokenRule, EncryptionRule},
        auth::{Credentials, Method},
        call::{EncryptionOffer, Ending, Stage},
        contract::{Input, Machine as _, SocketKey},
        door::Refusal,
        switchboard::SwitchboardEvent,
    },
    types::{SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
    },
};

use crate::{
    exchange::{Exchange, alice, millis, rejected},
    support::seconds,
};

/// Accounts that are let in by a challenge in clear, without a token, and without anything.
fn other_accounts() -> Vec<Account> {
    let open = Account {
        methods: vec![],
        secret: None,
        ..Account::new("open", "")
    };
    let old = Account {
        call_token: CallTokenRule::Optional,
        ..Account::new("old", "s3cret")
    };
    let clear = Account {
        methods: vec![Method::Plaintext],
        call_token: CallTokenRule::Optional,
        ..Account::new("clear", "s3cret")
    };
    vec![alice(), open, old, clear]
}

#[test]
fn every_account_is_let_in_its_own_way() {
    let mut exchange = Exchange::new(other_accounts(), &[]);
    let nobody = Ending::TokenRefused { had_token: false };
    let refused = rejected("No authority found", 50);
    for (user, secret, token, expected) in [
        ("open", "", true, None),
        ("open", "", false, Some(&nobody)),
        ("alice", "s3cret", false, Some(&nobody)),
        ("alice", "guess", true, Some(&refused)),
        ("bob", "s3cret", true, Some(&refused)),
        ("bob", "s3cret", false, Some(&nobody)),
        ("old", "s3cret", false, None),
        ("old", "s3cret", true, None),
        ("old", "guess", false, Some(&refused)),
        ("clear", "s3cret", true, None),
        ("clear", "s3cret", false, Some(&nobody)),
    ] {
        let which = exchange.dial("600", |config| {
            config.credentials = Some(Credentials {
                allow_plaintext: user == "clear",
                ..Credentials::with_secret(user, secret)
            });
            config.offer_token = token;
        });
        exchange.run(seconds(1));
        let caller = &exchange.callers[which];
        assert_eq!(caller.ending(), expected, "{user} {secret}, token {token}");
        if expected.is_none() {
            assert_eq!(caller.call.stage(), Stage::Up, "{user}, token {token}");
        }
    }
    let refusals = exchange
        .switchboard_events()
        .filter_map(|event| match event {
            SwitchboardEvent::Refused { why, .. } => Some(*why),
            _ => None,
        });
    assert_eq!(
        refusals.collect::<Vec<_>>(),
        [
            Refusal::TokenMissing,
            Refusal::TokenMissing,
            Refusal::Credentials,
            Refusal::Credentials,
            Refusal::TokenMissing,
            Refusal::Credentials,
            Refusal::TokenMissing
        ]
    );
}

#[test]
fn who_proves_nothing_gets_one_datagram_for_each_and_no_media() {
    let old = Account {
        call_token: CallTokenRule::Optional,
        ..Account::new("alice", "s3cret")
    };
    let mut exchange = Exchange::new(vec![old], &[]);
    let alice = exchange.dial("600", |config| config.offer_token = false);
    exchange.vanish(alice);
    exchange.run(seconds(60));
    assert_eq!(exchange.sent.len(), 1, "AUTHREQ, never again unasked");
    assert_eq!(exchange.lines(), 0);
    // A flood of such callers keeps few places, and keeps nobody else out.
    exchange.sent.clear();
    for host in 0..200u32 {
        let address = format!("198.51.{}.{}:4569", host / 100, host % 100);
        let which = exchange.dial_from(&address, "600", |config| config.offer_token = false);
        exchange.vanish(which);
        exchange.run(millis(50));
    }
    assert!(exchange.lines() <= 64, "{}", exchange.lines());
    assert!(exchange.sent.len() <= 200, "{}", exchange.sent.len());
    let alice = exchange.dial("600", |_| {});
    exchange.run(millis(200));
    assert_eq!(exchange.callers[alice].call.stage(), Stage::Up);
}

#[test]
fn encryption_is_as_the_account_says() {
    for (rule, offer, encrypted, ending) in [
        (EncryptionRule::Off, EncryptionOffer::None, false, None),
        (
            EncryptionRule::Off,
            EncryptionOffer::Required,
            false,
            Some(Ending::NotEncrypted),
        ),
        (EncryptionRule::Optional, EncryptionOffer::None, false, None),
        (
            EncryptionRule::Optional,
            EncryptionOffer::Required,
            true,
            None,
        ),
        (
            EncryptionRule::Required,
            EncryptionOffer::Rotating,
            true,
            None,
        ),
        (
            EncryptionRule::Required,
            EncryptionOffer::None,
            false,
            Some(rejected("No authority found", 50)),
        ),
    ] {
        let account = Account {
            encryption: rule,
            ..alice()
        };
        let mut exchange = Exchange::new(vec![account], &[]);
        let alice = exchange.dial("600", |config| config.encryption = offer);
        exchange.run(millis(200));
        exchange.speak(alice);
        exchange.run(seconds(30));
        let caller = &exchange.callers[alice];
        assert_eq!(caller.ending(), ending.as_ref(), "{rule:?} {offer:?}");
        if ending.is_some() {
            continue;
        }
        assert_eq!(caller.call.is_encrypted(), encrypted, "{rule:?} {offer:?}");
        assert_eq!(caller.echoes(), (0..1500).collect::<Vec<_>>());
        let accepted = exchange.switchboard_events().find_map(|event| match event {
            SwitchboardEvent::Accepted { encrypted, .. } => Some(*encrypted),
            _ => None,
        });
        assert_eq!(accepted, Some(encrypted));
        let longest = exchange.sent.iter().map(|sent| sent.payload.len()).max();
        assert_eq!(longest >= Some(194), encrypted);
    }
}

#[test]
fn who_names_no_number_of_ours_hears_nothing_more() {
    let old = Account {
        call_token: CallTokenRule::Optional,
        ..alice()
    };
    let mut exchange = Exchange::new(vec![old], &[]);
    let caller = exchange.dial("600", |config| config.offer_token = false);
    exchange.vanish(caller);
    exchange.run(millis(100));
    assert_eq!(exchange.sent.len(), 1);
    // Shorter than the challenge, from a source that may be forged, in the stream or not.
    for (command, oseqno) in [(Command::Ping, 0), (Command::Ping, 1), (Command::Vnak, 1)] {
        let frame = FullFrame {
            frame_type: FrameType::Iax,
            subclass: command.into(),
            oseqno: SeqNo::new(oseqno),
            ..FullFrame::poke_from(exchange.callers[caller].call.local(), Timestamp::ZERO)
        };
        let input = Input::Datagram {
            socket: SocketKey(0),
            source: exchange.callers[caller].peer,
            payload: &Frame::Full(frame).to_vec(),
        };
        exchange.provider.handle_input(input, exchange.now);
    }
    exchange.run(seconds(5));
    assert_eq!(exchange.sent.len(), 1);
}
