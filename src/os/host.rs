//! Facts about this host for the report.

use sysinfo::System;

/// What runs under this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The operating system: `Linux`.
    pub os: String,
    /// The distribution and its version: `Debian GNU/Linux 12`.
    pub distribution: Option<String>,
    /// The kernel's release: `6.18.44`.
    pub kernel: Option<String>,
}

/// Asks the host about itself.
#[must_use]
pub fn host() -> Host {
    let distribution = System::name().map(|name| {
        System::os_version().map_or_else(|| name.clone(), |version| format!("{name} {version}"))
    });
    Host {
        os: "Linux".to_owned(),
        distribution,
        kernel: System::kernel_version(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_one_that_runs() {
        let running = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(host().kernel.as_deref(), Some(running.trim_end()));
    }
}
