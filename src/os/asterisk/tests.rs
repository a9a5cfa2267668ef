//! Tables of a real Asterisk 16, and a program that behaves as one that fails.

use std::fs;

use super::*;

/// Each registry state, provoked one after the other.
const STATES: &str = include_str!("../../../tests/data/asterisk/states16.txt");
/// AMI and CLI of the registrar, whose lines begin with `Output: `.
const SERVER: &str = include_str!("../../../tests/data/asterisk/ami-srv16.txt");

/// The answers to `command` in a transcript, with all that follows them up to the next heading.
fn answers(transcript: &'static str, command: &str) -> Vec<&'static str> {
    transcript
        .split("CLI> ")
        .skip(1)
        .filter_map(|part| part.strip_prefix(command))
        .collect()
}

#[test]
fn every_state_of_a_registration_is_read() {
    let entries: Vec<RegistryEntry> = answers(STATES, SHOW_REGISTRY)
        .into_iter()
        .flat_map(|answer| parse_registry(answer).unwrap())
        .collect();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.user.as_str(),
                entry.state.as_str(),
                entry.perceived.is_some(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("alice", "Rejected", false),
            ("nobody", "Rejected", false),
            ("alice", "No Authentication", false),
            ("alice", "Request Sent", false),
            ("rsa1", "Request Sent", false),
            ("alice", "Auth. Sent", false),
            ("alice", "Timeout", false),
            ("bob", "Request Sent", false),
            ("bob", "Timeout", false),
            ("bob", "Unregistered", false),
            ("alice", "Registered", true),
            ("bob", "Registered", true),
        ]
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry.refresh == Duration::from_secs(60))
    );
    assert_eq!(entries[9].host, None);
    assert_eq!(entries[10].host.as_deref(), Some("10.99.0.1:4569"));
    assert_eq!(entries[10].perceived.unwrap().to_string(), "10.99.0.2:4569");
}

const HEADER: &str = "Host                                           dnsmgr  Username    Perceived                                      Refresh  State\n";
const ROW: &str = "10.99.0.1:4569                                 N       alice       10.99.0.2:4569                                      60  Registered\n";

#[test]
fn what_the_command_line_adds_is_passed_over() {
    let text = format!("  == noise\n{HEADER}{ROW}1 IAX2 registrations.\nAsterisk ending (0).\n");
    assert_eq!(parse_registry(&text).unwrap().len(), 1);
    let text = format!("{HEADER}0 IAX2 registrations.\n");
    assert_eq!(parse_registry(&text).unwrap(), []);
}

#[test]
fn long_numbers_and_long_names_keep_to_their_columns() {
    let row = ROW
        .replace("      60  ", "12345678  ")
        .replace("alice       ", "alice.wond  ")
        .replace("10.99.0.2:4569      ", "[2001:db8::2]:4569  ");
    let text = format!("{HEADER}{row}1 IAX2 registrations.\n");
    let entry = parse_registry(&text).unwrap().remove(0);
    assert_eq!(entry.refresh, Duration::from_secs(12_345_678));
    assert_eq!(entry.perceived.unwrap().to_string(), "[2001:db8::2]:4569");
    assert!(entry.is_user("alice.wonderland"));
    assert!(!entry.is_user("alice"));
    let text = format!("{HEADER}{ROW}1 IAX2 registrations.\n");
    let entry = parse_registry(&text).unwrap().remove(0);
    assert!(entry.is_user("alice"));
    assert!(!entry.is_user("alice.wonderland"));
}

#[test]
fn another_format_is_an_error_that_names_the_line() {
    let rows = |row: &str| format!("{HEADER}{row}1 IAX2 registrations.\n");
    for (text, line, what) in [
        (String::new(), 1, "no header"),
        ("Host Username State\n".to_owned(), 1, "no header"),
        (HEADER.to_owned(), 1, "does not end"),
        (format!("{HEADER}{ROW}"), 2, "does not end"),
        (format!("{HEADER}{ROW}2 IAX2 registrations.\n"), 3, "counts"),
        (rows(&ROW.replace("alice  ", "alice")), 2, "aligned"),
        (rows(&ROW.replace(" N ", " ? ")), 2, "dnsmgr"),
        (rows(&ROW.replace(" 60 ", " sx ")), 2, "refresh"),
        (
            rows(&ROW.replace("10.99.0.2:4569", "<elsewhere>   ")),
            2,
            "perceived",
        ),
        (rows(&ROW.replace("Registered", "")), 2, "state"),
        (rows("Connection reset\n"), 2, "aligned"),
        (rows("é\n"), 2, "aligned"),
    ] {
        let error = parse_registry(&text).unwrap_err().to_string();
        assert!(error.contains(what), "{text}: {error}");
        assert!(error.contains(&format!("line {line}:")), "{text}: {error}");
    }
}

#[test]
fn peers_are_read_with_their_marks() {
    let table: String = SERVER
        .lines()
        .filter_map(|line| line.strip_prefix("Output: "))
        .skip_while(|line| !line.starts_with("Name/Username"))
        .take_while(|line| !line.is_empty())
        .flat_map(|line| [line, "\n"])
        .collect();
    let peers = parse_peers(&table).unwrap();
    let peer = |name: &str| peers.iter().find(|peer| peer.name == name).unwrap();
    assert_eq!(peers.len(), 11);
    assert!(peers.iter().all(|peer| peer.dynamic && peer.user.is_none()));
    assert_eq!(peer("alice").host.as_deref(), Some("10.99.0.2"));
    assert_eq!(peer("alice").port, Some(4569));
    assert_eq!(peer("bob").status, PeerStatus::Unknown);
    assert_eq!(
        (peer("trunk1").trunk, peer("trunk1").encrypted),
        (true, false)
    );
    assert_eq!(
        (peer("crypt1").trunk, peer("crypt1").encrypted),
        (false, true)
    );
    assert_eq!(
        (peer("crypt1").host.clone(), peer("crypt1").port),
        (None, None)
    );
}

#[test]
fn qualified_and_static_peers_are_read() {
    let text = "\
Name/Username    Host                                           Mask                                      Port           Status      Description                     
bob              10.99.0.2                                (D)  (null)                                    4569           OK (3 ms)                                   
to-tokyes/tokye  10.99.0.1                                (S)  255.255.255.255                           4569(T)   (E)  LAGGED (2001 ms) the other office
to-trunk1/trunk  127.0.0.1                                (S)  255.255.255.255                           45691 (T)      Unmonitored                                 
to-crypt1/crypt  127.0.0.1                                (S)  255.255.255.255                           45691     (E)  Unmonitored                                 
4 iax2 peers [2 online, 0 offline, 2 unmonitored]
Asterisk ending (0).
";
    let peers = parse_peers(text).unwrap();
    assert_eq!(
        peers[0].status,
        PeerStatus::Reachable(Duration::from_millis(3))
    );
    assert_eq!(
        peers[1].status,
        PeerStatus::Lagged(Duration::from_millis(2001))
    );
    assert_eq!(peers[1].user.as_deref(), Some("tokye"));
    assert_eq!(
        (peers[1].dynamic, peers[1].trunk, peers[1].encrypted),
        (false, true, true)
    );
    let marks = |at: usize| (peers[at].port, peers[at].trunk, peers[at].encrypted);
    assert_eq!(marks(2), (Some(45691), true, false));
    assert_eq!(marks(3), (Some(45691), false, true));
    assert_eq!(peers[2].status, PeerStatus::Unmonitored);
    for (old, new) in [
        ("LAGGED (", "LATE ("),
        ("(S)", "(X)"),
        ("4569(T)", "port(T)"),
        ("LAGGED (2001 ms) the other office", ""),
    ] {
        let error = parse_peers(&text.replace(old, new)).unwrap_err();
        assert!(error.to_string().contains("line 3:"), "{error}");
    }
}

/// A program that runs `script`, and the directory in which it lies. A shell writes it: a file that
/// this process had open for writing could still be open in a child of another test, and would not
/// start.
fn program(script: &str) -> (tempfile::TempDir, Cli) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("asterisk");
    let written = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""#,
        ])
        .arg(&path)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
    let cli = Cli {
        program: path,
        ..Cli::default()
    };
    (directory, cli)
}

async fn refusal(script: &str) -> OsError {
    let (_directory, cli) = program(script);
    cli.registry().await.unwrap_err()
}

#[tokio::test]
async fn the_program_gets_the_command_and_the_configuration() {
    let script = r#"[ "$1 $2 $3 $4" = "-C /x y.conf -rx iax2 show registry" ] && cat "$0.txt""#;
    let (directory, mut cli) = program(script);
    let text = format!("{HEADER}{ROW}1 IAX2 registrations.\nAsterisk ending (0).\n");
    fs::write(directory.path().join("asterisk.txt"), text).unwrap();
    cli.config = Some(PathBuf::from("/x y.conf"));
    assert_eq!(cli.registry().await.unwrap()[0].state, "Registered");
}

#[tokio::test]
async fn each_failure_has_its_sentence() {
    let mut cli = Cli {
        program: PathBuf::from("/no/such/asterisk"),
        ..Cli::default()
    };
    let error = cli.registry().await.unwrap_err();
    assert!(matches!(error, OsError::NoProgram { .. }), "{error}");
    cli.program = PathBuf::from("/");
    let error = cli.registry().await.unwrap_err();
    assert!(matches!(error, OsError::NotStarted { .. }), "{error}");

    let words = "Unable to connect to remote asterisk (does /no/asterisk.ctl exist?)";
    let error = refusal(&format!("echo '{words}' >&2; exit 1")).await;
    assert!(matches!(error, OsError::NotRunning), "{error}");
    let words = "No such command 'iax2 show registry' (type 'core show help iax2 show' for other possible commands)";
    let error = refusal(&format!("cat <<.\n{words}\n.")).await;
    assert!(matches!(error, OsError::NoIax2 { .. }), "{error}");
    let error = refusal("echo broken; exit 3").await;
    assert!(
        matches!(&error, OsError::Refused { answer, .. } if answer == "broken"),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_that_hangs_is_ended() {
    let (_directory, mut cli) = program("exec sleep 60");
    cli.limit = Duration::from_millis(200);
    let error = cli.registry().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Asterisk did not answer `iax2 show registry` within 200ms"
    );
}
