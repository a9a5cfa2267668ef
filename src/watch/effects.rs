//! The effects: what carries out the guardian's decisions, one at a time, and says what became of each.

pub(super) mod keep_open;
mod module;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use crate::{
    guard::{
        action::{Action, ActionOutcome, ActionResult, Decision},
        observation::{Observation, Seen},
    },
    net::clock,
    os::{
        OsError,
        conntrack::Table,
        hold::Hold,
        route::{Passing, Routing},
    },
    types::PeerAddr,
    watch::{
        command::{self, Failure},
        effects::keep_open::KeepOpen,
        observe::{Shared, entry::entries},
        setup::Setup,
    },
};

/// What is asked of the effects.
#[derive(Debug)]
pub(super) enum Order {
    /// Carry it out, and observe the outcome.
    Decision(Decision),
    /// Undo what belongs to providers that are gone.
    Undo(Vec<Action>),
    /// The configuration has changed.
    Setup(Box<Setup>),
    /// Undo everything: the program ends.
    End,
}

/// Carries out what is ordered, until the end.
#[derive(Debug)]
pub(super) struct Effects {
    setup: Setup,
    hold: Hold,
    keep_open: KeepOpen,
    shared: Shared,
    /// True once the program ends.
    ending: watch::Receiver<bool>,
}

impl Effects {
    pub(super) fn new(setup: Setup, shared: Shared, ending: watch::Receiver<bool>) -> Self {
        let hold = Hold::new(setup.asterisk.pbx());
        Self {
            setup,
            hold,
            keep_open: KeepOpen::default(),
            shared,
            ending,
        }
    }

    /// Works until [`Order::End`], or until nobody orders any more.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        observed: mpsc::Sender<Observation>,
    ) {
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                () = self.keep_open.due() => {
                    self.keep_open.send(&self.setup.asterisk).await;
                    continue;
                }
            };
            match order {
                Some(Order::Decision(decision)) => {
                    let result = self.carry_out(&decision).await;
                    let seen = Seen::Outcome(ActionOutcome {
                        id: decision.id,
                        result,
                    });
                    let at = clock::now();
                    let _ = observed.send(Observation { at, seen }).await;
                }
                Some(Order::Undo(actions)) => {
                    for action in actions {
                        let _ = self.act(&action).await;
                    }
                }
                Some(Order::Setup(setup)) => {
                    if self.setup.asterisk.pbx() != setup.asterisk.pbx() {
                        let _ = self.hold.close().await;
                        self.hold = Hold::new(setup.asterisk.pbx());
                    }
                    self.setup = *setup;
                }
                Some(Order::End) | None => {
                    if let Err(error) = self.hold.close().await {
                        tracing::error!("{error}");
                    }
                    return;
                }
            }
        }
    }

    async fn carry_out(&mut self, decision: &Decision) -> ActionResult {
        if self.setup.dry_run && !matches!(decision.action, Action::Notify { .. }) {
            return ActionResult::Printed;
        }
        let limit = decision.limit;
        let began = Instant::now();
        match tokio::time::timeout(limit, self.act(&decision.action)).await {
            Ok(Ok(())) => ActionResult::Done,
            Ok(Err(Refusal::Refused(why))) => ActionResult::Refused { why },
            Ok(Err(Refusal::Failed(why))) => ActionResult::Failed { why },
            Err(_) => ActionResult::Failed {
                why: format!("it was not done after {:.1?}", began.elapsed()),
            },
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::Hold { peers, lasting } | Action::Quiet { peers, lasting } => {
                self.place(peers, *lasting).await?;
            }
            Action::Release { peers } => {
                self.hold.lift(&addresses(peers)).await?;
                self.note_held();
            }
            Action::DeleteEntry { peers } => self.delete_entry(peers).await?,
            Action::Reregister => module::reregister(&self.setup.asterisk).await?,
            Action::KeepOpen { peers, every, ttl } => self.keep_open.begin(peers, *every, *ttl),
            Action::StopKeepOpen { peers } => self.keep_open.stop(peers),
            Action::ReloadModule { pause } => {
                module::reload(&self.setup.asterisk, *pause, &mut self.ending).await?;
            }
            Action::LoadModule => module::load(&self.setup.asterisk).await?,
            Action::Run { command } => command::run(command, &[], None).await?,
            Action::Notify { text } => tracing::warn!("{text}"),
        }
        Ok(())
    }

    async fn place(&mut self, peers: &[PeerAddr], lasting: Duration) -> Result<(), Refusal> {
        let placed = self.hold.place(&addresses(peers), lasting).await;
        self.note_held();
        Ok(placed?)
    }

    /// Tells the capture what is held.
    fn note_held(&self) {
        let held = self.hold.held();
        self.shared.with(|facts| {
            facts.held = held.iter().map(|(peer, _)| PeerAddr::new(*peer)).collect();
        });
    }

    async fn delete_entry(&self, peers: &[PeerAddr]) -> Result<(), Refusal> {
        let asterisk = &self.setup.asterisk;
        if !self.setup.delete_command.is_empty() {
            for peer in peers.iter().map(|peer| peer.get()) {
                let source = asterisk.behind.or_else(|| {
                    let way = Routing::open()
                        .and_then(|mut routing| routing.way(peer.ip(), Passing::default()));
                    way.ok().flatten().and_then(|way| way.source)
                });
                let source = source.ok_or_else(|| {
                    Refusal::Refused("there is no way to the provider, so no source".to_owned())
                })?;
                let filled = [
                    ("{source}", source.to_string()),
                    ("{port}", asterisk.port.to_string()),
                    ("{destination}", peer.ip().to_string()),
                    ("{destination_port}", peer.port().to_string()),
                ];
                command::run(&self.setup.delete_command, &filled, None).await?;
            }
            return Ok(());
        }
        if !self.setup.observe.router {
            return Err(Refusal::Refused(
                "this host is not the router, and there is no delete_entry in [commands]"
                    .to_owned(),
            ));
        }
        let mut table = Table::open()?;
        let mut routing = Routing::open()?;
        for entry in entries(&mut table, &mut routing, asterisk, peers)? {
            let deleted = table.delete(&entry)?;
            tracing::info!(
                "{} (answers to {}) {}",
                entry.original,
                entry.reply.destination,
                if deleted { "deleted" } else { "had gone" }
            );
        }
        Ok(())
    }
}

/// Why an action was not done.
#[derive(Debug)]
enum Refusal {
    /// It was not tried.
    Refused(String),
    /// It was tried.
    Failed(String),
}

impl From<OsError> for Refusal {
    fn from(error: OsError) -> Self {
        let why = error.to_string();
        match error {
            OsError::NotPermitted { .. }
            | OsError::NoProgram { .. }
            | OsError::NotAllowed
            | OsError::NoConntrack { .. }
            | OsError::NoNft { .. }
            | OsError::ManagerLogin { .. } => Self::Refused(why),
            _ => Self::Failed(why),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotStarted(why) => Self::Refused(why),
            Failure::Ended(why) => Self::Failed(why),
        }
    }
}

fn addresses(peers: &[PeerAddr]) -> Vec<SocketAddr> {
    peers.iter().map(|peer| peer.get()).collect()
}
