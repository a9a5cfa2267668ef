//! The options of `analyze`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};

use super::value;

/// What to look at, and how to show it.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["files", "interface"])))]
pub(crate) struct AnalyzeArgs {
    /// Captures, pcap or pcapng, gzip or not; `-` is stdin. Captures of both sides of a NAT, the LAN's
    /// first, are matched; others are read one after the other
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Listen on this interface instead, until Ctrl-C; `any` stands for all. Needs root
    #[arg(long, value_name = "INTERFACE", conflicts_with = "files")]
    pub(crate) interface: Option<String>,
    /// With --interface: stop after this time
    #[arg(long, value_name = "DURATION", value_parser = value::duration, conflicts_with = "files")]
    pub(crate) duration: Option<Duration>,
    /// With --interface: write the packets to this file too; beyond 100 MB it becomes FILE.1, up to
    /// FILE.9
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub(crate) write: Option<PathBuf>,
    /// Take datagrams from or to this port for IAX2 (repeatable); else those of port 4569, and in files
    /// whatever begins like IAX2
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Vec<u16>,
    /// Read encrypted calls with the account's secret, from this file (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Show the messages of this call, by its number in the report
    #[arg(long, value_name = "CALL", conflicts_with = "interface")]
    pub(crate) ladder: Option<u32>,
    /// Print a line for each frame instead of the report; of both sides of a NAT, how it was translated
    #[arg(long)]
    pub(crate) frames: bool,
    /// Print registrations and calls as they end, and the report last; with --json, one object a line
    #[arg(long, conflicts_with_all = ["frames", "ladder"])]
    pub(crate) follow: bool,
    /// Write the capture to this file with names, numbers, addresses and audio replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interface", "follow", "frames", "ladder"])]
    pub(crate) anonymize: Option<PathBuf>,
}
