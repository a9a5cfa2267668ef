//! A second opinion on captures: Wireshark's dissectors.

use std::{path::Path, process::Command, time::Duration};

use super::process::{self, plain};

/// How long a dissection may take; tshark itself needs seconds to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The values of `fields` in every packet of `capture` that passes the display `filter` (empty:
/// all), one row a packet; a field that the packet has not is empty.
pub fn fields(capture: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = tshark(capture, filter);
    command.args(["-T", "fields", "-E", "separator=/t"]);
    for field in fields {
        command.args(["-e", field]);
    }
    read(&mut command)
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The whole dissection of every packet of `capture` that passes the display `filter`, as tshark's
/// JSON array.
pub fn json(capture: &Path, filter: &str) -> serde_json::Value {
    let text = read(tshark(capture, filter).args(["-T", "json"]));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("tshark's JSON: {e}\n{text}"))
}

fn tshark(capture: &Path, filter: &str) -> Command {
    let mut command = Command::new("tshark");
    // -n: no name of a host or port is looked up.
    command.arg("-n").arg("-r").arg(capture);
    // The sums are checked too, so that a wrong one shows in the row.
    command.args([
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]);
    if !filter.is_empty() {
        command.args(["-Y", filter]);
    }
    command
}

fn read(command: &mut Command) -> String {
    let finished = process::run(command, &plain, PATIENCE);
    assert!(
        finished.status.success(),
        "{command:?}: {}\n{}",
        finished.status,
        finished.stderr
    );
    finished.stdout
}
