//! `call`: one live test call, or a burst of them.

use std::{
    fs::File,
    io::BufWriter,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    check::{Question, calls::symptom::Symptom},
    net::resolve::Service,
    probe::{
        calls::plan::{CallPlan, CallsConfig, CallsEvent, GENTLE_PACE, Milestone},
        survey::{REGISTRATION_SOCKET, SurveyEvent},
    },
    proto::{
        call::EncryptionOffer,
        media::{directions::FarEnd, g711::Law},
    },
    wire::iax2::format::Formats,
};

use crate::cli::{
    args::{CallArgs, Common, call::Expect},
    progress::Progress,
    runtime::block_on,
    survey::{self, Subject},
};

/// From one NEW to the next where the provider is the user's own.
const OWN_PACE: Duration = Duration::from_millis(5);

/// Places the calls, and reports.
///
/// # Errors
///
/// Where nothing could be sent, or what was heard cannot be written.
pub(crate) fn run(args: &CallArgs, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    let provider_args = &args.provider;
    let Some(target) = &provider_args.provider else {
        bail!("call needs a provider and an extension; give PROVIDER EXTENSION");
    };
    if args.record.is_some() && args.calls != 1 {
        bail!(
            "--record keeps one call, and --calls asks for {}; leave one of them out",
            args.calls
        );
    }
    if let (Some(_), Some(codec)) = (
        &args.record,
        args.codec.iter().find(|codec| Law::of(**codec).is_none()),
    ) {
        bail!("--record writes ulaw and alaw alone; leave {codec} out of --codec");
    }
    if args.extension.is_empty() || args.extension.len() > 255 {
        bail!(
            "an extension has 1 to 255 octets, this one has {}; give the number to dial",
            args.extension.len()
        );
    }
    let credentials = survey::credentials(provider_args)?;
    let recording = args.record.as_deref().map(open_wav).transpose()?;
    block_on(async {
        let provider = survey::address(target, Service::IAX2, provider_args.bind).await?;
        let mut config = survey::config(provider_args, provider).await;
        config.sweep = None;
        config.hairpin = false;
        config.calls = Some(Box::new(CallsConfig {
            number: args.extension.clone(),
            far_end: match args.expect {
                Expect::Echo => FarEnd::Echo,
                Expect::Sound => FarEnd::Speaks,
                Expect::Any => FarEnd::Unknown,
            },
            uplink: args.uplink,
            credentials: credentials.clone(),
            calls: args.calls,
            concurrent: args.concurrent,
            pace: if args.i_own_it { OWN_PACE } else { GENTLE_PACE },
            plan: plan(args),
            trunk: args.trunk,
            ..CallsConfig::new(provider, REGISTRATION_SOCKET, rand::random())
        }));
        let total = if args.trunk {
            args.calls * 2
        } else {
            args.calls
        };
        let (evidence, heard) =
            survey::run_with(config, provider_args, common, progress, |event| {
                if let SurveyEvent::Calls(event) = event {
                    show(event, total, common, progress);
                }
            })
            .await?;
        if let (Some(writer), Some(path)) = (recording, &args.record) {
            write_wav(writer, &heard.unwrap_or_default()).with_context(|| unwritable(path))?;
        }
        let subject = Subject {
            command: "call",
            question: Question::Calls,
            name: target.to_string(),
            provider,
            user: credentials.map(|credentials| credentials.user),
            refresh: None,
            device: provider_args.device,
            registers: false,
            started_at,
            router: None,
            rules: vec![],
        };
        survey::report(subject, &evidence, common, progress)
    })
}

fn plan(args: &CallArgs) -> CallPlan {
    let burst = args.calls > 1;
    let usual = Duration::from_secs(if burst { 3 } else { 10 });
    let defaults = CallPlan::default();
    CallPlan {
        talk: args.duration.unwrap_or(usual),
        ring: args.ring,
        formats: if args.codec.is_empty() {
            vec![Formats::ULAW, Formats::ALAW]
        } else {
            args.codec.clone()
        },
        encryption: if args.encrypt {
            EncryptionOffer::Required
        } else {
            EncryptionOffer::None
        },
        digits: args.dtmf.as_deref().unwrap_or_default().into(),
        context: args.context.clone(),
        caller: args
            .caller
            .as_ref()
            .map(|number| (number.clone(), "iax2-natcheck".to_owned())),
        record: args.record.is_some(),
        ..defaults
    }
}

/// Shows live how the calls fare: each milestone of a single call, the end of each of a burst.
fn show(event: &CallsEvent, total: u32, common: &Common, progress: &Progress) {
    let line = match event {
        CallsEvent::Placed(_) | CallsEvent::Finished => return,
        CallsEvent::Advanced(_, _) if total > 1 => return,
        CallsEvent::Advanced(_, Milestone::Accepted(format)) => format!("accepted, {format}"),
        CallsEvent::Advanced(_, Milestone::Ringing) => "ringing".to_owned(),
        CallsEvent::Advanced(_, Milestone::Answered) => "answered".to_owned(),
        CallsEvent::Ended(index, record) => {
            let how = Symptom::of(record).map_or("under way", Symptom::as_str);
            let seconds = record.ended.unwrap_or_default().as_secs_f64();
            if total == 1 {
                format!("ended after {seconds:.1} s: {how}")
            } else {
                format!("call {} of {total}: {how} after {seconds:.1} s", index + 1)
            }
        }
    };
    survey::tell(common, progress, &line);
}

type Writer = hound::WavWriter<BufWriter<File>>;

/// Opens the file before the call is placed: where it cannot be written, nobody's telephone rings.
fn open_wav(path: &Path) -> Result<Writer> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    hound::WavWriter::create(path, spec).with_context(|| unwritable(path))
}

/// Writes samples at 8 kHz.
fn write_wav(mut writer: Writer, samples: &[i16]) -> hound::Result<()> {
    for sample in samples {
        writer.write_sample(*sample)?;
    }
    writer.finalize()
}

fn unwritable(path: &Path) -> String {
    format!(
        "{} cannot be written; give --record a file in a folder that you may write to",
        path.display()
    )
}
