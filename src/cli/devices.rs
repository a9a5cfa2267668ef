//! `devices`: the knowledge base of NAT devices.

use anyhow::{Result, bail};
use iax2_natcheck::report::devices::DeviceList;

use crate::cli::{
    args::{Common, DevicesArgs, Format},
    output,
};

/// Shows what is known of the boxes with these words.
///
/// # Errors
///
/// Where it cannot be written, or not in this format.
pub(crate) fn run(args: &DevicesArgs, common: &Common) -> Result<u8> {
    let list = DeviceList::of(&args.words.join(" "));
    let text = match common.format() {
        Format::Text => list.text(),
        Format::Json => list.json(),
        Format::Jsonl | Format::Html | Format::Nagios | Format::Prometheus => {
            bail!("devices measures nothing to monitor or to draw; use --format text or json")
        }
    };
    output::write(&text, common)?;
    Ok(0)
}
