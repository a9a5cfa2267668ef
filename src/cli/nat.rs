//! `nat`: one experiment alone.

use std::time::SystemTime;

use anyhow::{Result, bail};
use iax2_natcheck::{
    check::Question,
    net::resolve::Service,
    probe::survey::{Experiment, SurveyConfig},
};

use crate::cli::{
    args::{Common, NatCommand},
    progress::Progress,
    runtime::block_on,
    survey::{self, Subject},
};

/// Runs the experiment, and reports.
///
/// # Errors
///
/// Where nothing could be sent.
pub(crate) fn run(experiment: &NatCommand, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    let (args, command, question) = match experiment {
        NatCommand::Mapping(args) => (args, "nat mapping", Question::Mapping),
        NatCommand::Filtering(args) => (args, "nat filtering", Question::Filtering),
        NatCommand::Hops(args) => (args, "nat hops", Question::Hops),
        NatCommand::Lifetime(args) => (args, "nat lifetime", Question::Lifetime),
    };
    let Some(target) = &args.provider else {
        bail!("{command} needs a provider; give PROVIDER");
    };
    if args.user.is_some() {
        let line = format!("Note: {command} registers nothing, so --user is not used.");
        survey::tell(common, progress, &line);
    }
    block_on(async {
        let provider = survey::address(target, Service::IAX2, args.bind).await?;
        let mut config = survey::config(args, provider).await;
        only(question, &mut config);
        let evidence = survey::run(config, args, common, progress).await?;
        let subject = Subject {
            command,
            question,
            name: target.to_string(),
            provider,
            user: None,
            refresh: args.refresh,
            registers: false,
            started_at,
        };
        survey::report(subject, &evidence, common, progress)
    })
}

/// Leaves out what the question does not ask for.
fn only(question: Question, config: &mut SurveyConfig) {
    config.mapping = question == Question::Mapping;
    let wanted = |experiment: &Experiment| match experiment {
        Experiment::Filtering | Experiment::Inbound => question == Question::Filtering,
        Experiment::Hops => question == Question::Hops,
        Experiment::Payload | Experiment::Depth => question == Question::Mapping,
    };
    config.beside.retain(wanted);
    if question == Question::Hops {
        config.hop_timers = config.sweep.take();
    }
    if question != Question::Lifetime {
        config.sweep = None;
    }
}
