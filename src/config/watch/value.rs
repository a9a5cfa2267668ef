//! The values of the configuration, each read with what to write instead where it is wrong.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;

use super::table::{Text, Words};
use crate::{
    config::{ConfigError, place::Place, secret_file},
    guard::policy::Timer,
    net::{NetError, resolve::Target},
};

/// A host with or without a port.
pub(super) fn host(place: Place<'_>, given: &Text) -> Result<Target, ConfigError> {
    given
        .get_ref()
        .parse()
        .map_err(|error: NetError| place.at(given, &error.to_string()))
}

/// The user of a register line.
pub(super) fn user(place: Place<'_>, given: Option<&Text>) -> Result<Option<String>, ConfigError> {
    match given {
        Some(user) if !(1..=255).contains(&user.get_ref().len()) => Err(place.at(
            user,
            "the user has 1 to 255 octets; write it as in the register line",
        )),
        given => Ok(given.map(|user| user.get_ref().clone())),
    }
}

/// The secret in a file.
pub(super) fn secret(
    place: Place<'_>,
    key: &str,
    file: &Text,
) -> Result<SecretString, ConfigError> {
    secret_file::read(&place.beside(file.get_ref()))
        .map_err(|error| place.at(file, &format!("{key} {error}")))
}

/// An address with a port.
pub(super) fn socket(place: Place<'_>, key: &str, given: &Text) -> Result<SocketAddr, ConfigError> {
    let address: Option<SocketAddr> = given.get_ref().parse().ok();
    address
        .filter(|address| address.port() != 0)
        .ok_or_else(|| {
            place.at(
                given,
                &format!(
                    "{key} \"{}\" is no address with a port; write it as 127.0.0.1:5038",
                    given.get_ref()
                ),
            )
        })
}

/// The name of an interface, as the kernel takes it.
pub(super) fn interface(
    place: Place<'_>,
    key: &str,
    given: Option<&Text>,
) -> Result<Option<String>, ConfigError> {
    let fits = |name: &str| {
        (1..16).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_whitespace())
    };
    match given {
        Some(name) if !fits(name.get_ref()) => Err(place.at(
            name,
            &format!("{key} is no name of an interface; write it as ip link shows it"),
        )),
        given => Ok(given.map(|name| name.get_ref().clone())),
    }
}

/// A program with its arguments.
pub(super) fn command(
    place: Place<'_>,
    key: &str,
    given: Option<&Words>,
) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(words) = given else {
        return Ok(None);
    };
    let command: Vec<String> = words
        .get_ref()
        .iter()
        .map(|word| word.get_ref().clone())
        .collect();
    if command.first().is_none_or(String::is_empty) {
        return Err(place.at(
            words,
            &format!("{key} names no program; write [\"/path/to/program\", \"argument\"]"),
        ));
    }
    Ok(Some(command))
}

/// A timer of the NAT.
pub(super) fn timer(
    place: Place<'_>,
    key: &str,
    given: Option<&Text>,
    usual: Timer,
) -> Result<Timer, ConfigError> {
    match given {
        Some(given) => Ok(Timer {
            length: duration(place, key, given, 1, 86_400)?,
            given: true,
        }),
        None => Ok(usual),
    }
}

/// A duration of so many seconds.
pub(super) fn duration(
    place: Place<'_>,
    key: &str,
    given: &Text,
    least: u64,
    most: u64,
) -> Result<Duration, ConfigError> {
    humantime::parse_duration(given.get_ref())
        .ok()
        .filter(|time| (least..=most).contains(&time.as_secs()))
        .ok_or_else(|| {
            let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
            let (least, most) = (
                humantime::format_duration(least),
                humantime::format_duration(most),
            );
            place.at(
                given,
                &format!(
                    "{key} \"{}\" is no duration from {least} to {most}; write it as 90s or 5m",
                    given.get_ref()
                ),
            )
        })
}

/// A size of memory.
pub(super) fn octets(place: Place<'_>, given: &Text) -> Result<u64, ConfigError> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    units
        .iter()
        .find_map(|(unit, shift)| {
            let number: u64 = given.get_ref().strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(1 << shift).filter(|octets| *octets > 0)
        })
        .ok_or_else(|| {
            place.at(
                given,
                &format!(
                    "most_memory \"{}\" is no size; write it as 256MiB",
                    given.get_ref()
                ),
            )
        })
}
