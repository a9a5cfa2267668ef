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
        NatCommand::Hairpin(args) => (args, "nat hairpin", Question::Hairpin),
    };
    let Some(target) = &args.provider else {
        bail!("{command} needs a provider; give PROVIDER");
    };
    let unaided = match question {
        Question::Lifetime => survey::unaided(args, survey::credentials(args)?.as_ref())?,
        _ => None,
    };
    // A token is had without a registration.
    let registers = unaided
        .as_ref()
        .filter(|plan| plan.needs_account())
        .map(|plan| plan.credentials.clone());
    if let Some(credentials) = &registers {
        survey::warn_of_moving(&credentials.user, common, progress);
    } else if args.user.is_some() && unaided.is_none() {
        let line = format!("Note: {command} registers nothing, so --user is not used.");
        survey::tell(common, progress, &line);
    }
    block_on(async {
        let provider = survey::address(target, Service::IAX2, args.bind).await?;
        let mut config = survey::config(args, provider).await;
        only(question, &mut config);
        config.hairpin |= question == Question::Hairpin;
        let user = unaided.as_ref().map(|plan| plan.credentials.user.clone());
        if let Some(sweep) = &mut config.sweep {
            sweep.unaided = unaided;
        }
        let is_registering = registers.is_some();
        config.credentials = registers;
        let evidence = survey::run(config, args, common, progress).await?;
        let subject = Subject {
            command,
            question,
            name: target.to_string(),
            provider,
            user,
            refresh: args.refresh,
            device: args.device,
            registers: is_registering,
            started_at,
            router: None,
            rules: vec![],
        };
        survey::report(subject, &evidence, common, progress)
    })
}

/// Leaves out what the question does not ask for.
fn only(question: Question, config: &mut SurveyConfig) {
    config.mapping = question == Question::Mapping;
    let wanted = |experiment: &Experiment| match experiment {
        Experiment::Filtering | Experiment::Inbound => question == Question::Filtering,
        Experiment::Hops => matches!(question, Question::Hops | Question::Lifetime),
        Experiment::Busy | Experiment::Refreshes => question == Question::Lifetime,
        Experiment::Payload | Experiment::Depth | Experiment::Neighbours => {
            question == Question::Mapping
        }
    };
    config.beside.retain(wanted);
    if question == Question::Hops {
        config.hop_timers = config.sweep.take();
    }
    if question != Question::Lifetime {
        config.sweep = None;
    }
}
