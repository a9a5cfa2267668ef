//! The cron script that the guardian replaces, and the guardian, in the same trouble side by side.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    street::{PBX, PROVIDER, WAN, on},
    support::process::{self, Process},
    town::{MASQUERADE, OTHER, Town},
};

/// For how long the fault lasts, and for how long a cure is waited for.
const FAULT: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
enum Cure {
    Nobody,
    Script,
    GuardianOnPbx,
    GuardianOnRouter,
}

#[derive(Debug)]
#[allow(dead_code, reason = "printed as a whole")]
struct Outcome {
    cure: Cure,
    /// From the end of the fault until the provider reaches the PBX.
    back: Option<Duration>,
    /// What left the PBX for the provider during the fault.
    packets: u64,
    /// A call with the other provider went on.
    call_lives: bool,
    /// How often the other provider lost its registration's connection: modules unloaded.
    unloads: usize,
}

/// Plays a taint, with the usual timers of Linux, while a call with the other provider is up or not.
fn play(cure: Cure, call: bool) -> Outcome {
    let town = Town::with(MASQUERADE, 60, |pbx| {
        pbx.section(&format!(
            "[to-other]\ntype=peer\nusername=bob\nsecret=s3cret\nhost={OTHER}\n"
        ))
    });
    town.street.router.udp_timeouts(30, 120).unwrap();
    town.street.nft(&format!(
        "table ip count {{\nchain forward {{\ntype filter hook forward priority 20\n\
         ip saddr {PBX} ip daddr {PROVIDER} counter\n}}\n}}"
    ));
    if call {
        town.pbx
            .cli("channel originate IAX2/to-other/600 application Milliwatt");
        town.pbx
            .wait_for("core show channels concise", |text| text.contains("!Up!"));
    }
    let guardian = match cure {
        Cure::GuardianOnPbx => Some(town.guardian(&town.street.pbx, "", "")),
        Cure::GuardianOnRouter => {
            let more = "[observe]\nrouter = true\nwan = \"ppp0\"\n";
            Some(town.guardian(&town.street.router, "", more))
        }
        Cure::Nobody | Cure::Script => None,
    };
    let folder = tempfile::tempdir().unwrap();
    let script = matches!(cure, Cure::Script).then(|| cron(&town, folder.path()));
    let way = format!("{PROVIDER} via 192.168.100.1 dev eth1");
    town.forget();
    town.street.ip(&[&format!("route add {way}")]);
    town.pbx.cli("iax2 reload");
    thread::sleep(FAULT);
    let packets = counted(&town);
    town.street.ip(&[&format!("route del {way}")]);
    let began = Instant::now();
    let back = process::poll(PATIENCE, || {
        let line = town.registry("alice");
        (line.contains(WAN)
            && line.trim_end().ends_with("Registered")
            && town.gets_through(PROVIDER, WAN))
        .then(|| began.elapsed())
    });
    let channels = town.pbx.cli("core show channels concise");
    let unloads = town
        .pbx
        .log()
        .matches("chan_iax2.so => (Inter Asterisk eXchange")
        .count();
    drop(script);
    if let Some(guardian) = &guardian {
        eprintln!("{cure:?} {:#?}", guardian.decided("main"));
    }
    Outcome {
        cure,
        back,
        packets,
        call_lives: channels.contains("!Up!"),
        unloads,
    }
}

/// The script as it is passed around, every minute as cron runs it.
fn cron(town: &Town, folder: &std::path::Path) -> Process {
    let (program, config) = town.pbx.program_and_configuration();
    let asterisk = format!("{} -C {}", program.display(), config.display());
    let text = format!(
        "#!/bin/sh\n\
         while :; do\n  sleep 60\n\
         if {asterisk} -rx 'iax2 show registry' | grep -q 'Request Sent'; then\n\
         {asterisk} -rx 'module unload chan_iax2.so'\nsleep 66\n\
         {asterisk} -rx 'module load chan_iax2.so'\nfi\ndone\n"
    );
    let path = folder.join("script");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Process::start(
        &mut Command::new(&path),
        &on(&town.street.pbx),
        &folder.join("log"),
    )
}

fn counted(town: &Town) -> u64 {
    let rules = Town::left_in_nft(&town.street.router);
    let (_, rest) = rules
        .split_once("ip daddr 203.0.113.1 counter packets ")
        .unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16; 7 minutes"]
fn full_the_script_and_the_guardian_side_by_side() {
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let plays = [
            (Cure::Nobody, false),
            (Cure::Script, false),
            (Cure::Script, true),
            (Cure::GuardianOnPbx, false),
            (Cure::GuardianOnPbx, true),
            (Cure::GuardianOnRouter, true),
        ];
        let under_way: Vec<_> = plays
            .into_iter()
            .map(|(cure, call)| scope.spawn(move || play(cure, call)))
            .collect();
        under_way
            .into_iter()
            .map(|play| play.join().unwrap())
            .collect()
    });
    for outcome in &outcomes {
        eprintln!("side by side: {outcome:?}");
    }
    for outcome in &outcomes {
        match outcome.cure {
            Cure::GuardianOnPbx => assert!(outcome.back.is_some(), "{outcome:?}"),
            Cure::GuardianOnRouter => {
                assert!(
                    outcome
                        .back
                        .is_some_and(|back| back < Duration::from_secs(10))
                );
                assert!(outcome.call_lives);
            }
            Cure::Nobody | Cure::Script => {}
        }
    }
}
