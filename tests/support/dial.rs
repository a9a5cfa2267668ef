//! Test calls of the library's own, for what no option of the command asks for.

use std::{
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};

use iax2_natcheck::{
    net::{
        clock,
        drive::{Ended, drive},
        sockets::Sockets,
        udp::Ground,
    },
    probe::calls::{
        Calls,
        evidence::CallsEvidence,
        plan::{CONTROL_SOCKETS, CallPlan, CallsConfig, CallsEvent, GENTLE_PACE},
    },
    proto::{auth::Credentials, contract::SocketKey, media::directions::FarEnd},
    types::PeerAddr,
};

/// Longer than any of these calls.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whom to call, and how.
pub struct Dial {
    /// The callee.
    pub callee: SocketAddr,
    /// The address to call from.
    pub from: IpAddr,
    /// The extension.
    pub number: String,
    /// The account.
    pub credentials: Option<Credentials>,
    /// What the extension does with audio.
    pub far_end: FarEnd,
    /// What each call does.
    pub plan: CallPlan,
}

impl Dial {
    /// One call by nobody in particular.
    pub fn new(callee: SocketAddr, from: IpAddr, number: &str) -> Self {
        Self {
            callee,
            from,
            number: number.to_owned(),
            credentials: None,
            far_end: FarEnd::Unknown,
            plan: CallPlan::default(),
        }
    }

    /// The same for the machine.
    pub fn config(self) -> CallsConfig {
        CallsConfig {
            provider: PeerAddr::new(self.callee),
            socket: SocketKey(0),
            control_socket: CONTROL_SOCKETS,
            number: self.number,
            far_end: self.far_end,
            credentials: self.credentials,
            uplink: None,
            calls: 1,
            concurrent: 1,
            pace: GENTLE_PACE,
            plan: self.plan,
            trunk: false,
            seed: rand::random(),
        }
    }
}

/// Places the call, and gives what it found.
pub fn calls(dial: Dial) -> CallsEvidence {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let from = dial.from;
        let now = clock::now();
        let mut machine = Calls::new(dial.config(), now, now);
        let mut sockets = Sockets::client(Ground::host(), Some(from));
        let ended = drive(
            &mut machine,
            &mut sockets,
            |event, _| match event {
                CallsEvent::Finished => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
            tokio::time::sleep(PATIENCE),
        );
        match ended.await.unwrap() {
            Ended::Event(()) => machine.evidence(),
            Ended::Stopped(()) | Ended::Idle => panic!("the calls do not end"),
        }
    })
}
