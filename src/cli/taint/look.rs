//! A look at the router: its table, its addresses and routes, its rules, and the wire.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use iax2_natcheck::{
    check::taint::{self, Inspected, Judged, Liveness, Router, liveness},
    os::{
        OsError,
        conntrack::{Entry, Reading, Table, Wanted},
        firewall,
        leak::Leaks,
        route::{Routing, Way},
        sysctl,
    },
    report::assemble::Looked,
};

/// How often something that is waited for is looked at again.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Looks at this router.
pub(crate) struct Inspector {
    wanted: Wanted,
    source: Source,
    routing: Routing,
}

/// Where the entries come from.
enum Source {
    /// Netlink.
    Table(Table),
    /// The file, for those who may not ask over netlink.
    File,
    /// Nowhere: this user may not look.
    Nowhere,
}

impl Inspector {
    /// Opens what this user may look at.
    ///
    /// # Errors
    ///
    /// Where the kernel tracks no connections.
    pub(crate) fn open(wanted: Wanted) -> Result<Self> {
        let source = match Table::open() {
            Ok(table) => Source::Table(table),
            Err(OsError::NotPermitted { .. }) => match Reading::take(&wanted) {
                Ok(_) => {
                    tracing::warn!(
                        "reading {}: entries can be judged, but not deleted; root can",
                        iax2_natcheck::os::conntrack::PROC_FILE
                    );
                    Source::File
                }
                Err(_) => Source::Nowhere,
            },
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            wanted,
            source,
            routing: Routing::open()?,
        })
    }

    /// Whether this user may not look at the table.
    pub(crate) const fn is_blind(&self) -> bool {
        matches!(self.source, Source::Nowhere)
    }

    /// Whether single entries can be deleted.
    pub(super) const fn can_delete(&self) -> bool {
        matches!(self.source, Source::Table(_))
    }

    /// Looks for a while, and judges what is there at its end.
    ///
    /// # Errors
    ///
    /// Where something cannot be read that could be before.
    pub(crate) fn look(
        &mut self,
        while_: Duration,
        mut progress: impl FnMut(Duration),
    ) -> Result<Looked> {
        // A moment shows no packet, and closing the capture takes the kernel longer than a small table.
        let mut leaks = if while_.is_zero() {
            None
        } else {
            Leaks::open(self.wanted.port)
                .inspect_err(|error| tracing::debug!("{error}"))
                .ok()
        };
        let began = Instant::now();
        let before = self.entries()?;
        let read = began.elapsed();
        while began.elapsed() < while_ + read {
            progress(began.elapsed());
            thread::sleep(POLL.min((while_ + read).saturating_sub(began.elapsed())));
            if let Some(leaks) = &mut leaks {
                leaks.take(self.wanted.port)?;
            }
        }
        let apart = began.elapsed();
        let now = if while_.is_zero() {
            before.clone()
        } else {
            self.entries()?
        };
        let router = self.router()?;
        let timers = sysctl::timers();
        let policies = if now.is_empty() {
            vec![]
        } else {
            sysctl::policies()
        };
        let may_hold: Vec<_> = timers.into_iter().chain(policies).collect();
        let mut entries = vec![];
        for entry in &now {
            let same = |other: &&Entry| is_same(other, entry);
            let seen = before.iter().find(same).map_or_else(
                || liveness(entry, Some(entry), Duration::ZERO, &may_hold),
                |before| {
                    let apart = if while_.is_zero() {
                        Duration::ZERO
                    } else {
                        apart
                    };
                    liveness(before, Some(entry), apart, &may_hold)
                },
            );
            entries.push(self.inspect(entry, &router, seen)?);
        }
        let leaks: Vec<_> = leaks
            .iter()
            .flat_map(Leaks::seen)
            .filter(|(leak, _)| {
                router.leads_out(leak.link) && !taint::is_private(leak.destination.ip())
            })
            .collect();
        for inspected in &mut entries {
            inspected.witness(&leaks, &router);
        }
        Ok(Looked {
            entries,
            leaks,
            router,
            // Where rules give some flows others, none holds for sure.
            timers: timers.filter(|_| may_hold.len() == 1),
            table: sysctl::table_use(),
            blind: self.is_blind(),
        })
    }

    /// Deletes the entry, and notes what came of it.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub(super) fn delete(&mut self, inspected: &mut Inspected) -> Result<()> {
        let Source::Table(table) = &mut self.source else {
            return Ok(());
        };
        inspected.deleted = table.delete(&inspected.entry)?;
        if !inspected.deleted {
            inspected.liveness.kept_alive = Some(false);
            inspected
                .judged
                .because
                .push("it had gone by itself before it could be deleted".into());
        }
        Ok(())
    }

    /// Looks what became of the flows whose entries were deleted; true once all are known.
    ///
    /// # Errors
    ///
    /// Where something cannot be read.
    pub(super) fn verify(&mut self, entries: &mut [Inspected]) -> Result<bool> {
        let router = self.router()?;
        let mut known = true;
        for inspected in entries.iter_mut().filter(|inspected| inspected.deleted) {
            if inspected.verified.is_some() {
                continue;
            }
            let Source::Table(table) = &mut self.source else {
                return Ok(true);
            };
            let Some(next) = table.get(inspected.entry.original, inspected.entry.zone)? else {
                known = false;
                continue;
            };
            let judged = self.judge(&next, &router, None)?;
            inspected.verified = Some(!judged.kind.is_taint());
        }
        Ok(known)
    }

    fn entries(&mut self) -> Result<Vec<Entry>> {
        Ok(match &mut self.source {
            Source::Table(table) => table.entries(&self.wanted)?,
            Source::File => Reading::take(&self.wanted)?.entries,
            Source::Nowhere => vec![],
        })
    }

    fn router(&mut self) -> Result<Router> {
        let links = self.routing.links()?;
        let rules = firewall::translating().map(|rules| taint::nat_rules(&rules, &links));
        Ok(Router {
            links,
            addresses: self.routing.addresses()?,
            routes: self.routing.routes()?,
            rules,
        })
    }

    fn inspect(&mut self, entry: &Entry, router: &Router, seen: Liveness) -> Result<Inspected> {
        Ok(Inspected {
            entry: *entry,
            judged: self.judge(entry, router, seen.kept_alive)?,
            liveness: seen,
            deleted: false,
            verified: None,
        })
    }

    fn judge(
        &mut self,
        entry: &Entry,
        router: &Router,
        kept_alive: Option<bool>,
    ) -> Result<Judged> {
        let way = self.way(entry, router)?;
        Ok(taint::judge(entry, router, way, kept_alive))
    }

    /// The way that packets of the entry take out now.
    fn way(&mut self, entry: &Entry, router: &Router) -> Result<Option<Way>> {
        let routing = &mut self.routing;
        Ok(taint::way_out(entry, router, |to, passing| {
            routing.way(to, passing)
        })?)
    }
}

/// Whether two readings are of one entry: the number tells, where it is known.
fn is_same(one: &Entry, other: &Entry) -> bool {
    (one.original, one.reply, one.zone) == (other.original, other.reply, other.zone)
        && one.id == other.id
}
