//! `register`: one live registration.

use std::time::SystemTime;

use anyhow::{Result, bail};
use iax2_natcheck::{check::Question, net::resolve::Service};

use crate::cli::{
    args::{Common, RegisterArgs},
    progress::Progress,
    runtime::block_on,
    survey::{self, Subject},
};

/// Registers, or gives a registration up, and reports.
///
/// # Errors
///
/// Without an account, or where nothing could be sent.
pub(crate) fn run(args: &RegisterArgs, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    let provider_args = &args.provider;
    let (Some(target), Some(credentials)) =
        (&provider_args.provider, survey::credentials(provider_args)?)
    else {
        bail!(
            "register needs a provider and an account; give PROVIDER --user NAME --secret-file FILE"
        );
    };
    block_on(async {
        let provider = survey::address(target, Service::IAX2, provider_args.bind).await?;
        let mut config = survey::config(provider_args, provider).await;
        let user = credentials.user.clone();
        if !args.release {
            survey::warn_of_moving(&user, common, progress);
        }
        config.credentials = Some(credentials);
        config.reach = false;
        config.mapping = false;
        config.beside.clear();
        config.sweep = None;
        config.release_only = args.release;
        let evidence = survey::run(config, provider_args, common, progress).await?;
        let subject = Subject {
            command: "register",
            question: Question::Registration,
            name: target.to_string(),
            provider,
            user: Some(user),
            refresh: provider_args.refresh,
            device: provider_args.device,
            registers: true,
            started_at,
            router: None,
            rules: vec![],
        };
        survey::report(subject, &evidence, common, progress)
    })
}
