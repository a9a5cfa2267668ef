//! What is ordered of Asterisk: registering again, and its IAX2 channel out and in.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    os::{
        OsError,
        asterisk::manager::{Manager, ModuleOrder},
    },
    watch::{effects::Refusal, setup::Asterisk},
};

/// Has Asterisk register with all its providers now. Calls go on.
pub(super) async fn reregister(asterisk: &Asterisk) -> Result<(), Refusal> {
    if let Some(login) = &asterisk.manager {
        let mut manager = Manager::connect(login).await?;
        return match manager.module(ModuleOrder::Reload).await {
            Ok(()) => Ok(()),
            // Who may not load modules may give commands, perhaps.
            Err(OsError::Refused { .. }) => {
                manager.command("iax2 reload").await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
    }
    cli(asterisk, "iax2 reload").await.map(drop)
}

/// Takes the channel out, waits, and puts it in; sooner where the program ends meanwhile. Never with a call up: it is looked at just before, and
/// Asterisk itself refuses as well.
pub(super) async fn reload(
    asterisk: &Asterisk,
    pause: Duration,
    ending: &mut watch::Receiver<bool>,
) -> Result<(), Refusal> {
    let calls = calls(asterisk).await?;
    if calls > 0 {
        return Err(Refusal::Refused(format!("{calls} calls are up")));
    }
    unload(asterisk).await?;
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        _ = ending.wait_for(|ending| *ending) => {}
    }
    load(asterisk).await
}

/// Puts the channel in, where it is not in already.
pub(super) async fn load(asterisk: &Asterisk) -> Result<(), Refusal> {
    if let Some(login) = &asterisk.manager {
        let mut manager = Manager::connect(login).await?;
        if manager.has_module().await? {
            return Ok(());
        }
        return Ok(manager.module(ModuleOrder::Load).await?);
    }
    let said = cli(asterisk, "module load chan_iax2.so").await?;
    if said.contains("Loaded chan_iax2.so") || has_module(asterisk).await? {
        Ok(())
    } else {
        Err(Refusal::Failed(one_line(&said)))
    }
}

async fn unload(asterisk: &Asterisk) -> Result<(), Refusal> {
    if let Some(login) = &asterisk.manager {
        let mut manager = Manager::connect(login).await?;
        return Ok(manager.module(ModuleOrder::Unload).await?);
    }
    let said = cli(asterisk, "module unload chan_iax2.so").await?;
    if said.contains("Unloaded chan_iax2.so") {
        Ok(())
    } else {
        Err(Refusal::Refused(one_line(&said)))
    }
}

async fn calls(asterisk: &Asterisk) -> Result<usize, Refusal> {
    if let Some(login) = &asterisk.manager {
        let mut manager = Manager::connect(login).await?;
        return Ok(manager.channels().await?.len());
    }
    Ok(asterisk.cli.channels().await?.len())
}

async fn has_module(asterisk: &Asterisk) -> Result<bool, Refusal> {
    match asterisk.cli.registry().await {
        Ok(_) => Ok(true),
        Err(OsError::NoIax2 { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn cli(asterisk: &Asterisk, command: &str) -> Result<String, Refusal> {
    Ok(asterisk.cli.run(command).await?)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
