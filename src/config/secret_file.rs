//! Files that hold one secret.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use secrecy::SecretString;
use tracing::warn;

use crate::config::ConfigError;

/// More than this is no secret.
const LONGEST: u64 = 64 * 1024;
/// The permission of others to read.
const OTHERS_READ: u32 = 0o004;

/// Reads a secret from a file, and warns where others may read it.
///
/// # Errors
///
/// [`ConfigError`] where the file cannot be read or holds no secret.
pub fn read(path: &Path) -> Result<SecretString, ConfigError> {
    let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
    warn_if_public(path, &file);
    from_reader(path, &mut file)
}

/// Reads a secret to the end of `reader`, which errors name `path`. One trailing newline is dropped.
///
/// # Errors
///
/// [`ConfigError`] where `reader` fails or holds no secret.
pub fn from_reader(path: &Path, reader: &mut impl Read) -> Result<SecretString, ConfigError> {
    let mut bytes = vec![];
    reader
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    let no_secret = |what| ConfigError::NoSecret {
        path: path.to_owned(),
        what,
    };
    if bytes.len() as u64 > LONGEST {
        return Err(no_secret("it is longer than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| no_secret("it is not UTF-8"))?;
    let secret = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text);
    if secret.is_empty() {
        return Err(no_secret("it is empty"));
    }
    Ok(SecretString::from(secret))
}

/// Warns where a file with secrets may be read by others.
pub(crate) fn warn_if_public(path: &Path, file: &File) {
    let public = file.metadata().is_ok_and(|metadata| {
        metadata.is_file() && metadata.permissions().mode() & OTHERS_READ != 0
    });
    if public {
        let path = path.display();
        warn!("others may read the secrets in {path}; take that away: chmod o-r {path}");
    }
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_used_with_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "s3cret\n").unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .finish();
            let secret = tracing::subscriber::with_default(subscriber, || read(&path).unwrap());
            assert_eq!(secret.expose_secret(), "s3cret");
            let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert_eq!(said.contains("chmod o-r"), warned, "{mode:o}: {said}");
            assert!(!said.contains("s3cret\n"));
        }
    }

    #[test]
    fn one_trailing_newline_is_dropped() {
        let rows: [(&[u8], Result<&str, &str>); 8] = [
            (b"s3cret", Ok("s3cret")),
            (b"s3cret\n", Ok("s3cret")),
            (b"s3cret\r\n", Ok("s3cret")),
            (b"s3cret\n\n", Ok("s3cret\n")),
            (b" s3cret ", Ok(" s3cret ")),
            (b"\n", Err("it is empty")),
            (b"", Err("it is empty")),
            (b"\xff", Err("it is not UTF-8")),
        ];
        for (mut bytes, expected) in rows {
            let secret = from_reader(Path::new("secret"), &mut bytes);
            match expected {
                Ok(text) => assert_eq!(secret.unwrap().expose_secret(), text),
                Err(words) => assert!(secret.unwrap_err().to_string().contains(words)),
            }
        }
    }

    #[test]
    fn endless_files_are_refused() {
        let secret = from_reader(Path::new("/dev/zero"), &mut io::repeat(0));
        assert!(secret.unwrap_err().to_string().contains("64 KiB"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/secret")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent/secret cannot be read (No such file or directory (os error 2)); give a \
             file that exists and that you may read"
        );
    }
}
