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
    report::{html::incidents, json},
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
    let asks_history = matches!(args.command, Some(WatchCommand::History));
    if common.html.is_some() && !asks_history {
        bail!("only watch history has a page of HTML; leave --html out");
    }
    match common.format() {
        Format::Text | Format::Json | Format::Jsonl => {}
        Format::Html if asks_history => {}
        Format::Html => bail!("only watch history has a page of HTML; leave --format html out"),
        Format::Nagios => bail!(
            "watch has no line for monitoring; use the exit status of watch status, or its metrics"
        ),
        Format::Prometheus => bail!(
            "watch prints text or JSON; its page for Prometheus is [metrics] in its configuration"
        ),
    }
    match args.command {
        Some(WatchCommand::Status) => status(&args.config, common),
        Some(WatchCommand::History) => history(&args.config, common),
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

fn status(config: &Path, common: &Common) -> Result<u8> {
    let view = watch::ask(&Places::read(config)?.socket)?;
    let told = match common.format() {
        Format::Json => json::pretty(&view),
        Format::Jsonl => json::line(&view),
        _ => printable(&view.text()).into_owned(),
    };
    output::write(&told, common)?;
    Ok(view.status())
}

fn history(config: &Path, common: &Common) -> Result<u8> {
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
    let incidents = (1..)
        .zip(text.lines())
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                anyhow!(
                    "{}:{number}: this is no incident ({error}); the line may be cut by a full disk: delete it",
                    path.display()
                )
            })
        })
        .collect::<Result<Vec<Told>>>()?;
    if let Some(path) = &common.html {
        output::html(path, &incidents::render(&incidents))?;
    }
    let shown = match common.format() {
        Format::Json | Format::Jsonl => incidents.iter().map(json::line).collect(),
        Format::Html => incidents::render(&incidents),
        _ if incidents.is_empty() => "No incident has ended yet.\n".to_owned(),
        _ => {
            let text: String = incidents.iter().map(Told::text).collect();
            printable(&text).into_owned()
        }
    };
    output::write(&shown, common)?;
    Ok(0)
}
