//! `nat`: one experiment alone.

use std::time::SystemTime;

use anyhow::{Result, bail};
use iax2_natcheck::{check::Question, net::resolve::Service};

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
        if question == Question::Mapping {
            config.sweep = None;
        }
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
            router: None,
        };
        survey::report(subject, &evidence, common, progress)
    })
}
