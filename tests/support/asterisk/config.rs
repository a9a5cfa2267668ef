//! The configuration files of one Asterisk.

use std::{fmt::Write, fs, path::Path};

use super::{AMI_SECRET, AMI_USER, Builder, PLAIN_SECRET, Role, SECRET};

/// Only what IAX2 and the extensions need: it boots in a third of a second.
const MODULES: &str = "\
[modules]
autoload=no
require=chan_iax2.so
load=res_timing_timerfd.so
load=res_crypto.so
load=pbx_config.so
load=bridge_simple.so
load=bridge_holding.so
load=bridge_softmix.so
load=app_dial.so
load=app_echo.so
load=app_milliwatt.so
load=app_playtones.so
load=app_senddtmf.so
load=app_sendtext.so
load=app_verbose.so
load=res_clioriginate.so
load=codec_alaw.so
load=codec_a_mu.so
load=codec_gsm.so
load=codec_resample.so
load=codec_ulaw.so
load=func_callerid.so
load=func_channel.so
load=chan_iax2.so
";

/// The extensions, the same on both sides.
const EXTENSIONS: &str = "\
[general]
static=yes
writeprotect=no
[default]
exten => s,1,Hangup(21)
[test]
exten => 600,1,Answer()
 same => n,Echo()
exten => 601,1,Answer()
 same => n,Milliwatt()
exten => 602,1,Answer()
 same => n,Wait(0.2)
 same => n,Hangup(16)
exten => 603,1,Busy(20)
exten => 604,1,Dial(IAX2/alice,30)
exten => 605,1,Answer()
 same => n,Playtones(440)
 same => n,Wait(600)
exten => 606,1,Congestion(20)
exten => 607,1,Progress()
 same => n,Wait(2)
 same => n,Ringing()
 same => n,Wait(3)
 same => n,Answer()
 same => n,Echo()
exten => 608,1,Answer()
 same => n,SendText(hello from 608)
 same => n,SendDTMF(1234#,200,100)
 same => n,Wait(2)
 same => n,Hangup()
exten => 609,1,Ringing()
 same => n,Wait(60)
exten => s,1,Answer()
 same => n,Echo()
exten => _7XXX,1,Dial(IAX2/alice/${EXTEN},30)
";

/// The tones of Busy, Congestion and Ringing.
const INDICATIONS: &str = "\
[general]
country=us
[us]
description=United States
ringcadence=2000,4000
dial=350+440
busy=480+620/500,0/500
ring=440+480/2000,0/4000
congestion=480+620/250,0/250
callwaiting=440/300,0/10000
dialrecall=350+440
record=1400/500,0/15000
info=!950/330,!1400/330,!1800/330,0
stutter=350+440
";

/// The accounts of a registrar: name and lines, separated by commas.
const ACCOUNTS: &[(&str, &str)] = &[
    (
        "alice",
        "auth=md5,callerid=\"Alice\" <1001>,requirecalltoken=auto",
    ),
    (
        "bob",
        "auth=md5,qualify=2000,qualifyfreqok=5000,qualifyfreqnotok=5000",
    ),
    ("plain1", "auth=plaintext"),
    ("rsa1", "auth=rsa,inkeys=rsa1"),
    ("trunk1", "auth=md5,trunk=yes"),
    ("notok", "auth=md5,requirecalltoken=no"),
    ("tokyes", "auth=md5,requirecalltoken=yes"),
    ("crypt1", "auth=md5,encryption=aes128"),
    ("crypt2", "auth=md5,encryption=aes128,forceencryption=yes"),
    ("nosecret", ""),
];

/// Writes the configuration of `builder` into `folder`, with the Asterisk unpacked in `root`.
pub(super) fn write(builder: &Builder, folder: &Path, root: &Path, key: &Path) {
    for name in ["run", "log", "spool", "cache", "lib/keys"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for extension in ["key", "pub"] {
        let from = key.with_extension(extension);
        let to = folder.join("lib/keys/rsa1").with_extension(extension);
        fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    put("asterisk.conf", &asterisk_conf(folder, root, builder.quiet));
    put("modules.conf", MODULES);
    put("extensions.conf", EXTENSIONS);
    put("indications.conf", INDICATIONS);
    put("manager.conf", &manager_conf(builder));
    put("iax.conf", &iax_conf(builder));
    let levels = if builder.quiet {
        "error"
    } else {
        "notice,warning,error,verbose,debug"
    };
    put(
        "logger.conf",
        &format!("[general]\ndateformat=%F %T.%3q\n[logfiles]\nmessages => {levels}\n"),
    );
    put("acl.conf", "");
    for name in ["features", "cdr", "cel", "udptl", "ccss"] {
        put(&format!("{name}.conf"), "[general]\n");
    }
}

fn asterisk_conf(folder: &Path, root: &Path, quiet: bool) -> String {
    let (verbose, debug) = if quiet { (0, 0) } else { (4, 1) };
    let folder = folder.display();
    let root = root.display();
    format!(
        "\
[directories]
astetcdir => {folder}
astmoddir => {root}/usr/lib/asterisk/modules
astvarlibdir => {folder}/lib
astdbdir => {folder}/lib
astkeydir => {folder}/lib
astdatadir => {root}/usr/share/asterisk
astagidir => {folder}/lib
astspooldir => {folder}/spool
astrundir => {folder}/run
astlogdir => {folder}/log
astcachedir => {folder}/cache
astsbindir => {root}/usr/sbin
[options]
verbose = {verbose}
debug = {debug}
nocolor = yes
hideconnect = yes
timestamp = yes
"
    )
}

fn manager_conf(builder: &Builder) -> String {
    // A deny line would have to stand before the permit line: the last match wins.
    format!(
        "\
[general]
enabled=yes
bindaddr={}
port={}
webenabled=no
timestampevents=no
[{AMI_USER}]
secret={AMI_SECRET}
read=all
write=all
",
        builder.ip, builder.ami_port
    )
}

fn iax_conf(builder: &Builder) -> String {
    let mut text = String::new();
    // bindport must stand before bindaddr, else Asterisk ignores it without a word.
    writeln!(
        text,
        "[general]\nbindport={}\nbindaddr={}\nminregexpire={}\nmaxregexpire={}\njitterbuffer={}",
        builder.port,
        builder.ip,
        builder.min_refresh,
        builder.max_refresh,
        if builder.jitter_buffer { "yes" } else { "no" },
    )
    .unwrap();
    text.push_str(
        "disallow=all\nallow=ulaw\nallow=alaw\nallow=gsm\nautokill=yes\ncontext=default\n",
    );
    text.push_str("delayreject=no\ntrunkfreq=20\n");
    if matches!(builder.role, Role::Registrar) {
        text.push_str("trunktimestamps=yes\n");
    }
    for line in &builder.general {
        writeln!(text, "{line}").unwrap();
    }
    match &builder.role {
        Role::Registrar => registrar_accounts(&mut text, builder),
        Role::Client {
            registrar,
            accounts,
        } => {
            for registration in accounts {
                let account = &registration.account;
                let secret = match &registration.secret {
                    Some(secret) => format!(":{secret}"),
                    None => own_secret(account).map_or(String::new(), |s| format!(":{s}")),
                };
                writeln!(text, "register => {account}{secret}@{registrar}").unwrap();
            }
            let host = format!("host={}\nport={}", registrar.ip(), registrar.port());
            client_peers(&mut text, builder, &host);
        }
    }
    for section in &builder.sections {
        writeln!(text, "{section}").unwrap();
    }
    for (name, line) in &builder.options {
        assert!(
            text.contains(&format!("[{name}]\n")),
            "{line:?} is for {name:?}, which is no section of iax.conf"
        );
    }
    text
}

fn registrar_accounts(text: &mut String, builder: &Builder) {
    for (name, lines) in ACCOUNTS {
        writeln!(text, "[{name}]\ntype=friend\nhost=dynamic\ncontext=test").unwrap();
        if let Some(secret) = own_secret(name).filter(|s| !s.starts_with('[')) {
            writeln!(text, "secret={secret}").unwrap();
        }
        push_lines(text, lines);
        push_options(text, builder, name);
    }
    text.push_str("[guest]\ntype=user\ncontext=test\nrequirecalltoken=no\n");
    push_options(text, builder, "guest");
}

fn client_peers(text: &mut String, builder: &Builder, host: &str) {
    for (name, lines) in ACCOUNTS {
        writeln!(text, "[to-{name}]\ntype=peer\nusername={name}\n{host}").unwrap();
        if let Some(secret) = own_secret(name).filter(|s| !s.starts_with('[')) {
            writeln!(text, "secret={secret}").unwrap();
        }
        for line in lines.split(',') {
            // The rest of an account's lines is for the side that has the account.
            if let Some(key) = line.strip_prefix("inkeys=") {
                writeln!(text, "outkey={key}").unwrap();
            } else if ["auth=", "trunk=", "encryption=", "forceencryption="]
                .iter()
                .any(|option| line.starts_with(option))
            {
                writeln!(text, "{line}").unwrap();
            }
        }
        push_options(text, builder, &format!("to-{name}"));
    }
    // Takes the calls that the registrar sends to the registered alice.
    text.push_str("[alice]\ntype=user\ncontext=test\nrequirecalltoken=auto\n");
    push_options(text, builder, "alice");
}

/// What a register line gives an account as its secret; a key stands in brackets.
fn own_secret(account: &str) -> Option<&'static str> {
    match account {
        "plain1" => Some(PLAIN_SECRET),
        "rsa1" => Some("[rsa1]"),
        "nosecret" => None,
        _ => Some(SECRET),
    }
}

fn push_lines(text: &mut String, lines: &str) {
    for line in lines.split(',').filter(|line| !line.is_empty()) {
        writeln!(text, "{line}").unwrap();
    }
}

fn push_options(text: &mut String, builder: &Builder, account: &str) {
    for (name, line) in &builder.options {
        if name == account {
            writeln!(text, "{line}").unwrap();
        }
    }
}
