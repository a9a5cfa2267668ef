//! Who may ask how it goes: people by a Unix socket, Prometheus by HTTP on a loopback address.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdUnixStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::timeout,
};

use crate::watch::{WatchError, metrics, picture::View};

/// How long one who asks may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How many may ask at once; the next one waits.
const AT_ONCE: usize = 8;
/// The most that is read of a question.
const QUESTION: usize = 8 * 1024;
/// The most that is read of an answer.
const ANSWER: u64 = 16 << 20;

/// What is told; the guardian puts in the newest.
pub(super) type Page = tokio::sync::watch::Receiver<Arc<str>>;

/// Listens where `watch status` asks. The owner and the group may.
pub(super) fn listen(path: &Path) -> Result<UnixListener, WatchError> {
    let failed = |reason| WatchError::Listen {
        what: path.display().to_string(),
        reason,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // The lock of the state says that whoever listened there is gone; a file that is no socket stays.
    match fs::symlink_metadata(path) {
        Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            fs::remove_file(path).map_err(failed)?;
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Answers those who ask by the socket.
pub(super) async fn status(listener: UnixListener, page: Page) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let page = Arc::clone(&page.borrow());
                tokio::spawn(async move {
                    let answered = async {
                        stream.write_all(page.as_bytes()).await?;
                        stream.shutdown().await
                    };
                    // Whoever does not read is left alone.
                    let _ = timeout(LIMIT, answered).await;
                    drop(place);
                });
            }
            Err(error) => refuse(&error).await,
        }
    }
}

/// Listens for Prometheus.
pub(super) async fn listen_http(address: SocketAddr) -> Result<TcpListener, WatchError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| WatchError::Listen {
            what: address.to_string(),
            reason,
        })
}

/// Answers GET /metrics.
pub(super) async fn http(listener: TcpListener, page: Page) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page.borrow());
                tokio::spawn(async move {
                    let _ = timeout(LIMIT, one(stream, &page)).await;
                    drop(place);
                });
            }
            Err(error) => refuse(&error).await,
        }
    }
}

async fn refuse(error: &io::Error) {
    tracing::debug!("a question is not taken: {error}");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// One question and its answer; the connection ends with it.
async fn one(mut stream: impl AsyncRead + AsyncWrite + Unpin, page: &str) -> io::Result<()> {
    let mut question = Vec::new();
    while !question.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut octets = [0; 1024];
        let length = stream.read(&mut octets).await?;
        question.extend_from_slice(octets.get(..length).unwrap_or_default());
        if length == 0 || question.len() > QUESTION {
            break;
        }
    }
    let line = question.split(|octet| *octet == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let mut words = line.split(' ');
    let (method, path) = (words.next(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (Some("GET" | "HEAD"), "/metrics") => ("200 OK", page),
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "The metrics are at /metrics.\n"),
        (Some("POST" | "PUT" | "DELETE"), _) => ("405 Method Not Allowed", "Only GET.\n"),
        _ => ("400 Bad Request", "This is no HTTP.\n"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        metrics::CONTENT_TYPE,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != Some("HEAD") {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Asks the guardian that listens there.
///
/// # Errors
///
/// [`WatchError::NoAnswer`] where none does, or this user may not ask.
pub fn ask(path: &Path) -> Result<View, WatchError> {
    let asked = || -> io::Result<View> {
        let stream = StdUnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut text = String::new();
        stream.take(ANSWER).read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(io::Error::from)
    };
    asked().map_err(|reason| WatchError::NoAnswer {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(question: &str) -> String {
        let (mut near, far) = tokio::io::duplex(2 * QUESTION);
        near.write_all(question.as_bytes()).await.unwrap();
        near.shutdown().await.unwrap();
        one(far, "page\n").await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_had_by_get_and_nothing_else_is() {
        let page = asked("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.ends_with("\r\n\r\npage\n"), "{page}");
        let rows = [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("nonsense", "400"),
            ("", "400"),
        ];
        for (question, status) in rows {
            let answer = asked(question).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
        let endless = asked(&"x".repeat(QUESTION + 1)).await;
        assert!(endless.starts_with("HTTP/1.1 400"), "{endless}");
    }
}
