//! The command line: every command and every option.

pub(crate) mod analyze;
pub(crate) mod call;
pub(crate) mod provider;
pub(crate) mod serve;
pub(crate) mod snat;
pub(crate) mod taint;
mod value;

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use analyze::AnalyzeArgs;
pub(crate) use call::CallArgs;
pub(crate) use provider::{Method, ProviderArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use snat::SnatArgs;
pub(crate) use taint::TaintArgs;

/// Diagnose the NAT between an IAX2 PBX and its provider.
///
/// Tells whether calls reach a PBX behind a NAT between two registrations, how long the NAT
/// remembers it and what kind of NAT it is, and what to change where.
#[derive(Debug, Parser)]
#[command(
    name = "iax2-natcheck",
    version,
    max_term_width = 80,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = "Example:\n  iax2-natcheck check iax.example.net --user alice --secret-file secret"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Diagnose the NAT between here and an IAX2 provider, and report
    #[command(
        after_help = "Example:\n  iax2-natcheck check iax.example.net --user alice --secret-file secret \\\n      --reflector probe.example.org"
    )]
    Check(CheckArgs),
    /// Run the same diagnosis inside a private virtual network
    #[command(after_help = "Example:\n  iax2-natcheck demo --list")]
    Demo(DemoArgs),
    /// Make one live registration
    #[command(
        after_help = "Example:\n  iax2-natcheck register iax.example.net --user alice --secret-file secret -v"
    )]
    Register(RegisterArgs),
    /// Place one live test call, or a burst of them
    #[command(
        mut_args(call::of_a_call),
        after_help = "Example:\n  iax2-natcheck call iax.example.net 600 --user alice --secret-file secret"
    )]
    Call(CallArgs),
    /// Run one experiment alone
    #[command(
        arg_required_else_help = false,
        after_help = "Example:\n  iax2-natcheck nat mapping iax.example.net --stun stun.example.org"
    )]
    Nat {
        #[command(subcommand)]
        experiment: NatCommand,
    },
    /// Find tainted entries in this router's table of connections, and delete exactly those
    ///
    /// A tainted entry makes the NAT send the PBX's packets with a wrong source for as long as the
    /// PBX retries. Needs root to read the table.
    #[command(after_help = "Example:\n  iax2-natcheck taint --fix --dry-run")]
    Taint(TaintArgs),
    /// Run a test provider and reflector, on a public host or at a provider
    #[command(
        after_help = "Example:\n  iax2-natcheck serve --bind 198.51.100.7 --users users.toml"
    )]
    Serve(ServeArgs),
    /// Print the firewall rules under which no NAT entry goes wrong, for a router
    #[command(
        after_help = "Example:\n  iax2-natcheck snat --wan ppp0 --static 198.51.100.7 > snat.sh"
    )]
    Snat(SnatArgs),
    /// Explain the IAX2 in captures, or on the wire, without sending a packet
    ///
    /// Registrations, calls, audio by direction, and what is wrong with them, each with the frames and
    /// times it rests on.
    #[command(
        after_help = "Examples:\n  iax2-natcheck analyze lan.pcap wan.pcap\n  iax2-natcheck analyze --interface eth0 --duration 5m"
    )]
    Analyze(AnalyzeArgs),
    /// Render a saved JSON report again, or compare two
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Example:\n  iax2-natcheck report yesterday.json --html yesterday.html"
    )]
    Report(ReportArgs),
    /// Show what is known of NAT devices: timers, what to change, and where
    #[command(after_help = "Example:\n  iax2-natcheck devices sonicwall tz")]
    Devices(DevicesArgs),
    /// Print the manual page
    #[command(after_help = "Example:\n  iax2-natcheck man > iax2-natcheck.1")]
    Man,
    /// Print the completions of a shell
    #[command(after_help = "Example:\n  iax2-natcheck completions bash > iax2-natcheck.bash")]
    Completions(CompletionsArgs),
}

/// The experiments that run alone.
#[derive(Debug, Subcommand)]
pub(crate) enum NatCommand {
    /// How the public address depends on the destination
    #[command(
        after_help = "Example:\n  iax2-natcheck nat mapping iax.example.net --stun stun.example.org"
    )]
    Mapping(ProviderArgs),
    /// Whom the NAT lets in
    #[command(
        after_help = "Example:\n  iax2-natcheck nat filtering iax.example.net --reflector probe.example.org"
    )]
    Filtering(ProviderArgs),
    /// Which boxes on the way keep state, and for how long each
    #[command(
        after_help = "Example:\n  iax2-natcheck nat hops iax.example.net --reflector probe.example.org"
    )]
    Hops(ProviderArgs),
    /// How long an idle mapping lives
    #[command(
        after_help = "Example:\n  iax2-natcheck nat lifetime iax.example.net --reflector probe.example.org"
    )]
    Lifetime(ProviderArgs),
    /// Whether hosts behind the NAT reach each other by their public addresses
    #[command(
        after_help = "Example:\n  iax2-natcheck nat hairpin iax.example.net --stun stun.example.org"
    )]
    Hairpin(ProviderArgs),
}

/// `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
    /// Look at this router's own table, rules and timers too; without it, that is done on a host that
    /// passes packets on, as far as this user may (the rules: where a host behind it talks to the
    /// provider)
    #[arg(long)]
    pub(crate) router: bool,
    /// What stands here: a PBX that registers with a provider, or a node that others call
    #[arg(long, value_enum, default_value = "pbx")]
    pub(crate) profile: Profile,
}

/// What kind of station is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Calls come by the way that its registration keeps open
    Pbx,
    /// A node of AllStarLink: nothing registers, others call port 4569 (--inbound), and know it by that
    /// port; test calls are made as user radio
    Allstarlink,
}

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The scenario; the default one ends within 20 s
    pub(crate) scenario: Option<String>,
    /// Name the scenarios and end
    #[arg(long, conflicts_with = "scenario")]
    pub(crate) list: bool,
}

/// `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
    /// Release the registration (REGREL) instead of making it
    #[arg(long)]
    pub(crate) release: bool,
}

/// `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The report, as --json wrote it; `-` is stdin
    #[arg(required = true)]
    pub(crate) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) other: Option<ReportCommand>,
}

/// What else is done with reports.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Say what got better and what got worse between two reports
    #[command(after_help = "Example:\n  iax2-natcheck report diff before.json after.json")]
    Diff {
        /// The report from before
        before: PathBuf,
        /// The report from after, whose status is the exit status
        after: PathBuf,
    },
    /// Print the JSON Schema that every report follows
    #[command(after_help = "Example:\n  iax2-natcheck report schema > report.schema.json")]
    Schema,
}

/// `devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Words of its name, or its timers as in 30/120; all devices unless given
    pub(crate) words: Vec<String>,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// What every command knows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// How to report
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Short for --format json
    #[arg(long, global = true, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Write the report to this file instead of stdout
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the report to this file as a page of HTML too
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Log to stderr: steps and frames; twice: every packet
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors alone, and draw no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Draw no progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Stop after this time and report what is known by then
    #[arg(long, global = true, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) timeout: Option<Duration>,
}

impl Common {
    /// The format asked for.
    pub(crate) const fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// Progress is drawn only for somebody who looks.
    pub(crate) fn draws_progress(&self) -> bool {
        !self.quiet && !self.no_progress && std::io::stderr().is_terminal()
    }
}

/// The formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// The same on one line, to be appended to a file of many reports
    Jsonl,
    /// A page that needs nothing else
    Html,
    /// One line with performance data, for monitoring
    Nagios,
    /// Metrics for the textfile collector of Prometheus' node exporter
    Prometheus,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use iax2_natcheck::proto::switchboard::fault::Fault;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("iax2-natcheck").chain(line.split(' ')))
    }

    #[test]
    fn common_options_stand_before_and_behind_the_command() {
        for line in ["--json report x.json", "report x.json --json"] {
            assert_eq!(parse(line).unwrap().common.format(), Format::Json);
        }
        assert_eq!(
            parse("report x --format nagios").unwrap().common.format(),
            Format::Nagios
        );
        assert!(parse("report x --format text --json").is_err());
        assert_eq!(parse("report x -vv").unwrap().common.verbose, 2);
        assert!(parse("report x -v -q").is_err());
    }

    #[test]
    fn a_provider_is_asked_as_told() {
        let line = "check iax.example.net:4570 --user alice --secret-file - --rsa-key key.pem \
                    --allow-plaintext --local-port 4569 --bind 192.168.1.10 --reflector [2001:db8::1] \
                    --stun a --stun b:3479 --refresh 2m --max-lifetime 90s --sockets 64";
        let Command::Check(args) = parse(line).unwrap().command else {
            panic!("not check");
        };
        let args = args.provider;
        assert_eq!(args.provider.unwrap().to_string(), "iax.example.net:4570");
        assert_eq!(args.reflector.unwrap().to_string(), "2001:db8::1");
        assert_eq!(args.stun.len(), 2);
        assert_eq!(args.refresh, Some(Duration::from_secs(120)));
        assert_eq!(args.max_lifetime, Duration::from_secs(90));
        assert_eq!(args.sockets, 64);

        let Command::Check(args) = parse("check ::1").unwrap().command else {
            panic!("not check");
        };
        assert!(!args.router);
        let args = args.provider;
        assert_eq!(args.max_lifetime, Duration::from_secs(300));
        assert_eq!(args.sockets, 512);
        assert_eq!(args.provider.unwrap().port, None);
    }

    #[test]
    fn a_server_listens_on_loopback_unless_told() {
        let Command::Serve(args) = parse("serve").unwrap().command else {
            panic!("not serve");
        };
        assert_eq!(args.bind, ["127.0.0.1:4569".parse().unwrap()]);
        let line = "serve --bind 192.0.2.1 --bind [2001:db8::1]:4570 --alternate 192.0.2.2:4571 \
                    --profile rfc --users users.toml --fault drop=2 --fault wrap=full";
        let Command::Serve(args) = parse(line).unwrap().command else {
            panic!("not serve");
        };
        assert_eq!(
            args.bind,
            [
                "192.0.2.1:4569".parse().unwrap(),
                "[2001:db8::1]:4570".parse().unwrap()
            ]
        );
        assert_eq!(args.alternate, "192.0.2.2:4571".parse().ok());
        assert_eq!(args.profile, serve::Profile::Rfc);
        let faults = [Fault::Drop(2), Fault::Wrap(true)];
        assert_eq!(args.fault, faults);
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            "check",
            "check host:0",
            "check host:port",
            "check [::1",
            "check --user",
            "check host --refresh soon",
            "check host --refresh 0s",
            "check host --sockets 0",
            "check host --local-port 0",
            "check host --bind example.net",
            "nat mapping --sockets 4",
            "check host --asterisk --secret-file secret",
            "check host --method drift",
            "check host --user alice --method guess",
            "check host --sibling pbx",
            "check host --asterisk --user alice --method qualify",
            "serve --bind example.net",
            "serve --profile yate",
            "serve --users users.toml --fault thunder",
            "serve --fault silence",
            "demo one --list",
            "nat",
            "nat weather host",
            "completions basic",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
