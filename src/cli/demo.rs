//! `demo`: the same diagnosis in a private virtual network.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use anyhow::{Result, bail};
use iax2_natcheck::{
    check::Question,
    lab::{
        demo, kernel,
        scenario::{self, Scenario},
    },
    net::stop::Stopper,
    probe::{evidence::Evidence, survey::SurveyEvent},
    types::PeerAddr,
    wire::iax2::PORT,
};

use crate::cli::{
    args::{Common, DemoArgs},
    output,
    progress::Progress,
    runtime::block_on,
    survey::{self, Subject},
};

/// Runs a scenario, in the kernel if it lets us, and reports.
///
/// # Errors
///
/// Where there is no such scenario.
pub(crate) fn run(args: &DemoArgs, common: &Common, progress: &Progress) -> Result<u8> {
    if args.list {
        output::print(&list())?;
        return Ok(0);
    }
    let started_at = SystemTime::now();
    let name = args.scenario.as_deref().unwrap_or(scenario::DEFAULT);
    let Some(scenario) = scenario::find(name) else {
        bail!("there is no scenario `{name}`; `iax2-natcheck demo --list` names them");
    };
    let evidence = survey(&scenario, common, progress);
    let subject = Subject {
        command: "demo",
        question: Question::Reachability,
        name: name.to_owned(),
        provider: PeerAddr::new(SocketAddr::new(scenario.server().into(), PORT)),
        user: Some(scenario.user.to_owned()),
        refresh: None,
        device: None,
        registers: true,
        started_at,
        router: None,
        rules: vec![],
    };
    survey::report(subject, &evidence, common, progress)
}

fn survey(scenario: &Scenario, common: &Common, progress: &Progress) -> Evidence {
    let tell = |place: &str| {
        let line = format!(
            "Demonstration: {}. {place} Its times are about a fifth of real ones, so that it ends \
             soon; so are those in the advice.",
            scenario.summary
        );
        survey::tell(common, progress, &line);
    };
    // Before the event loop: a process with threads cannot enter a user namespace.
    let refusal = match kernel::enter() {
        Ok(_) => {
            tell("It runs in a private virtual network with a real kernel NAT.");
            match in_kernel(scenario, common, progress) {
                Ok(evidence) => return evidence,
                Err(error) => error.to_string(),
            }
        }
        Err(error) => error.to_string(),
    };
    tell(&format!(
        "It runs with a NAT simulated in process, because {refusal}."
    ));
    demo::in_process(scenario, rand::random(), |_| {})
}

fn in_kernel(scenario: &Scenario, common: &Common, progress: &Progress) -> Result<Evidence> {
    block_on(async {
        let began = Instant::now();
        let mut stopper = Stopper::new()?;
        let show = |event: &SurveyEvent| survey::show(progress, event, began.elapsed());
        let stop = stopper.wait(common.timeout);
        Ok(Box::pin(demo::in_kernel(scenario, rand::random(), show, stop)).await?)
    })
}

fn list() -> String {
    scenario::all()
        .iter()
        .fold(String::new(), |mut list, scenario| {
            let default = if scenario.name == scenario::DEFAULT {
                " (default)"
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = writeln!(list, "{:14}{}{default}", scenario.name, scenario.summary);
            list
        })
}
