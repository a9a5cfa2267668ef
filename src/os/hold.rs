//! Keeps a PBX's packets to certain hosts from leaving, by a table of nft that dies with this process.
//!
//! The table belongs to the process that made it (`flags owner`): an `nft` that is kept open, whose
//! standard input ends when this process does, however it does. A kernel that does not know such
//! tables gets an ordinary one; its elements expire by themselves, and the next start removes it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin},
    time::{sleep, timeout},
};

use crate::os::{OsError, program};

/// The name of the table, of family `inet`.
pub const TABLE: &str = "iax2_natcheck";

/// How long an order may take to show in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// Whose packets are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pbx {
    /// Its port.
    pub port: u16,
    /// Its address, where it is another host and this one its router; `None`: it is this host.
    pub behind: Option<IpAddr>,
}

/// What is held, and by whom.
#[derive(Debug)]
pub struct Hold {
    pbx: Pbx,
    keeper: Option<Keeper>,
    held: BTreeMap<SocketAddr, Instant>,
}

#[derive(Debug)]
struct Keeper {
    child: Child,
    input: ChildStdin,
    /// The kernel removes the table when the child ends.
    owns: bool,
}

impl Hold {
    /// Nothing is held, and no program runs.
    #[must_use]
    pub const fn new(pbx: Pbx) -> Self {
        Self {
            pbx,
            keeper: None,
            held: BTreeMap::new(),
        }
    }

    /// Holds packets to `peers` for `lasting` from now on, also where they are held already; then the
    /// kernel lets them go by itself.
    ///
    /// # Errors
    ///
    /// [`OsError::NoNft`] where the program is missing, [`OsError::NotHeld`] where the kernel does not
    /// have it.
    pub async fn place(&mut self, peers: &[SocketAddr], lasting: Duration) -> Result<(), OsError> {
        self.open().await?;
        let until = Instant::now() + lasting;
        self.held.extend(peers.iter().map(|peer| (*peer, until)));
        self.write_set().await?;
        for peer in peers {
            self.verify(*peer, true).await?;
        }
        Ok(())
    }

    /// Lets packets to `peers` go. Where nothing else is held, the table goes.
    ///
    /// # Errors
    ///
    /// As [`Hold::place`].
    pub async fn lift(&mut self, peers: &[SocketAddr]) -> Result<(), OsError> {
        let now = Instant::now();
        self.held
            .retain(|peer, until| *until > now && !peers.contains(peer));
        if self.keeper.is_none() {
            return Ok(());
        }
        if self.held.is_empty() {
            return self.close().await;
        }
        self.write_set().await?;
        for peer in peers {
            self.verify(*peer, false).await?;
        }
        Ok(())
    }

    /// Removes the table.
    ///
    /// # Errors
    ///
    /// [`OsError::NotHeld`] where the kernel keeps it.
    pub async fn close(&mut self) -> Result<(), OsError> {
        self.held.clear();
        let Some(mut keeper) = self.keeper.take() else {
            return Ok(());
        };
        let _ = keeper
            .order(&format!("delete table inet {TABLE}\nquit\n"))
            .await;
        if timeout(PATIENCE, keeper.child.wait()).await.is_err() {
            let _ = keeper.child.start_kill();
            let _ = keeper.child.wait().await;
        }
        if nft(&["list", "table", "inet", TABLE]).await? {
            remove_left_over().await?;
        }
        Ok(())
    }

    /// What is held now, and for how long yet.
    #[must_use]
    pub fn held(&self) -> Vec<(SocketAddr, Duration)> {
        let now = Instant::now();
        self.held
            .iter()
            .filter_map(|(peer, until)| Some((*peer, until.checked_duration_since(now)?)))
            .filter(|(_, left)| !left.is_zero())
            .collect()
    }

    async fn open(&mut self) -> Result<(), OsError> {
        if let Some(keeper) = &mut self.keeper {
            if keeper.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                return Ok(());
            }
            self.keeper = None;
            self.held.clear();
        }
        for owns in [true, false] {
            let mut child = tokio::process::Command::from(program::command("nft"))
                .arg("-i")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(|source| OsError::NoNft { source })?;
            let Some(input) = child.stdin.take() else {
                continue;
            };
            let mut keeper = Keeper { child, input, owns };
            keeper.order(&self.table(owns)).await?;
            let began = Instant::now();
            while began.elapsed() < PATIENCE {
                if nft(&["list", "table", "inet", TABLE]).await? {
                    if !owns {
                        tracing::info!(
                            "this kernel knows no tables with an owner: the next start removes \
                             table inet {TABLE} should this process be killed"
                        );
                    }
                    self.keeper = Some(keeper);
                    return Ok(());
                }
                if keeper.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
                sleep(LOOK).await;
            }
        }
        Err(OsError::NotHeld {
            what: "the table is not made",
        })
    }

    fn table(&self, owns: bool) -> String {
        let owner = if owns { "flags owner; " } else { "" };
        let Pbx { port, behind } = self.pbx;
        // Before connections are tracked: what is held keeps no entry alive.
        let v4 = format!("udp sport {port} ip daddr . udp dport @quiet counter drop; ");
        let v6 = format!("udp sport {port} ip6 daddr . udp dport @quiet6 counter drop; ");
        let (hook, rules) = match behind {
            None => ("output", v4 + &v6),
            Some(IpAddr::V4(ip)) => ("prerouting", format!("ip saddr {ip} {v4}")),
            Some(IpAddr::V6(ip)) => ("prerouting", format!("ip6 saddr {ip} {v6}")),
        };
        format!(
            "add table inet {TABLE} {{ {owner}\
             set quiet {{ typeof ip daddr . udp dport; flags timeout; }}; \
             set quiet6 {{ typeof ip6 daddr . udp dport; flags timeout; }}; \
             chain out {{ type filter hook {hook} priority -400; {rules}}}; }}\n"
        )
    }

    /// Writes what is held anew, in one step of the kernel's.
    async fn write_set(&mut self) -> Result<(), OsError> {
        let mut order = format!("flush set inet {TABLE} quiet; flush set inet {TABLE} quiet6");
        for (peer, left) in self.held() {
            let millis = left.as_millis().max(1);
            let set = set_of(peer);
            let _ = write!(
                order,
                "; add element inet {TABLE} {set} {{ {} . {} timeout {millis}ms }}",
                peer.ip(),
                peer.port()
            );
        }
        order.push('\n');
        let Some(keeper) = &mut self.keeper else {
            return Ok(());
        };
        keeper.order(&order).await
    }

    /// Waits until the kernel has the element, or has it no more.
    async fn verify(&self, peer: SocketAddr, there: bool) -> Result<(), OsError> {
        let element = format!("{{ {} . {} }}", peer.ip(), peer.port());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let has = nft(&["get", "element", "inet", TABLE, set_of(peer), &element]).await?;
            if has == there {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(OsError::NotHeld {
            what: if there {
                "the kernel has not taken the address"
            } else {
                "the kernel keeps the address"
            },
        })
    }
}

impl Keeper {
    async fn order(&mut self, text: &str) -> Result<(), OsError> {
        tracing::debug!("nft: {}", text.trim_end());
        let sent = async {
            self.input.write_all(text.as_bytes()).await?;
            self.input.flush().await
        };
        sent.await.map_err(|_| OsError::NotHeld {
            what: "nft has ended",
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.owns && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Without an owner the table would stay with what is still held.
            let mut delete = program::command("nft");
            let _ = delete
                .args(["delete", "table", "inet", TABLE])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Removes a table that an earlier process has left. Nothing happens where there is none.
///
/// # Errors
///
/// [`OsError::NoNft`], or [`OsError::NotHeld`] where the kernel does not remove it, as one that
/// another process owns.
pub async fn remove_left_over() -> Result<bool, OsError> {
    if !nft(&["list", "table", "inet", TABLE]).await? {
        return Ok(false);
    }
    if nft(&["delete", "table", "inet", TABLE]).await? {
        return Ok(true);
    }
    Err(OsError::NotHeld {
        what: "another process owns the table",
    })
}

const fn set_of(peer: SocketAddr) -> &'static str {
    match peer {
        SocketAddr::V4(_) => "quiet",
        SocketAddr::V6(_) => "quiet6",
    }
}

/// Whether `nft` does what these words ask for.
async fn nft(words: &[&str]) -> Result<bool, OsError> {
    let mut command = tokio::process::Command::from(program::command("nft"));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let status = timeout(PATIENCE, command.status())
        .await
        .map_err(|_| OsError::NotHeld {
            what: "nft does not end",
        })?;
    status
        .map(|status| status.success())
        .map_err(|source| OsError::NoNft { source })
}
