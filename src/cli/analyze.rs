//! `analyze`: explains the IAX2 in captures, or on the wire.

mod anonymize;
mod frames;
mod live;
mod pair;
mod session;

use std::{
    path::PathBuf,
    time::{Instant, SystemTime},
};

use anyhow::{Result, bail};
use iax2_natcheck::{
    check::passive,
    os::{capture_file, host},
    report::{
        self,
        assemble::{self, Frame, Observed},
        model,
    },
    trace::{
        ladder::Rungs,
        reading::{Losses, Reading},
        traced::{Limits, Settings},
        tracer::Tracer,
    },
};

use crate::cli::{
    args::{AnalyzeArgs, Common, Format},
    output,
    progress::Progress,
    secret,
};
use session::Session;

/// As many calls and registrations a report for people lists.
const LISTED: usize = 200;

/// Reads, judges and reports.
///
/// # Errors
///
/// Where a capture cannot be read, or the interface not be listened on.
pub(crate) fn run(args: &AnalyzeArgs, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    if let Some(target) = &args.anonymize {
        return anonymize::run(&args.files, target, args);
    }
    let settings = settings(args)?;
    let observed = match (&args.interface, args.files.as_slice()) {
        (Some(interface), _) => live::observe(interface, args, settings, common, progress)?,
        (None, [lan, wan @ ..])
            if !wan.is_empty() && pair::are_of_one_nat(lan, wan, &settings)? =>
        {
            pair::observe(lan, wan, args, &settings, common)?
        }
        (None, files) => one_after_the_other(files, args, settings, common, progress)?,
    };
    let judgement = passive::judge(&observed.traced, observed.pairing.as_ref());
    let frame = Frame {
        command: "analyze".into(),
        started_at,
        finished_at: SystemTime::now(),
        host: host::host().into(),
        provider: None,
    };
    let report = assemble::observed(frame, &observed, &judgement);
    let status = report::status(&report);
    progress.finish();
    if args.follow && common.format() == Format::Json {
        let line = serde_json::json!({ "report": report });
        output::print(&format!("{line}\n"))?;
    } else if !args.frames {
        output::report(&report, common)?;
    }
    Ok(status)
}

fn settings(args: &AnalyzeArgs) -> Result<Settings> {
    let secret = match &args.secret_file {
        Some(file) => secret::read(Some(file))?,
        None => None,
    };
    Ok(Settings {
        seed: rand::random(),
        ports: args.port.clone(),
        secret,
        limits: Limits::default(),
    })
}

/// How many calls a report in this format lists.
fn most(common: &Common) -> usize {
    match common.format() {
        Format::Json | Format::Jsonl | Format::Html => usize::MAX,
        Format::Text | Format::Nagios | Format::Prometheus => LISTED,
    }
}

fn one_after_the_other(
    files: &[PathBuf],
    args: &AnalyzeArgs,
    settings: Settings,
    common: &Common,
    progress: &Progress,
) -> Result<Observed> {
    let mut session = Session::new(settings.clone(), args, common);
    let mut losses = Losses::default();
    let started = Instant::now();
    for (place, file) in files.iter().enumerate() {
        if !args.frames && !args.follow {
            let reading = format!("reading {}", file.display());
            progress.set(&reading, started.elapsed(), None);
        }
        let mut reading = Reading::new(u16::try_from(place).unwrap_or(u16::MAX));
        let mut failed = None;
        capture_file::read_all(file, &mut reading, |_, got| {
            failed = session.take(got).err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        losses.add(&reading.losses());
    }
    let traced = session.finish()?;
    let ladder = match args.ladder {
        Some(call) => Some(climb(files, call, &traced, settings)?),
        None => None,
    };
    Ok(Observed {
        sources: files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        traced,
        losses,
        pairing: None,
        ladder,
        most: most(common),
        interrupted: false,
    })
}

/// Reads the files once more for the messages of one call.
fn climb(
    files: &[PathBuf],
    call: u32,
    traced: &iax2_natcheck::trace::traced::Traced,
    settings: Settings,
) -> Result<model::seen::Ladder> {
    let Some(wanted) = traced.calls.iter().find(|seen| seen.id == call) else {
        bail!(
            "there is no call {call} in this capture; the report without --ladder lists its {} calls",
            traced.calls.len()
        );
    };
    let Some((left, right)) = traced.ends(wanted) else {
        bail!("the ends of call {call} are not known");
    };
    let mut again = Tracer::new(settings);
    let mut rungs = Rungs::new(call, left);
    for (place, file) in files.iter().enumerate() {
        let mut reading = Reading::new(u16::try_from(place).unwrap_or(u16::MAX));
        capture_file::read_all(file, &mut reading, |_, got| {
            if let iax2_natcheck::trace::reading::Got::Datagram(seen) = got {
                let belongs = again.handle_input(&seen);
                rungs.handle_input(&seen, belongs);
            }
            true
        })?;
    }
    Ok(assemble::ladder(call, left, right, &rungs.finish()))
}
