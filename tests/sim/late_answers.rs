//! Frames that fit a registration's call number and are not its answers.

use std::time::{Duration, Instant};

use iax2_natcheck::{
    proto::{
        auth::Credentials,
        contract::{Input, Machine, SocketKey},
        registration::{Registration, RegistrationConfig},
        reliable::RetryPolicy,
        stateless,
    },
    types::Timestamp,
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

use crate::support::{SERVER, peer, seconds, seed};

#[test]
fn a_refusal_counts_only_with_the_timestamp_of_the_request() {
    for (shift, ends) in [(0, true), (5, false)] {
        let now = Instant::now();
        let config = RegistrationConfig {
            registrar: peer(SERVER),
            socket: SocketKey(0),
            credentials: Credentials::with_secret("alice", "s3cret"),
            refresh: seconds(60),
            release: false,
            offer_token: true,
            retry: RetryPolicy::QUICK,
            seed: seed(1),
        };
        let mut registration = Registration::new(config, now);
        let sent = registration.poll_transmit().unwrap();
        let Ok(Frame::Full(request)) = Frame::decode(&sent.payload) else {
            panic!("the request is no full frame");
        };
        let shifted = FullFrame {
            timestamp: Timestamp::from_millis(request.timestamp.millis() + shift),
            ..request
        };
        let payload = stateless::reply(&shifted, Command::RegRej, &[]);
        let input = Input::Datagram {
            socket: SocketKey(0),
            source: peer(SERVER),
            payload: &payload,
        };
        registration.handle_input(input, now + Duration::from_millis(10));
        assert_eq!(registration.is_ended(), ends, "{shift} ms");
    }
}
