//! Floor 2, beside [`probe`](crate::probe): what a capture tells of the dialogues in it, without sending anything.
//!
//! [`tracer::Tracer`] takes the datagrams of a capture one by one and follows every registration
//! ([`registration`]), every call ([`call`]) with its audio in each direction ([`media`]), and every POKE
//! ([`flow`]). [`reading::Reading`] stands before it where packets come from a link: it takes datagrams out of
//! packets, puts fragments together, leaves out what a mirror port shows twice, and counts what was lost.
//! [`pairing`] matches two captures of one NAT, [`anonymous`] takes people out of a capture.
//!
//! Nothing here judges: what it means is [`check::passive`](crate::check::passive).

pub mod anonymous;
pub mod call;
mod dialogues;
pub mod flow;
mod fragments;
mod hash;
pub mod ladder;
pub mod mark;
pub mod media;
pub mod name;
pub mod pairing;
pub mod reading;
mod recognition;
pub mod registration;
mod secrecy;
pub mod traced;
pub mod tracer;
