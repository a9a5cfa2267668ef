//! Diagnosis of the NAT between an IAX2 PBX and its provider: the library below the `iax2-natcheck`
//! command.
//!
//! # Floors
//!
//! A file uses its own floor and those below it. The pure floors take the time, chance and addresses
//! as arguments: no clock, socket, file, environment, thread or `async` there, so that minutes of a
//! NAT's life are tested in milliseconds. `tests/floors.rs` enforces both by reading the source.
//!
//! ```text
//!  6  main.rs  cli         arguments, progress, exit status
//!  5  report   config      what the user reads │ what the user writes
//!  4  check                judgement: evidence → findings                                pure
//!  3  net  os  lab         sockets and the one event loop │ facts of the host │ virtual networks
//!  2  probe    trace       experiments │ what a capture shows of the dialogues in it       pure
//!  1  proto                IAX2 machines of both ends, authentication, tokens            pure
//!  0  wire  types          bytes ⇄ values: IAX2, STUN, captures, rules of packet filters   pure
//! ```
//!
//! What happens on the way from a packet to a sentence:
//!
//! * [`wire`] reads it, without copying and without refusing what is merely unknown;
//! * [`proto`] and [`probe`] are state machines that take it and say what to send next. The largest
//!   is [`probe::survey::Survey`], which runs every experiment side by side; its counterpart is
//!   [`probe::provider::Provider`], the far end that `serve` runs;
//! * [`net::drive`] runs a machine on UDP sockets, [`lab`] in virtual networks: of the kernel, with
//!   its own NAT, or simulated in process;
//! * the survey ends in [`probe::evidence::Evidence`], facts alone, where "not known" is `None`;
//! * [`check::judge`] makes findings of it, each with the facts it rests on and what to do;
//! * from captures, or from the wire, [`trace::tracer::Tracer`] rebuilds the dialogues of others, and
//!   [`check::passive`] judges those;
//! * on a router, [`check::taint`] judges the entries of the kernel's own table that
//!   [`os::conntrack`] reads, by what [`os::route`] and the NAT rules say; [`check::snat`] plans the
//!   rules under which none goes wrong, from those that [`os::firewall`] reads;
//! * [`report`] turns both into a contract of its own, the JSON report, and renders that.
//!
//! # The five verbs
//!
//! Every machine implements [`proto::contract::Machine`] and is driven alike:
//!
//! | verb | what it does |
//! | --- | --- |
//! | `handle_input(input, now)` | takes one datagram, one ICMP error, one opened socket |
//! | `handle_timeout(now)` | lets time pass; a spurious call changes nothing |
//! | `poll_transmit()` | the next datagram to send |
//! | `poll_event()` | the next thing that happened, in the past tense |
//! | `poll_timeout()` | the next deadline, with its reason |
//!
//! The drain law: after any `handle_*`, take transmits and events until both are empty, then read the
//! deadline again. After `handle_timeout(now)` it lies later than `now`, so that no driver can spin.
//! A parent drains its children inside its own handlers and translates what they say.
//!
//! # A whole diagnosis
//!
//! A provider that grants 12 s and a router that forgets after 6 s, simulated:
//!
//! ```
//! use iax2_natcheck::{
//!     check::{self, Context, FindingId, Question, Verdict},
//!     lab::{demo, scenario},
//!     types::PeerAddr,
//!     wire::iax2::PORT,
//! };
//!
//! let scenario = scenario::find("short-timeout").ok_or("no such scenario")?;
//! let evidence = demo::in_process(&scenario, [7; 32], |_| {});
//!
//! let context = Context {
//!     question: Question::Reachability,
//!     provider: PeerAddr::new((scenario.server(), PORT).into()),
//!     credentials: true,
//!     refresh: None,
//!     device: None,
//! };
//! let judgement = check::judge(&evidence, &context);
//! assert_eq!(judgement.verdict, Verdict::Critical);
//! assert_eq!(judgement.findings[0].id, FindingId::ShortMappingTimeout);
//! // Asterisk registers again after 5/6 of 12 s; of these 10 s the way is open for 6.
//! assert_eq!(judgement.reachable.map(|reachable| reachable.fraction), Some(0.6));
//! # Ok::<(), &str>(())
//! ```
//!
//! `examples/` holds smaller ones: one POKE with the codec alone (`poke.rs`), one registration under
//! tokio (`register.rs`), a sweep of a simulated NAT (`simulate.rs`), a private network with a real
//! NAT (`virtual_nat.rs`).

pub mod check;
pub mod config;
pub mod lab;
pub mod net;
pub mod os;
pub mod probe;
pub mod proto;
pub mod report;
pub mod trace;
pub mod types;
pub mod wire;
