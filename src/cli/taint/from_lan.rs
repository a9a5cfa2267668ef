//! `taint --peer PROVIDER --local-port PORT`: the same question from a host behind the router, without
//! any rights.

use std::time::SystemTime;

use anyhow::Result;
use iax2_natcheck::{
    check::Question,
    net::resolve::{Service, Target},
    probe::survey::SurveyConfig,
};

use crate::cli::{
    args::Common,
    progress::Progress,
    runtime::block_on,
    survey::{self, Origin, Subject},
};

/// Asks from the port and from fresh ones, and reports.
///
/// # Errors
///
/// Where the port is in use, or nothing could be sent.
pub(super) fn run(port: u16, target: &Target, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    block_on(async {
        let provider = survey::address(target, Service::IAX2, None).await?;
        let config = SurveyConfig {
            same_port: true,
            mapping: false,
            sweep: None,
            ..SurveyConfig::new(provider, rand::random())
        };
        let origin = Origin {
            port: Some(port),
            ..Origin::default()
        };
        let evidence = survey::run(config, origin, common, progress).await?;
        let subject = Subject {
            command: "taint",
            question: Question::Flow,
            name: target.to_string(),
            provider,
            user: None,
            refresh: None,
            device: None,
            registers: false,
            started_at,
            router: None,
            rules: vec![],
        };
        survey::report(subject, &evidence, common, progress)
    })
}
