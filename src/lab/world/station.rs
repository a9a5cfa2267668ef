//! A machine as the world holds it, and as its owner sees it.

use std::{
    cell::{Ref, RefCell, RefMut},
    rc::Rc,
    time::Instant,
};

use crate::proto::contract::{Input, Machine, Transmit};

/// One host of a [`World`](super::World): its machine, and the events that came of it so far.
pub struct Station<M: Machine> {
    pub(super) index: usize,
    pub(super) observed: Rc<RefCell<Observed<M>>>,
}

impl<M: Machine> Station<M> {
    /// The machine, to look at.
    ///
    /// # Panics
    ///
    /// If [`Station::machine_mut`] is held.
    #[must_use]
    pub fn machine(&self) -> Ref<'_, M> {
        Ref::map(self.observed.borrow(), |observed| &observed.machine)
    }

    /// The machine, to give it orders between two steps of the world.
    ///
    /// # Panics
    ///
    /// If the machine or its events are held.
    #[must_use]
    pub fn machine_mut(&self) -> RefMut<'_, M> {
        RefMut::map(self.observed.borrow_mut(), |observed| {
            observed.touched = true;
            &mut observed.machine
        })
    }

    /// The events that were not taken yet, each with its instant.
    ///
    /// # Panics
    ///
    /// If [`Station::machine_mut`] is held.
    #[must_use]
    pub fn events(&self) -> Ref<'_, [(Instant, M::Event)]> {
        Ref::map(self.observed.borrow(), |observed| &*observed.events)
    }

    /// Takes the events, each with its instant.
    ///
    /// # Panics
    ///
    /// If the machine or its events are held.
    #[must_use]
    pub fn take_events(&self) -> Vec<(Instant, M::Event)> {
        std::mem::take(&mut self.observed.borrow_mut().events)
    }
}

/// A machine and what it reported.
pub(super) struct Observed<M: Machine> {
    machine: M,
    events: Vec<(Instant, M::Event)>,
    /// Something happened to the machine since the world last drained it.
    touched: bool,
}

impl<M: Machine> Observed<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            machine,
            events: Vec::new(),
            touched: true,
        }
    }
}

/// A machine whatever its events are.
pub(super) trait Node {
    fn handle_input(&self, input: Input<'_>, now: Instant);
    fn handle_timeout(&self, now: Instant);
    fn poll_transmit(&self) -> Option<Transmit>;
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;
    fn collect_events(&self, now: Instant);
    /// Whether something happened to the machine since this was last asked.
    fn take_touched(&self) -> bool;
}

impl<M: Machine> Node for RefCell<Observed<M>> {
    fn handle_input(&self, input: Input<'_>, now: Instant) {
        let mut observed = self.borrow_mut();
        observed.touched = true;
        observed.machine.handle_input(input, now);
    }

    fn handle_timeout(&self, now: Instant) {
        let mut observed = self.borrow_mut();
        observed.touched = true;
        observed.machine.handle_timeout(now);
    }

    fn poll_transmit(&self) -> Option<Transmit> {
        self.borrow_mut().machine.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.borrow().machine.poll_timeout()
    }

    fn collect_events(&self, now: Instant) {
        let mut observed = self.borrow_mut();
        while let Some(event) = observed.machine.poll_event() {
            observed.events.push((now, event));
        }
    }
    fn take_touched(&self) -> bool {
        std::mem::take(&mut self.borrow_mut().touched)
    }
}
