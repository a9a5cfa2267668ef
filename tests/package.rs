//! The Debian package: made, read by lintian, installed on a fresh Debian, tried there, and removed.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Debian of essential packages alone, which `tests/all` fetches.
const DEBIAN: &str = "target/peers/debian";
const NAME: &str = "iax2-natcheck";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command says, which must succeed.
fn told(program: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let tools = root().join("target/peers/bin");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}{complaint}");
    said
}

/// The package of the program that the tests run.
fn package() -> PathBuf {
    let said = told("packaging/deb", &["dev"]);
    let path = said.lines().last().unwrap().trim();
    assert!(
        path.contains(concat!("_", env!("CARGO_PKG_VERSION"), "-1_")),
        "{said}"
    );
    path.into()
}

/// A command in the fresh Debian: a name space of its own for mounts, processes and the network.
fn inside(debian: &Path, script: &str) -> String {
    let debian = debian.display();
    let whole = format!(
        "mount -t proc proc {debian}/proc && mount --bind /dev/null {debian}/dev/null && \
         exec chroot {debian} /bin/sh -ec '{script}'"
    );
    let arguments = ["--mount", "--pid", "--fork", "--net", "sh", "-ec", &whole];
    told("unshare", &arguments)
}

#[test]
#[ignore = "needs root, cargo-deb, lintian and a fresh Debian"]
fn the_package_is_clean_installs_runs_and_goes() {
    let package = package();
    let tags = told(
        "lintian",
        &[
            "--fail-on=error".as_ref(),
            "--allow-root".as_ref(),
            package.as_os_str(),
        ],
    );
    assert!(!tags.lines().any(|line| line.starts_with("E: ")), "{tags}");

    let folder = tempfile::tempdir().unwrap();
    let debian = folder.path().join("debian");
    told(
        "cp",
        &[
            "--archive".as_ref(),
            root().join(DEBIAN).as_os_str(),
            debian.as_os_str(),
        ],
    );
    fs::write(debian.join("dev/null"), "").unwrap();
    fs::copy(&package, debian.join("package.deb")).unwrap();
    let files = "find / -xdev -path /proc -prune -o -name \"*iax2*\" -print";
    assert_eq!(inside(&debian, files), "", "fresh");

    inside(&debian, "dpkg --install /package.deb");
    let installed = inside(&debian, files);
    for path in [
        "/usr/bin/iax2-natcheck",
        "/usr/share/man/man1/iax2-natcheck.1.gz",
        "/usr/share/man/man5/iax2-natcheck.toml.5.gz",
        "/usr/share/bash-completion/completions/iax2-natcheck",
        "/usr/share/zsh/vendor-completions/_iax2-natcheck",
        "/usr/share/fish/vendor_completions.d/iax2-natcheck.fish",
        "/usr/lib/systemd/system/iax2-natcheck-serve.service",
        "/usr/lib/systemd/system/iax2-natcheck-check.service",
        "/usr/lib/systemd/system/iax2-natcheck-check.timer",
        "/usr/lib/systemd/system/iax2-natcheck-watch.service",
    ] {
        assert!(
            installed.lines().any(|line| line == path),
            "{path}: {installed}"
        );
    }
    // Nothing is started by itself.
    assert!(!installed.contains("wants/"), "{installed}");
    let version = inside(&debian, "iax2-natcheck --version");
    assert_eq!(version, format!("{NAME} {}\n", env!("CARGO_PKG_VERSION")));
    let samples = inside(
        &debian,
        "zcat -f /usr/share/doc/iax2-natcheck/README.md* | head -1; ls /usr/share/doc/iax2-natcheck/examples",
    );
    assert!(samples.starts_with("# iax2-natcheck\n"), "{samples}");
    assert!(samples.contains("users.toml"), "{samples}");

    // The guardian's sample, as the manual has it written.
    let sample = "iax2-natcheck config > /etc/watch.toml; iax2-natcheck watch --check-config --config /etc/watch.toml; rm /etc/watch.toml";
    inside(&debian, sample);

    // The first command of the README, where there is nothing but the package.
    let demo = inside(
        &debian,
        "iax2-natcheck demo --json --html /demo.html || test $? = 2",
    );
    let report: serde_json::Value = serde_json::from_str(&demo).unwrap();
    assert_eq!(report["findings"][0]["id"], "short-mapping-timeout");
    assert!(debian.join("demo.html").exists());

    inside(
        &debian,
        "rm /demo.html /package.deb; dpkg --purge iax2-natcheck",
    );
    let left = inside(&debian, files);
    let left: Vec<&str> = left
        .lines()
        .filter(|line| !line.starts_with("/var/lib/dpkg/"))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
}
