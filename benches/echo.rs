//! What a packet of an echo call costs the server's machine, without the system calls around it: one of 4000
//! calls, in turn, so that no cache holds them all.
//!
//! `cargo bench --bench echo`. The target: a microsecond, so that the system calls are what costs.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a benchmark may panic"
)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use divan::{Bencher, black_box, counter::ItemsCount};
use iax2_natcheck::{
    probe::provider::{Provider, ProviderConfig},
    proto::{
        account::{Account, EncryptionRule},
        auth::Credentials,
        call::{Call, CallEvent, DialConfig, EncryptionOffer, Manners, Stage},
        contract::{Input, Machine as _, SocketKey},
        endpoint::{EndpointConfig, Profile},
        switchboard::{SwitchboardConfig, fault::Faults},
        token::{TokenKey, Tokens, WallClock},
        trunk::{MTU, TrunkSender},
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::format::Formats,
};

/// Calls at once, of addresses with so many calls each.
const CALLS: usize = 4000;
const EACH: usize = 500;

fn main() {
    divan::main();
}

/// A server with calls that are up, and what each sends every 20 ms.
struct Exchange {
    provider: Provider,
    callers: Vec<(PeerAddr, Call)>,
    now: Instant,
}

impl Exchange {
    fn new(encrypted: bool) -> Self {
        let now = Instant::now();
        let clock = WallClock {
            at: now,
            says: SystemTime::UNIX_EPOCH,
        };
        let account = Account {
            trunk: true,
            encryption: EncryptionRule::Optional,
            ..Account::new("alice", "s3cret")
        };
        let tokens = Tokens::for_calls(TokenKey::new([1; 16]), clock);
        let config = ProviderConfig {
            endpoint: EndpointConfig {
                registrar: None,
                switchboard: Some(SwitchboardConfig {
                    accounts: vec![account],
                    tokens: tokens.clone(),
                    manners: Manners::ASTERISK,
                    faults: Faults::default(),
                    others: BTreeMap::new(),
                    trunk_mtu: MTU,
                    seed: [2; 32],
                }),
                profile: Profile::Asterisk,
                seed: [3; 32],
            },
            tokens,
            sockets: BTreeMap::new(),
            seed: [4; 32],
        };
        let mut exchange = Self {
            provider: Provider::new(config, now),
            callers: Vec::new(),
            now,
        };
        for which in 0..CALLS {
            exchange.dial(which, encrypted);
        }
        exchange
    }

    fn dial(&mut self, which: usize, encrypted: bool) {
        let now = self.now;
        let peer = PeerAddr::new(([192, 0, 2, (which / EACH) as u8], 4569).into());
        let config = DialConfig {
            number: "600".to_owned(),
            context: None,
            credentials: Some(Credentials::with_secret("alice", "s3cret")),
            caller: None,
            formats: vec![Formats::ULAW],
            encryption: if encrypted {
                EncryptionOffer::Required
            } else {
                EncryptionOffer::None
            },
            offer_token: true,
            renumbers: false,
            manners: Manners::ASTERISK,
            seed: [5; 32],
        };
        let local = CallNumber::from_bits((which % EACH + 2) as u16);
        let mut call = Call::dial(config, local, now);
        for _ in 0..6 {
            while let Some(payload) = call.poll_transmit() {
                self.hear(peer, &payload);
            }
            while let Some(transmit) = self.provider.poll_transmit() {
                call.handle_datagram(&transmit.payload, now);
            }
        }
        assert_eq!(call.stage(), Stage::Up);
        call.send_audio(&[0x55; 160], Formats::ULAW, 20, now);
        while let Some(payload) = call.poll_transmit() {
            self.hear(peer, &payload);
        }
        while self.provider.poll_transmit().is_some() {}
        while self.provider.poll_event().is_some() {}
        while let Some(CallEvent::TokenReceived) = call.poll_event() {}
        self.callers.push((peer, call));
    }

    fn hear(&mut self, source: PeerAddr, payload: &[u8]) {
        let input = Input::Datagram {
            socket: SocketKey(0),
            source,
            payload,
        };
        self.provider.handle_input(input, self.now);
    }

    /// Everything that all callers send in 20 ms: the datagrams, and where from.
    fn round(&mut self, trunk: bool) -> Vec<(PeerAddr, Vec<u8>)> {
        self.now += Duration::from_millis(20);
        let now = self.now;
        let mut round = Vec::new();
        let mut trunks: BTreeMap<PeerAddr, TrunkSender> = BTreeMap::new();
        for (peer, call) in &mut self.callers {
            call.set_trunked(trunk);
            call.send_audio(&[0x55; 160], Formats::ULAW, 20, now);
            round.extend(std::iter::from_fn(|| call.poll_transmit()).map(|it| (*peer, it)));
            while let Some(audio) = call.poll_trunk() {
                let sender = trunks
                    .entry(*peer)
                    .or_insert_with(|| TrunkSender::new(MTU, true, now));
                sender.push(audio, now).unwrap();
            }
        }
        for (peer, mut sender) in trunks {
            sender.flush(now);
            round.extend(std::iter::from_fn(|| sender.poll_transmit()).map(|it| (peer, it)));
        }
        round
    }
}

#[divan::bench(args = ["mini", "encrypted", "trunk"])]
fn packet(bencher: Bencher<'_, '_>, kind: &str) {
    let mut exchange = Exchange::new(kind == "encrypted");
    let rounds: Vec<_> = (0..10).map(|_| exchange.round(kind == "trunk")).collect();
    let mut next = 0;
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| {
        let round = &rounds[next % rounds.len()];
        next += 1;
        exchange.now += Duration::from_millis(20);
        let mut sent = 0;
        for (source, payload) in round {
            exchange.hear(*source, black_box(payload));
            while exchange.provider.poll_transmit().is_some() {
                sent += 1;
            }
            while exchange.provider.poll_event().is_some() {}
            black_box(exchange.provider.poll_timeout());
        }
        assert_eq!(sent, round.len());
    });
}
