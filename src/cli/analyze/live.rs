//! The wire itself, until Ctrl-C.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use iax2_natcheck::{
    net::stop::{Stop, Stopper},
    os::{capture_ring::CaptureRing, live_capture::LiveCapture},
    report::assemble::Observed,
    trace::{reading::Reading, traced::Settings},
    wire::{iax2::PORT, link::LinkType},
};

use super::{most, session::Session};
use crate::cli::{
    args::{AnalyzeArgs, Common},
    progress::Progress,
    runtime::block_on,
};

/// How often the stop is looked for while no packet comes.
const LOOK: Duration = Duration::from_millis(100);

/// Listens until it is stopped, or the time is over.
pub(super) fn observe(
    interface: &str,
    args: &AnalyzeArgs,
    settings: Settings,
    common: &Common,
    progress: &Progress,
) -> Result<Observed> {
    let ports = match args.port.as_slice() {
        [] => &[PORT][..],
        ports => ports,
    };
    let mut capture = LiveCapture::open(interface, ports)?;
    let mut ring = match &args.write {
        Some(path) => Some(CaptureRing::create(path, LinkType::Raw).with_context(|| {
            format!(
                "{} cannot be written; give --write a file in a directory that you may write to",
                path.display()
            )
        })?),
        None => None,
    };
    let limit = args.duration.or(common.timeout);
    let stop = watch(limit)?;
    tracing::info!("listening on {interface}; Ctrl-C ends it with the report");
    let mut session = Session::new(settings, args, common);
    let mut reading = Reading::new(0);
    let began = Instant::now();
    while !stop.over.load(Ordering::Relaxed) {
        if !args.frames && !args.follow {
            progress.set("listening", began.elapsed(), limit);
        }
        let Some(packet) = capture.next_packet(LOOK)? else {
            continue;
        };
        if let Some(ring) = &mut ring {
            ring.write(&packet)
                .context("the packets cannot be written any more; make room for --write")?;
        }
        session.take(reading.take(&packet))?;
    }
    reading.note_end(Some(capture.dropped()), None);
    if let Some(ring) = ring {
        ring.finish()
            .context("the packets cannot be written any more; make room for --write")?;
    }
    Ok(Observed {
        sources: vec![interface.to_owned()],
        traced: session.finish()?,
        losses: reading.losses(),
        pairing: None,
        ladder: None,
        most: most(common),
        // To stop it is how it ends, unless a time was named.
        interrupted: stop.early.load(Ordering::Relaxed) && limit.is_some(),
    })
}

/// Whether it is over, and whether somebody stopped it.
#[derive(Default)]
struct Watch {
    over: AtomicBool,
    early: AtomicBool,
}

/// Watches for signals and for the end of the time in a thread of its own.
fn watch(limit: Option<Duration>) -> Result<Arc<Watch>> {
    let watch = Arc::new(Watch::default());
    let shared = Arc::clone(&watch);
    thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            let stopped = block_on(async { Ok(Stopper::new()?.wait(limit).await) });
            let early = !matches!(stopped, Ok(Stop::TimeLimit));
            shared.early.store(early, Ordering::Relaxed);
            shared.over.store(true, Ordering::Relaxed);
        })
        .context("this host grants no thread; raise the limit of processes (`ulimit -u`)")?;
    Ok(watch)
}
