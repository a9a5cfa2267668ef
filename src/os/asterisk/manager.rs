//! A running Asterisk, asked by its manager interface (AMI).
//!
//! It costs Asterisk a fraction of what a command line does, and tells some changes by itself. It does
//! not tell that a registrar has fallen silent: the registrations must be asked for.

pub mod message;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use self::message::{Inbox, Message};
use crate::{
    os::{OsError, asterisk::RegistryEntry},
    types::MappedAddr,
};

/// The most events that wait to be asked for; older ones are forgotten.
const WAITING: usize = 64;
/// The module of IAX2.
const MODULE: &str = "chan_iax2.so";

/// Where the interface is, and who asks.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where it listens.
    pub address: SocketAddr,
    /// The section of `manager.conf`.
    pub user: String,
    /// Its secret.
    pub secret: SecretString,
    /// How long one answer may take.
    pub limit: Duration,
}

/// What Asterisk tells unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A registration of IAX2 came through with another address than before, or was rejected.
    Registration,
    /// A module was loaded, unloaded or reloaded.
    Module,
    /// Asterisk ends.
    Shutdown,
}

/// What is done to the module of IAX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleOrder {
    /// Its configuration is read again, and everything registered anew; calls stay.
    Reload,
    /// It is taken out. Asterisk refuses while a call is up.
    Unload,
    /// It is put in.
    Load,
}

impl ModuleOrder {
    const fn load_type(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Unload => "unload",
            Self::Load => "load",
        }
    }
}

/// A call of IAX2 that is up or being set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name: `IAX2/PEER-NUMBER`.
    pub name: String,
    /// Its state in Asterisk's words: `Up`, `Ring`, `Ringing`, `Down`.
    pub state: String,
}

impl Channel {
    /// The call that an event tells of; `None` where it is none of IAX2.
    #[must_use]
    pub fn of(event: &Message) -> Option<Self> {
        let name = event.get("Channel")?;
        name.starts_with("IAX2/").then(|| Self {
            name: name.to_owned(),
            state: event.get("ChannelStateDesc").unwrap_or_default().to_owned(),
        })
    }

    /// The peer in the name; an address and a port where Asterisk knows no peer.
    #[must_use]
    pub fn peer(&self) -> &str {
        let name = self.name.strip_prefix("IAX2/").unwrap_or(&self.name);
        name.rsplit_once('-').map_or(name, |(peer, _)| peer)
    }
}

/// A peer and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerPeer {
    /// The section of the configuration.
    pub name: String,
    /// Its address; `None` while it has none.
    pub address: Option<IpAddr>,
    /// What qualify knows of it, in Asterisk's words.
    pub status: String,
}

impl ManagerPeer {
    /// The peer that an event tells of.
    #[must_use]
    pub fn of(event: &Message) -> Option<Self> {
        Some(Self {
            name: event.get("ObjectName")?.to_owned(),
            address: event.get("IPaddress").and_then(|ip| ip.parse().ok()),
            status: event.get("Status").unwrap_or_default().to_owned(),
        })
    }
}

/// A session.
#[derive(Debug)]
pub struct Manager {
    stream: TcpStream,
    inbox: Inbox,
    told: VecDeque<Told>,
    limit: Duration,
    address: SocketAddr,
    /// The answer that belongs to this number is waited for.
    asked: u64,
}

impl Manager {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// [`OsError::Manager`] where nobody listens or the other end is no manager interface,
    /// [`OsError::ManagerLogin`] where it does not take the secret.
    pub async fn connect(login: &Login) -> Result<Self, OsError> {
        let lost = |source| OsError::Manager {
            address: login.address,
            source,
        };
        let stream = timeout(login.limit, TcpStream::connect(login.address))
            .await
            .map_err(|_| lost(io::ErrorKind::TimedOut.into()))?
            .map_err(lost)?;
        let mut manager = Self {
            stream,
            inbox: Inbox::default(),
            told: VecDeque::new(),
            limit: login.limit,
            address: login.address,
            asked: 0,
        };
        let action = [
            ("Action", "Login"),
            ("Username", &login.user),
            ("Secret", login.secret.expose_secret()),
            ("Events", "system"),
        ];
        match manager.ask(&action).await {
            Ok(_) => Ok(manager),
            Err(OsError::Refused { answer, .. }) => Err(OsError::ManagerLogin {
                address: login.address,
                user: login.user.clone(),
                answer,
            }),
            Err(error) => Err(error),
        }
    }

    /// The registrations of this PBX with its providers.
    ///
    /// # Errors
    ///
    /// [`OsError::NoIax2`] where the module is not loaded, [`OsError::Unreadable`] where the answer
    /// is none that is known; else as [`Manager::command`].
    pub async fn registry(&mut self) -> Result<Vec<RegistryEntry>, OsError> {
        const ACTION: &str = "IAXregistry";
        let list = self.list(ACTION, "RegistrationsComplete").await?;
        list.iter()
            .filter(|message| message.get("Event") == Some("RegistryEntry"))
            .map(|message| registry_entry(message).map_err(|what| unreadable(ACTION, what)))
            .collect()
    }

    /// The calls of IAX2.
    ///
    /// # Errors
    ///
    /// As [`Manager::registry`].
    pub async fn channels(&mut self) -> Result<Vec<Channel>, OsError> {
        let list = self
            .list("CoreShowChannels", "CoreShowChannelsComplete")
            .await?;
        Ok(list.iter().filter_map(Channel::of).collect())
    }

    /// The peers of IAX2.
    ///
    /// # Errors
    ///
    /// As [`Manager::registry`].
    pub async fn peers(&mut self) -> Result<Vec<ManagerPeer>, OsError> {
        let list = self.list("IAXpeerlist", "PeerlistComplete").await?;
        Ok(list.iter().filter_map(ManagerPeer::of).collect())
    }

    /// Whether the module of IAX2 is loaded.
    ///
    /// # Errors
    ///
    /// As [`Manager::command`].
    pub async fn has_module(&mut self) -> Result<bool, OsError> {
        let action = [("Action", "ModuleCheck"), ("Module", MODULE)];
        match self.ask(&action).await {
            Ok(_) => Ok(true),
            Err(OsError::Refused { answer, .. }) if answer.contains("not loaded") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Loads, unloads or reloads the module of IAX2.
    ///
    /// # Errors
    ///
    /// [`OsError::Refused`] with Asterisk's words; else as [`Manager::command`].
    pub async fn module(&mut self, order: ModuleOrder) -> Result<(), OsError> {
        let action = [
            ("Action", "ModuleLoad"),
            ("Module", MODULE),
            ("LoadType", order.load_type()),
        ];
        self.ask(&action).await.map(drop)
    }

    /// What a command of the command line prints.
    ///
    /// # Errors
    ///
    /// [`OsError::Manager`] where the session has ended, [`OsError::Timeout`], or
    /// [`OsError::Refused`].
    pub async fn command(&mut self, command: &str) -> Result<String, OsError> {
        let answer = self
            .ask(&[("Action", "Command"), ("Command", command)])
            .await?;
        Ok(answer.all("Output").flat_map(|line| [line, "\n"]).collect())
    }

    /// Waits for what Asterisk tells unasked. May be given up at any time.
    ///
    /// # Errors
    ///
    /// [`OsError::Manager`] where the session has ended.
    pub async fn told(&mut self) -> Result<Told, OsError> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            if let Some(message) = self.inbox.take() {
                self.keep(&message);
                continue;
            }
            self.receive().await?;
        }
    }

    /// An answer of many parts, which `end` closes.
    async fn list(&mut self, action: &str, end: &str) -> Result<Vec<Message>, OsError> {
        self.ask(&[("Action", action)]).await?;
        let mut list = vec![];
        loop {
            let part = self.answer(action).await?;
            if part.get("Event") == Some(end) {
                return Ok(list);
            }
            list.push(part);
        }
    }

    /// Asks, and takes the first part of the answer.
    async fn ask(&mut self, fields: &[(&str, &str)]) -> Result<Message, OsError> {
        self.asked += 1;
        let name = fields.first().map_or("", |(_, name)| name);
        let mut text = String::new();
        for (key, value) in fields {
            // A line break would begin an action of its own.
            let value = value.replace(['\r', '\n'], " ");
            let _ = write!(text, "{key}: {value}\r\n");
        }
        let _ = write!(text, "ActionID: {}\r\n\r\n", self.asked);
        let sent = timeout(self.limit, self.stream.write_all(text.as_bytes())).await;
        sent.map_err(|_| self.late(name))?
            .map_err(|source| self.lost(source))?;
        let answer = self.answer(name).await?;
        let words = answer.get("Message").unwrap_or_default();
        match answer.get("Response") {
            Some("Success") => Ok(answer),
            Some("Error") if words.starts_with("Invalid/unknown command") => Err(OsError::NoIax2 {
                command: name.to_owned(),
            }),
            Some("Error") => Err(OsError::Refused {
                command: name.to_owned(),
                answer: words.to_owned(),
            }),
            _ => Err(unreadable(
                "manager interface",
                "the answer is neither Success nor Error",
            )),
        }
    }

    /// The next message that belongs to what was asked.
    async fn answer(&mut self, name: &str) -> Result<Message, OsError> {
        let limit = self.limit;
        timeout(limit, async {
            loop {
                while let Some(message) = self.inbox.take() {
                    let id = message.get("ActionID").and_then(|id| id.parse().ok());
                    if id == Some(self.asked) {
                        return Ok(message);
                    }
                    self.keep(&message);
                }
                self.receive().await?;
            }
        })
        .await
        .map_err(|_| self.late(name))?
    }

    fn keep(&mut self, message: &Message) {
        let told = match message.get("Event") {
            Some("Registry") if message.get("ChannelType") == Some("IAX2") => Told::Registration,
            Some("Load" | "Unload" | "Reload") => Told::Module,
            Some("Shutdown") => Told::Shutdown,
            _ => return,
        };
        if self.told.len() == WAITING {
            self.told.pop_front();
        }
        self.told.push_back(told);
    }

    async fn receive(&mut self) -> Result<(), OsError> {
        let mut octets = [0; 4096];
        loop {
            let ready = self.stream.readable().await;
            ready.map_err(|source| self.lost(source))?;
            return match self.stream.try_read(&mut octets) {
                Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => {
                    let octets = octets.get(..length).unwrap_or_default();
                    self.inbox
                        .push(octets)
                        .map_err(|broken| unreadable("manager interface", broken.0))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => Err(self.lost(error)),
            };
        }
    }

    const fn lost(&self, source: io::Error) -> OsError {
        OsError::Manager {
            address: self.address,
            source,
        }
    }

    fn late(&self, command: &str) -> OsError {
        OsError::Timeout {
            command: command.to_owned(),
            limit: self.limit,
        }
    }
}

const fn unreadable(command: &'static str, what: &'static str) -> OsError {
    OsError::Unreadable {
        command,
        line: 1,
        what,
    }
}

/// The registration that an event tells of.
///
/// # Errors
///
/// What is missing or cannot be read.
pub fn registry_entry(event: &Message) -> Result<RegistryEntry, &'static str> {
    let host = event.get("Host").ok_or("the host is missing")?;
    let perceived = match event.get("Perceived") {
        Some("<Unregistered>") => None,
        Some(address) => Some(
            address
                .parse()
                .map_err(|_| "the perceived address is none")?,
        ),
        None => return Err("the perceived address is missing"),
    };
    let refresh: u32 = event
        .get("Refresh")
        .and_then(|text| text.parse().ok())
        .ok_or("the refresh is no number")?;
    Ok(RegistryEntry {
        host: (host != "(null)" && !host.is_empty()).then(|| host.to_owned()),
        user: event
            .get("Username")
            .ok_or("the user is missing")?
            .to_owned(),
        perceived: perceived.map(MappedAddr::new),
        refresh: Duration::from_secs(refresh.into()),
        state: event
            .get("State")
            .filter(|state| !state.is_empty())
            .ok_or("the state is missing")?
            .to_owned(),
        user_cut: false,
    })
}

#[cfg(test)]
mod tests;
