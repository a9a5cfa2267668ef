//! The same registrations, calls and causes as Wireshark's fields give.

use std::collections::BTreeMap;

use crate::{
    looked::{captures, judged},
    support::tshark,
};

const FIELDS: [&str; 12] = [
    "ip.src",
    "udp.srcport",
    "ip.dst",
    "udp.dstport",
    "iax2.src_call",
    "iax2.dst_call",
    "iax2.iax.subclass",
    "iax2.iax.causecode",
    "iax2.iax.refresh",
    "iax2.iax.username",
    "iax2.control.subclass",
    "iax2.packet_type",
];

/// A registration or a call as the fields show it.
#[derive(Debug, Default, PartialEq)]
struct Dialogue {
    user: Option<String>,
    acknowledged: bool,
    refused: bool,
    refresh: Option<u16>,
    accepted: bool,
    answered: bool,
    cause: Option<u8>,
}

/// Who begins a dialogue: address, call number.
type Key = (String, u16);

/// Dialogues by what begins them: REGREQ or REGREL (13, 17), NEW (1).
fn dissected(rows: &[Vec<String>], begins: &[&str]) -> BTreeMap<Key, Dialogue> {
    let mut dialogues: BTreeMap<Key, Dialogue> = BTreeMap::new();
    for row in rows {
        let [
            from,
            from_port,
            to,
            to_port,
            source,
            destination,
            command,
            cause,
            refresh,
            user,
            control,
            _,
        ] = row.as_slice()
        else {
            panic!("{row:?}");
        };
        let own = (format!("{from}:{from_port}"), number(source));
        let far = (format!("{to}:{to_port}"), number(destination));
        let begins = begins.contains(&command.as_str());
        if begins && number(destination) == 0 {
            dialogues.entry(own.clone()).or_default();
        }
        if begins
            && !user.is_empty()
            && let Some(dialogue) = dialogues.get_mut(&own)
        {
            dialogue.user = Some(user.clone());
        }
        // Both ends may end a call; the first cause counts.
        for key in [&own, &far] {
            let Some(dialogue) = dialogues.get_mut(key) else {
                continue;
            };
            if matches!(command.as_str(), "5" | "6" | "16") && dialogue.cause.is_none() {
                dialogue.cause = octet(cause);
            }
        }
        let Some(dialogue) = dialogues.get_mut(&far) else {
            continue;
        };
        match command.as_str() {
            "15" => {
                dialogue.acknowledged = true;
                dialogue.refresh = refresh.parse().ok();
            }
            "16" => dialogue.refused = true,
            "7" => dialogue.accepted = true,
            _ => {}
        }
        if control == "4" {
            dialogue.answered = true;
        }
    }
    dialogues
}

/// tshark shows causes in hexadecimal.
fn octet(field: &str) -> Option<u8> {
    match field.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => field.parse().ok(),
    }
}

fn number(field: &str) -> u16 {
    field.parse().unwrap_or(0)
}

/// In encrypted calls the fields are nonsense; in these two, call numbers are used again for other dialogues, or by
/// strangers, on purpose.
const NOT_COMPARED: [&str; 4] = [
    "ast16/call600-crypt2",
    "ast22/encrypted-rotation",
    "ast22/trunk",
    "odd-ast16",
];

#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn registrations_calls_and_causes_are_those_of_tshark() {
    let (mut registrations, mut calls) = (0, 0);
    for (name, path) in captures() {
        if NOT_COMPARED.contains(&name.as_str()) {
            continue;
        }
        let rows = tshark::fields(&path, "iax2 && !icmp", &FIELDS);
        let (traced, _) = judged(&path);
        let ours: BTreeMap<Key, Dialogue> = traced
            .registrations
            .iter()
            // tshark knows the port 4569 alone.
            .filter(|attempt| attempt.registrar.port() == 4569)
            .map(|attempt| {
                use iax2_natcheck::trace::registration::Outcome;
                let key = (attempt.client.to_string(), attempt.number.get());
                let dialogue = Dialogue {
                    user: attempt.user.as_deref().map(str::to_owned),
                    acknowledged: matches!(
                        attempt.outcome,
                        Outcome::Registered | Outcome::Released
                    ),
                    refused: matches!(attempt.outcome, Outcome::Rejected | Outcome::TokenRefused),
                    refresh: attempt.refresh,
                    cause: attempt.cause_code,
                    ..Dialogue::default()
                };
                (key, dialogue)
            })
            .collect();
        registrations += ours.len();
        assert_eq!(
            ours,
            dissected(&rows, &["13", "17"]),
            "{name}: registrations"
        );

        let ours: BTreeMap<Key, Dialogue> = traced
            .calls
            .iter()
            .filter(|call| !call.began_before)
            .map(|call| {
                let (caller, _) = traced.ends(call).unwrap();
                let dialogue = Dialogue {
                    user: call.user.as_deref().map(str::to_owned),
                    accepted: call.accepted.is_some(),
                    answered: call.answered.is_some(),
                    cause: call.cause_code,
                    ..Dialogue::default()
                };
                ((caller.to_string(), call.numbers[0].get()), dialogue)
            })
            .collect();
        calls += ours.len();
        assert_eq!(ours, dissected(&rows, &["1"]), "{name}: calls");
    }
    assert!(registrations > 50 && calls > 20, "{registrations} {calls}");
}
