//! `watch`: the guardian, and what is asked of one that runs.

use std::{
    fs,
    io::{ErrorKind, Write as _, stderr},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use iax2_natcheck::{
    config,
    os::asterisk,
    report::json,
    types::printable,
    watch::{self, Places, Setup, Told},
};

use crate::cli::{
    args::{Common, Format, WatchArgs, watch::WatchCommand},
    output,
    runtime::block_on,
};

/// Watches, or asks.
///
/// # Errors
///
/// Where the configuration is wrong, or the host does not grant what it needs.
pub(crate) fn run(args: &WatchArgs, common: &Common) -> Result<u8> {
    let as_json = match common.format() {
        Format::Text => false,
        Format::Json | Format::Jsonl => true,
        Format::Nagios => bail!(
            "watch has no line for monitoring; use the exit status of watch status, or its metrics"
        ),
        Format::Html | Format::Prometheus => bail!(
            "watch prints text or JSON; its page for Prometheus is [metrics] in its configuration"
        ),
    };
    match args.command {
        Some(WatchCommand::Status) => status(&args.config, as_json),
        Some(WatchCommand::History) => history(&args.config, as_json),
        None if args.import_cron.is_some() => import(args.import_cron.as_deref()),
        None if args.check_config => {
            let config = config::watch::read(&args.config)?;
            let mut needs = vec![];
            if config.needs_net_admin() {
                needs.push("CAP_NET_ADMIN");
            }
            if config.needs_net_raw() {
                needs.push("CAP_NET_RAW");
            }
            let needs = if needs.is_empty() {
                "no capabilities".to_owned()
            } else {
                needs.join(" and ")
            };
            output::print(&format!(
                "{}: {} providers; needs {needs}\n",
                args.config.display(),
                config.providers.len()
            ))?;
            Ok(0)
        }
        None => {
            let setup = setup(args)?;
            let again = || setup_again(args);
            block_on(async { Ok(watch::run(setup, again).await?) })?;
            Ok(0)
        }
    }
}

/// A configuration that does what the script is for. What was found in it goes to stderr.
fn import(script: Option<&Path>) -> Result<u8> {
    let path = script.unwrap_or(Path::new("-"));
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    // Where Asterisk cannot be asked, the providers are for the user to write.
    let registry = block_on(async { Ok(asterisk::Cli::default().registry().await) })?;
    let imported = config::watch::import_cron::import(&text, path, &registry.unwrap_or_default())?;
    output::print(&imported.toml)?;
    for note in imported.notes {
        // Where stderr is closed, nobody reads it.
        let _ = writeln!(stderr(), "{note}");
    }
    Ok(0)
}

fn setup(args: &WatchArgs) -> Result<Setup> {
    let mut setup = Setup::from(config::watch::read(&args.config)?);
    setup.dry_run |= args.dry_run;
    Ok(setup)
}

fn setup_again(args: &WatchArgs) -> Result<Setup, String> {
    setup(args).map_err(|error| format!("{error:#}"))
}

fn status(config: &Path, as_json: bool) -> Result<u8> {
    let view = watch::ask(&Places::read(config)?.socket)?;
    if as_json {
        output::print(&json::pretty(&view))?;
    } else {
        output::print(&printable(&view.text()))?;
    }
    Ok(view.status())
}

fn history(config: &Path, as_json: bool) -> Result<u8> {
    let path = Places::read(config)?.incidents;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("{} cannot be read; its owner and group may", path.display())
            });
        }
    };
    if as_json {
        output::print(&json::escaped(&text))?;
        return Ok(0);
    }
    let mut shown = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let told: Told = serde_json::from_str(line).map_err(|error| {
            anyhow!(
                "{}:{number}: this is no incident ({error}); the line may be cut by a full disk: delete it",
                path.display()
            )
        })?;
        shown.push_str(&told.text());
    }
    if shown.is_empty() {
        "No incident has ended yet.\n".clone_into(&mut shown);
    }
    output::print(&printable(&shown))?;
    Ok(0)
}
