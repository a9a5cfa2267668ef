//! Callers and a provider on one line, under one counted clock: every datagram takes 5 ms, unless a test has
//! its way with it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::{
    probe::provider::{Provider, ProviderConfig},
    proto::{
        account::Account,
        auth::Credentials,
        call::{
            Call, CallEvent, DialConfig, EncryptionOffer, Ending, Manners, Reason, Side, Stage,
        },
        contract::{Input, Machine as _, SocketKey, Transmit},
        endpoint::{EndpointConfig, EndpointEvent, Profile},
        registrar::RegistrarConfig,
        registration::{Registration, RegistrationConfig},
        switchboard::{
            SwitchboardConfig, SwitchboardEvent,
            fault::{Fault, Faults},
        },
        token::{TokenKey, Tokens, WallClock},
        trunk::{MTU, TrunkSender},
    },
    types::{CallNumber, PeerAddr},
    wire::iax2::{
        command::Command,
        format::Formats,
        frame::{Frame, FullFrame, Numbers},
    },
};

use crate::support::{SERVER, peer, seed};

/// One way.
const DELAY: Duration = Duration::from_millis(5);
/// A packet of audio.
pub(crate) const PACKET: Duration = Duration::from_millis(20);

/// Who calls, and what became of it.
pub(crate) struct Caller {
    pub(crate) call: Call,
    pub(crate) peer: PeerAddr,
    /// What happened, and when.
    pub(crate) events: Vec<(Instant, CallEvent)>,
    /// Audio that it sends every 20 ms from then on, numbered by its first octets.
    speaks: Option<(Instant, u32)>,
    /// Takes part only in what a test has it do.
    asleep: bool,
}

impl Caller {
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.events.iter().find_map(|(_, event)| match event {
            CallEvent::Ended(ending) => Some(ending),
            _ => None,
        })
    }

    /// Numbers of the packets of ours that came back, in order.
    pub(crate) fn echoes(&self) -> Vec<u32> {
        self.events
            .iter()
            .filter_map(|(_, event)| match event {
                CallEvent::Audio(audio) => number_of(&audio.payload),
                _ => None,
            })
            .collect()
    }

    /// The control frames that came, by name.
    pub(crate) fn controls(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|(_, event)| match event {
                CallEvent::Progress(control) => Some(control.to_string()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&CallEvent) -> bool) -> usize {
        self.events
            .iter()
            .filter(|(_, event)| wanted(event))
            .count()
    }
}

/// 160 octets that tell which packet they are.
pub(crate) fn packet(number: u32) -> Vec<u8> {
    let mut payload = vec![0x55; 160];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

fn number_of(payload: &[u8]) -> Option<u32> {
    let (number, rest) = payload.split_first_chunk()?;
    (rest.len() == 156 && rest.iter().all(|octet| *octet == 0x55))
        .then(|| u32::from_be_bytes(*number))
}

/// A datagram on its way.
struct Flight {
    /// The caller's address, whoever sends.
    client: PeerAddr,
    socket: SocketKey,
    payload: Vec<u8>,
    to_provider: bool,
}

/// The provider and its callers.
pub(crate) struct Exchange {
    pub(crate) provider: Provider,
    pub(crate) callers: Vec<Caller>,
    pub(crate) now: Instant,
    pub(crate) events: Vec<EndpointEvent>,
    /// Every datagram of the provider, with the socket it left from.
    pub(crate) sent: Vec<Transmit>,
    /// Whether datagrams are kept in `sent`.
    pub(crate) keeps: bool,
    flights: BTreeMap<(Instant, u64), Flight>,
    launched: u64,
    /// Nobody takes calls.
    pub(crate) is_deaf: bool,
    /// What callers send in trunk frames, with or without clocks.
    pub(crate) trunk: Option<TrunkSender>,
    /// What is lost on the way.
    pub(crate) loses: Box<Loses>,
}

/// Whether a datagram is lost: whether it goes towards the provider, and itself.
type Loses = dyn FnMut(bool, &[u8]) -> bool;

pub(crate) fn switchboard(
    accounts: Vec<Account>,
    faults: &[Fault],
    clock: WallClock,
) -> SwitchboardConfig {
    let faults: Faults = faults.iter().copied().collect();
    SwitchboardConfig {
        accounts,
        tokens: Tokens::for_calls(TokenKey::new([9; 16]), clock),
        manners: faults.bend(Manners::ASTERISK),
        faults,
        others: [(SocketKey(0), SocketKey(1)), (SocketKey(1), SocketKey(0))].into(),
        trunk_mtu: MTU,
        seed: seed(5),
    }
}

impl Exchange {
    pub(crate) fn new(accounts: Vec<Account>, faults: &[Fault]) -> Self {
        let now = Instant::now();
        let clock = WallClock {
            at: now,
            says: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        };
        let key = TokenKey::new([9; 16]);
        let config = ProviderConfig {
            endpoint: EndpointConfig {
                registrar: Some(RegistrarConfig {
                    accounts: accounts.clone(),
                    tokens: Tokens::for_calls(key.clone(), clock),
                    clock,
                    retry: Manners::ASTERISK.retry,
                    seed: seed(6),
                }),
                switchboard: Some(switchboard(accounts, faults, clock)),
                profile: Profile::Asterisk,
                seed: seed(7),
            },
            tokens: Tokens::for_probes(key, clock),
            sockets: BTreeMap::new(),
            seed: seed(8),
        };
        Self {
            provider: Provider::new(config, now),
            callers: Vec::new(),
            now,
            events: Vec::new(),
            sent: Vec::new(),
            keeps: true,
            flights: BTreeMap::new(),
            launched: 0,
            is_deaf: false,
            trunk: None,
            loses: Box::new(|_, _| false),
        }
    }

    /// Alice calls from an address of her own; returns which caller she is.
    pub(crate) fn dial(&mut self, number: &str, change: impl FnOnce(&mut DialConfig)) -> usize {
        let which = self.callers.len();
        let host = u8::try_from(which % 250 + 1).unwrap();
        self.dial_from(&format!("192.0.2.{host}:4569"), number, change)
    }

    pub(crate) fn dial_from(
        &mut self,
        address: &str,
        number: &str,
        change: impl FnOnce(&mut DialConfig),
    ) -> usize {
        let mut config = DialConfig {
            number: number.to_owned(),
            context: None,
            credentials: Some(Credentials::with_secret("alice", "s3cret")),
            caller: None,
            formats: vec![Formats::ULAW, Formats::ALAW],
            encryption: EncryptionOffer::None,
            offer_token: true,
            renumbers: false,
            manners: Manners::OURS,
            seed: seed(100 + self.callers.len() as u64),
        };
        change(&mut config);
        let local = CallNumber::from_bits(u16::try_from(1000 + self.callers.len()).unwrap());
        let call = Call::dial(config, local, self.now);
        self.add(call, peer(address))
    }

    pub(crate) fn add(&mut self, call: Call, peer: PeerAddr) -> usize {
        self.callers.push(Caller {
            call,
            peer,
            events: Vec::new(),
            speaks: None,
            asleep: false,
        });
        self.settle();
        self.callers.len() - 1
    }

    /// Registers alice at this address.
    pub(crate) fn register(&mut self, address: &str) {
        let client = peer(address);
        let config = RegistrationConfig {
            registrar: peer(SERVER),
            socket: SocketKey(0),
            credentials: Credentials::with_secret("alice", "s3cret"),
            refresh: Duration::from_secs(60),
            release: false,
            offer_token: true,
            retry: Manners::OURS.retry,
            seed: seed(3),
        };
        let mut registration = Registration::new(config, self.now);
        for _ in 0..10 {
            while let Some(transmit) = registration.poll_transmit() {
                let input = Input::Datagram {
                    socket: SocketKey(0),
                    source: client,
                    payload: &transmit.payload,
                };
                self.provider.handle_input(input, self.now);
            }
            while let Some(transmit) = self.provider.poll_transmit() {
                let input = Input::Datagram {
                    socket: SocketKey(0),
                    source: peer(SERVER),
                    payload: &transmit.payload,
                };
                registration.handle_input(input, self.now);
            }
        }
        self.settle();
    }

    /// A caller sends audio from now on.
    pub(crate) fn speak(&mut self, which: usize) {
        self.callers[which].speaks = Some((self.now, 0));
    }

    /// A caller is gone: it says and hears nothing.
    pub(crate) fn vanish(&mut self, which: usize) {
        self.callers[which].asleep = true;
        self.callers[which].speaks = None;
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.settle();
        let until = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    /// Runs until this caller's call ends.
    pub(crate) fn run_to_end(&mut self, which: usize) -> Ending {
        for _ in 0..1000 {
            if let Some(ending) = self.callers[which].ending() {
                return ending.clone();
            }
            self.run(Duration::from_millis(200));
        }
        panic!("no end in sight: {:?}", self.callers[which].events);
    }

    pub(crate) fn switchboard_events(&self) -> impl Iterator<Item = &SwitchboardEvent> {
        self.events.iter().filter_map(|event| match event {
            EndpointEvent::Switchboard(event) => Some(event),
            EndpointEvent::Registrar(_) => None,
        })
    }

    pub(crate) fn lines(&self) -> usize {
        self.provider.endpoint().switchboard().unwrap().lines()
    }

    fn next(&self) -> Option<Instant> {
        let flight = self.flights.keys().next().map(|(at, _)| *at);
        let provider = self.provider.poll_timeout().map(|(at, _)| at);
        let callers = self.callers.iter().filter(|caller| !caller.asleep);
        let deadlines = callers.filter_map(|caller| {
            let call = caller.call.poll_timeout().map(|(at, _)| at);
            let speech = caller.speaks.map(|(at, _)| at);
            call.into_iter().chain(speech).min()
        });
        flight.into_iter().chain(provider).chain(deadlines).min()
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some((&(at, _), _)) = self.flights.first_key_value()
            && at <= now
        {
            let (_, flight) = self.flights.pop_first().unwrap();
            self.land(&flight);
        }
        if self
            .provider
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            self.provider.handle_timeout(now);
            let next = self.provider.poll_timeout();
            assert!(next.is_none_or(|(at, _)| at > now), "{next:?}");
        }
        for caller in &mut self.callers {
            if caller.asleep {
                continue;
            }
            if caller.call.poll_timeout().is_some_and(|(at, _)| at <= now) {
                caller.call.handle_timeout(now);
            }
            while let Some((at, number)) = caller.speaks.filter(|(at, _)| *at <= now) {
                let format = caller.call.format().unwrap_or(Formats::ULAW);
                let sent = caller.call.send_audio(&packet(number), format, 20, now);
                caller.speaks = Some((at + PACKET, number + u32::from(sent)));
            }
        }
        self.settle();
    }

    fn land(&mut self, flight: &Flight) {
        if (self.loses)(flight.to_provider, &flight.payload) {
            return;
        }
        if flight.to_provider {
            let input = Input::Datagram {
                socket: flight.socket,
                source: flight.client,
                payload: &flight.payload,
            };
            self.provider.handle_input(input, self.now);
        } else {
            self.hear(flight);
        }
        self.settle();
    }

    fn hear(&mut self, flight: &Flight) {
        if let Ok(Frame::Full(frame)) = Frame::decode(&flight.payload)
            && frame.command() == Some(Command::New)
        {
            let known = self
                .callers
                .iter()
                .any(|caller| caller.peer == flight.client && caller.call.remote() == frame.source);
            if !known && !self.is_deaf {
                let local =
                    CallNumber::from_bits(u16::try_from(5000 + self.callers.len()).unwrap());
                let call = Call::incoming(&frame, local, Manners::ASTERISK, seed(4), self.now);
                self.add(call, flight.client);
            }
            return;
        }
        let callers = self.callers.iter_mut();
        let mut here = callers.filter(|caller| caller.peer == flight.client && !caller.asleep);
        match Numbers::of(&flight.payload).unwrap() {
            Numbers::Full { destination, .. } => {
                if let Some(caller) = here.find(|caller| caller.call.local() == destination) {
                    caller.call.handle_datagram(&flight.payload, self.now);
                }
            }
            Numbers::Mini { source } => {
                if let Some(caller) = here.find(|caller| caller.call.remote() == source) {
                    caller.call.handle_datagram(&flight.payload, self.now);
                }
            }
            Numbers::Meta => {
                let Ok(Frame::Trunk(trunk)) = Frame::decode(&flight.payload) else {
                    panic!("{flight:?}", flight = flight.payload);
                };
                let mut here: Vec<_> = here.collect();
                for entry in trunk.entries() {
                    let caller = here
                        .iter_mut()
                        .find(|caller| caller.call.remote() == entry.source)
                        .expect("a caller");
                    caller.call.handle_entry(&trunk, &entry, self.now);
                }
            }
        }
    }

    /// Takes what everybody has to say.
    fn settle(&mut self) {
        let now = self.now;
        let mut out: VecDeque<Flight> = VecDeque::new();
        while let Some(transmit) = self.provider.poll_transmit() {
            if self.keeps {
                self.sent.push(transmit.clone());
            }
            out.push_back(Flight {
                client: transmit.peer,
                socket: transmit.socket,
                payload: transmit.payload,
                to_provider: false,
            });
        }
        while let Some(event) = self.provider.poll_event() {
            self.events.push(event);
        }
        for caller in &mut self.callers {
            if caller.asleep {
                continue;
            }
            let client = caller.peer;
            while let Some(event) = caller.call.poll_event() {
                caller.events.push((now, event));
            }
            let mut fly = |payload| {
                out.push_back(Flight {
                    client,
                    socket: SocketKey(0),
                    payload,
                    to_provider: true,
                });
            };
            while let Some(payload) = caller.call.poll_transmit() {
                fly(payload);
            }
            while let Some(audio) = caller.call.poll_trunk() {
                let trunk = self.trunk.as_mut().expect("a trunk");
                trunk.push(audio, now).unwrap();
            }
        }
        if let Some(trunk) = &mut self.trunk {
            trunk.flush(now);
            while let Some(payload) = trunk.poll_transmit() {
                out.push_back(Flight {
                    client: self.callers[0].peer,
                    socket: SocketKey(0),
                    payload,
                    to_provider: true,
                });
            }
        }
        for flight in out {
            self.launched += 1;
            self.flights.insert((now + DELAY, self.launched), flight);
        }
    }
}

/// The full frames among datagrams.
pub(crate) fn full_frames(sent: &[Transmit]) -> impl Iterator<Item = FullFrame<'_>> {
    sent.iter()
        .filter_map(|transmit| match Frame::decode(&transmit.payload) {
            Ok(Frame::Full(frame)) => Some(frame),
            _ => None,
        })
}

/// A caller that is over has nothing to wait for.
pub(crate) fn assert_over(exchange: &Exchange, which: usize) {
    let caller = &exchange.callers[which];
    assert_eq!(caller.call.stage(), Stage::Over);
    assert_eq!(caller.call.poll_timeout(), None);
}

pub(crate) fn alice() -> Account {
    Account::new("alice", "s3cret")
}

pub(crate) fn exchange() -> Exchange {
    Exchange::new(vec![alice()], &[])
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn hung_up(by: Side, code: u8) -> Ending {
    Ending::HungUp {
        by,
        cause: Reason::code(code),
        acknowledged: true,
    }
}

pub(crate) fn rejected(text: &str, code: u8) -> Ending {
    Ending::Rejected {
        by: Side::Peer,
        cause: Reason {
            text: Some(text.to_owned()),
            code: Some(code),
        },
    }
}
