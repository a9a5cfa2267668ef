//! The loop: observations in, decisions out, and everybody told.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    guard::{
        action::{ActionKind, Decision},
        diagnosis::{Cadence, GuardEvent, Incident},
        machine::Guard,
        observation::{Observation, ProviderId, Seen},
        policy::Policy,
    },
    net::{clock, stop::Stopper},
    os::{hold, systemd},
    watch::{
        WatchError, command,
        effects::{Effects, Order},
        held,
        journal::{Journal, Told, words},
        metrics,
        observe::{self, Common, Nudge, Peers, Shared, clock::Clocks},
        picture::Picture,
        server,
        setup::Setup,
        store::{self, Store},
    },
};

/// The clocks are looked at, and the state is written, at least so often.
const TICK: Duration = Duration::from_secs(60);
/// What is told to others is not put together more often.
const TELL: Duration = Duration::from_millis(250);
/// How many observations may wait.
const WAITING: usize = 512;

/// Watches until SIGINT or SIGTERM. SIGHUP asks `again` for the configuration, and keeps the one of before
/// where there is a mistake in it.
///
/// # Errors
///
/// Where the state's folder, a socket or an address cannot be used.
pub async fn run(
    setup: Setup,
    again: impl Fn() -> Result<Setup, String>,
) -> Result<(), WatchError> {
    let mut stopper = Stopper::new().map_err(|error| WatchError::Host {
        what: "watch for signals",
        reason: std::io::Error::other(error),
    })?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|reason| WatchError::Host {
        what: "watch for signals",
        reason,
    })?;
    let mut work = Work::begin(setup).await?;
    systemd::ready(&work.line());
    let stop = stopper.wait(None);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            told = next(&mut hangup) => if told { work.reload(&again).await },
            () = work.step() => {}
        }
    }
    systemd::stopping();
    work.end().await;
    Ok(())
}

async fn next(signal: &mut Signal) -> bool {
    signal.recv().await.is_some()
}

/// Everything that runs.
struct Work {
    setup: Setup,
    guard: Guard,
    picture: Picture,
    store: Store,
    journal: Journal,
    clocks: Clocks,
    shared: Shared,
    nudge: Nudge,
    observed: mpsc::Receiver<Observation>,
    observing: mpsc::Sender<Observation>,
    observers: JoinSet<()>,
    servers: JoinSet<()>,
    commands: JoinSet<()>,
    orders: mpsc::Sender<Order>,
    effects: tokio::task::JoinHandle<()>,
    ending: watch::Sender<bool>,
    cadence: watch::Sender<Vec<Cadence>>,
    status: watch::Sender<Arc<str>>,
    page: watch::Sender<Arc<str>>,
    watchdog: Option<Duration>,
    line: String,
    /// Something is to be told, and since when.
    untold: Option<Instant>,
    ticked: Instant,
}

impl Work {
    async fn begin(setup: Setup) -> Result<Self, WatchError> {
        let store = Store::open(&setup.state)?;
        let listener = server::listen(&setup.socket)?;
        let http = match setup.metrics {
            Some(address) => Some(server::listen_http(address).await?),
            None => None,
        };
        clear_left_over(&setup).await;
        let now = clock::now();
        let saved = store.load();
        let guard = Guard::restore(
            setup.policy.clone(),
            &saved,
            rand::random(),
            now,
            SystemTime::now(),
        );
        let (observing, observed) = mpsc::channel(WAITING);
        let (orders, ordered) = mpsc::channel(8);
        let shared = Shared::default();
        let (ending, ends) = watch::channel(false);
        let effects = Effects::new(setup.clone(), shared.clone(), ends);
        let effects = tokio::spawn(effects.run(ordered, observing.clone()));
        let empty = || watch::channel(Arc::<str>::from(""));
        let ((status, status_page), (page, metrics_page)) = (empty(), empty());
        let mut servers = JoinSet::new();
        servers.spawn(server::status(listener, status_page));
        if let Some(listener) = http {
            servers.spawn(server::http(listener, metrics_page));
        }
        let mut work = Self {
            journal: Journal::new(&setup.incidents),
            setup,
            guard,
            picture: Picture::default(),
            store,
            clocks: Clocks::new(),
            shared,
            nudge: Nudge::new(),
            observed,
            observing,
            observers: JoinSet::new(),
            servers,
            commands: JoinSet::new(),
            orders,
            effects,
            ending,
            cadence: watch::channel(vec![]).0,
            status,
            page,
            watchdog: systemd::watchdog(),
            line: String::new(),
            untold: None,
            ticked: now,
        };
        work.observe();
        work.tell();
        if work.setup.dry_run {
            tracing::info!("dry run: what would be done is said, and nothing is done");
        }
        Ok(work)
    }

    /// Starts the observers in place of those before.
    fn observe(&mut self) {
        self.observers.abort_all();
        self.observers = JoinSet::new();
        self.cadence.send_replace(self.cadences());
        let none: Peers = vec![vec![]; self.setup.providers.len()];
        let (peers, known) = watch::channel(none);
        let common = Common::new(
            self.observing.clone(),
            self.cadence.subscribe(),
            known,
            self.nudge.clone(),
            self.shared.clone(),
        );
        let asterisk = self.setup.asterisk.clone();
        let providers = self.setup.providers.clone();
        let observers = &mut self.observers;
        observers.spawn(observe::names::run(
            common.clone(),
            providers.clone(),
            peers,
        ));
        for (id, _) in (0..).zip(&providers).filter(|_| self.setup.observe.poke) {
            observers.spawn(observe::pokes::run(common.clone(), ProviderId(id)));
        }
        if let Some(pid_file) = asterisk.pid_file.clone() {
            observers.spawn(observe::process::run(common.clone(), pid_file));
        }
        if self.setup.observe.router {
            observers.spawn(observe::entry::run(common.clone(), asterisk.clone()));
        }
        if self.setup.observe.capture {
            // A router has one interface towards the providers and another one towards the PBX.
            let named = self.setup.observe.interface.clone();
            let interface = named.filter(|_| asterisk.behind.is_none());
            observers.spawn(observe::port::run(
                common.clone(),
                asterisk.clone(),
                interface,
            ));
        }
        let timer = self.setup.policy.exchange;
        let mapping = timer.given.then_some(timer.length);
        self.shared.with(|facts| facts.own.clear());
        for own in &self.setup.registrations {
            observers.spawn(held::run(own.clone(), mapping, self.shared.clone()));
        }
        let wan = self.setup.observe.wan.clone();
        observers.spawn(observe::wan::run(common.clone(), wan));
        observers.spawn(observe::asterisk::run(common, asterisk, providers));
    }

    /// Waits for the next thing that happens, and does what follows. May be given up while it waits.
    async fn step(&mut self) {
        let now = clock::now();
        let mut due = self.ticked + self.watchdog.map_or(TICK, |every| every / 2).min(TICK);
        if let Some((deadline, _)) = self.guard.poll_timeout() {
            due = due.min(deadline);
        }
        if let Some(since) = self.untold {
            due = due.min(since + TELL);
        }
        let observation = tokio::select! {
            observation = self.observed.recv() => observation,
            () = tokio::time::sleep(due.saturating_duration_since(now)) => None,
        };
        for seen in self.clocks.look() {
            self.take(Observation {
                at: clock::now(),
                seen,
            });
        }
        match observation {
            Some(observation) => {
                self.take(observation);
                while let Ok(observation) = self.observed.try_recv() {
                    self.take(observation);
                }
            }
            None => self.guard.handle_timeout(clock::now()),
        }
        self.drain().await;
        self.tick();
    }

    fn take(&mut self, observation: Observation) {
        tracing::trace!(?observation);
        match &observation.seen {
            Seen::Slept { lasted } => tracing::info!("the host slept for {lasted:.0?}"),
            Seen::ClockSet { by_s } => tracing::info!("the clock was set by {by_s} s"),
            _ => {}
        }
        self.picture.observe(&observation);
        self.guard.handle_observation(observation, clock::now());
    }

    /// Takes what the guardian says until it has no more to say.
    async fn drain(&mut self) {
        while let Some(event) = self.guard.poll_event() {
            self.happened(&event);
        }
        if let Some(decision) = self.guard.poll_action() {
            self.order(decision).await;
        }
        let cadences = self.cadences();
        self.cadence.send_if_modified(|before| {
            let changed = *before != cadences;
            if changed {
                *before = cadences;
            }
            changed
        });
        self.untold.get_or_insert_with(clock::now);
        while self.commands.try_join_next().is_some() {}
    }

    fn happened(&mut self, event: &GuardEvent) {
        self.picture.happened(event);
        self.log(event);
        match event {
            GuardEvent::Began(incident) => self.report("began", incident),
            GuardEvent::Ended(incident) => {
                self.journal
                    .add(&Told::of(incident, self.name(incident.provider)));
                self.report("ended", incident);
            }
            _ => {}
        }
    }

    fn log(&self, event: &GuardEvent) {
        match event {
            GuardEvent::Diagnosed {
                provider,
                diagnosed,
                ..
            } => tracing::info!(
                provider = self.name(*provider),
                state = diagnosed.diagnosis.as_str(),
                "{}",
                diagnosed.because.join("; ")
            ),
            GuardEvent::Began(incident) => tracing::warn!(
                provider = self.name(incident.provider),
                cause = incident.cause.as_str(),
                "incident: {}",
                incident.because.join("; ")
            ),
            GuardEvent::Ended(incident) => tracing::warn!(
                provider = self.name(incident.provider),
                cause = incident.cause.as_str(),
                "over: unreachable for {:.1?}, {} actions",
                incident.unreachable,
                incident.acted
            ),
            GuardEvent::Moved { provider, from, to } => tracing::warn!(
                provider = self.name(*provider),
                "the provider sees this PBX at {to} now, at {from} before"
            ),
            GuardEvent::Decided(decision) => {
                let would = if self.setup.dry_run { "would: " } else { "" };
                tracing::warn!(
                    provider = self.name(decision.provider),
                    action = decision.action.kind().as_str(),
                    "{would}{}: {}",
                    decision.action,
                    decision.reason
                );
            }
            GuardEvent::Withheld {
                provider,
                kind,
                why,
            } => tracing::info!(
                provider = self.name(*provider),
                action = kind.as_str(),
                "waits: {why}"
            ),
            GuardEvent::Acted { decision, result } => tracing::info!(
                provider = self.name(decision.provider),
                action = decision.action.kind().as_str(),
                "{}",
                words(result)
            ),
            GuardEvent::Blind { observer, reason } => {
                tracing::warn!(observer = observer.as_str(), "cannot see: {reason}");
            }
            GuardEvent::Sees(observer) => tracing::info!(observer = observer.as_str(), "sees"),
        }
    }

    /// Hands a decision over. What it may leave behind is written down first.
    async fn order(&mut self, decision: Decision) {
        self.save();
        if let crate::guard::action::Action::Notify { text } = &decision.action {
            let provider = self.name(decision.provider);
            let told = serde_json::json!({"event": "notify", "provider": provider, "text": text});
            self.call(told.to_string());
        }
        // Nobody takes orders only where the whole ends.
        let _ = self.orders.send(Order::Decision(decision)).await;
    }

    fn report(&mut self, what: &str, incident: &Incident) {
        let told = Told::of(incident, self.name(incident.provider));
        self.call(serde_json::json!({"event": what, "incident": told}).to_string());
    }

    /// Runs the command of the configuration, with this as its input, beside everything else.
    fn call(&mut self, input: String) {
        const AT_ONCE: usize = 8;
        if self.setup.on_incident.is_empty() || self.setup.dry_run {
            return;
        }
        if self.commands.len() >= AT_ONCE {
            tracing::warn!("on_incident is not run again: {AT_ONCE} of it are running");
            return;
        }
        let command = self.setup.on_incident.clone();
        self.commands.spawn(async move {
            if let Err(failure) = command::run(&command, &[], Some(input)).await {
                tracing::warn!("on_incident: {}", failure.into_words());
            }
        });
    }

    /// Tells the service manager, whoever asks, and the file of the state.
    fn tick(&mut self) {
        let now = clock::now();
        let is_due = |since: Instant, every| now.saturating_duration_since(since) >= every;
        if self.untold.is_some_and(|since| is_due(since, TELL)) {
            self.tell();
        }
        let every = self.watchdog.map_or(TICK, |every| every / 2).min(TICK);
        if is_due(self.ticked, every) {
            self.ticked = now;
            self.save();
            if self.effects.is_finished() || self.observers.is_empty() {
                tracing::error!(
                    "a part of the guardian has ended; the service manager is to start it anew"
                );
            } else {
                systemd::alive();
            }
        }
    }

    fn tell(&mut self) {
        self.untold = None;
        let view = self
            .picture
            .view(&self.guard, self.setup.dry_run, &self.shared);
        if let Ok(text) = serde_json::to_string(&view) {
            self.status.send_replace(text.into());
        }
        let line = view.line();
        if line != self.line {
            systemd::status(&line);
            self.line = line;
        }
        if self.setup.metrics.is_none() && self.setup.textfile.is_none() {
            return;
        }
        let page = metrics::render(&self.guard, &self.picture, &self.shared);
        if let Some(file) = &self.setup.textfile
            && *self.page.borrow().as_ref() != *page
            && let Err(error) = store::replace(file, page.as_bytes())
        {
            tracing::debug!("{} cannot be written: {error}", file.display());
        }
        self.page.send_replace(page.into());
    }

    fn save(&mut self) {
        self.store.save(&self.guard.save(SystemTime::now()));
    }

    async fn reload(&mut self, again: &impl Fn() -> Result<Setup, String>) {
        systemd::reloading();
        match again() {
            Ok(setup) => {
                let undo = self.guard.reconfigure(setup.policy.clone(), clock::now());
                let _ = self.orders.send(Order::Undo(undo)).await;
                let boxed = Box::new(setup.clone());
                let _ = self.orders.send(Order::Setup(boxed)).await;
                if setup.metrics != self.setup.metrics
                    || setup.socket != self.setup.socket
                    || setup.state != self.setup.state
                {
                    tracing::warn!(
                        "where state, status and metrics are is taken up at the next start"
                    );
                }
                self.setup = setup;
                self.picture = Picture::default();
                self.observe();
                tracing::info!("the configuration was read again");
            }
            Err(error) => tracing::error!("the configuration of before stays: {error}"),
        }
        self.drain().await;
        self.tell();
        systemd::ready(&self.line());
    }

    async fn end(mut self) {
        self.observers.abort_all();
        self.save();
        self.ending.send_replace(true);
        let _ = self.orders.send(Order::End).await;
        // What is under way is ended first: a module that is out comes in again.
        let _ = (&mut self.effects).await;
        self.servers.abort_all();
        let _ = std::fs::remove_file(&self.setup.socket);
    }

    fn line(&self) -> String {
        self.line.clone()
    }

    fn name(&self, provider: ProviderId) -> &str {
        let found = self.setup.providers.get(usize::from(provider.0));
        found.map_or("", |provider| provider.name.as_str())
    }

    fn cadences(&self) -> Vec<Cadence> {
        let ids = (0..).map(ProviderId).take(self.setup.providers.len());
        ids.map(|id| self.guard.cadence(id)).collect()
    }
}

/// Removes the table of one that was killed where the kernel does not.
async fn clear_left_over(setup: &Setup) {
    if setup.dry_run || !may_hold(&setup.policy) {
        return;
    }
    match hold::remove_left_over().await {
        Ok(true) => tracing::warn!("removed table inet {} of an earlier run", hold::TABLE),
        Ok(false) => {}
        Err(error) => tracing::warn!("{error}"),
    }
}

fn may_hold(policy: &Policy) -> bool {
    policy.providers.iter().any(|provider| {
        [ActionKind::Hold, ActionKind::Quiet]
            .iter()
            .any(|kind| provider.allows(*kind))
    })
}
