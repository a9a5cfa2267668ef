//! One host of a virtual network: a network namespace, held by a file descriptor.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::{Deref, DerefMut},
    os::fd::AsRawFd,
    path::PathBuf,
    process::{self, Child, Command},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use super::program::{IP, NFT};
use crate::lab::error::LabError;

/// A network namespace. It vanishes, with everything in it, when this and every socket and process
/// inside are gone.
#[derive(Debug)]
pub struct Namespace {
    label: String,
    file: File,
}

impl Namespace {
    /// A new namespace with nothing but its loopback interface, which is up. The label serves
    /// messages only.
    ///
    /// # Errors
    ///
    /// [`LabError::Namespace`] without the rights for it, [`LabError::MissingProgram`] without `ip`.
    pub fn new(label: impl Into<String>) -> Result<Self, LabError> {
        let label = label.into();
        // The namespace belongs to the thread that made it; opening its file holds it when the
        // thread is gone.
        let opened = on_fresh_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = opened.map_err(|source| LabError::Namespace {
            namespace: label.clone(),
            source,
        })?;
        let namespace = Self { label, file };
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// What messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A path that other programs can enter it by while this process holds it (`nsenter --net=…`).
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            process::id(),
            self.file.as_raw_fd()
        ))
    }

    /// Runs a closure on a fresh thread inside. What it opens stays inside, wherever it is used.
    ///
    /// # Errors
    ///
    /// [`LabError::Enter`] where the kernel does not let the thread in.
    ///
    /// # Panics
    ///
    /// If the closure does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let done = on_fresh_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        done.map_err(|source| LabError::Enter {
            namespace: self.label.clone(),
            source,
        })
    }

    /// Starts a program inside. It is killed when the returned guest is dropped.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] where it does not start.
    pub fn command(&self, command: &mut Command) -> Result<Guest, LabError> {
        let started = self.run(|| command.spawn())?;
        let child = started.map_err(|error| LabError::Program {
            namespace: self.label.clone(),
            command: command.get_program().to_string_lossy().into_owned(),
            message: error.to_string(),
        })?;
        Ok(Guest { child })
    }

    /// A UDP socket inside.
    ///
    /// # Errors
    ///
    /// [`LabError::Bind`] where the address is taken or not one of this host.
    pub fn bind(&self, address: SocketAddr) -> Result<UdpSocket, LabError> {
        self.run(|| UdpSocket::bind(address))?
            .map_err(|source| LabError::Bind {
                namespace: self.label.clone(),
                address,
                source,
            })
    }

    /// Lays a cable: an interface here, an interface there, both up. Interface names have at most
    /// 15 characters.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] where a name is taken; [`LabError::MissingProgram`].
    pub fn connect(
        &self,
        interface: &str,
        other: &Self,
        other_interface: &str,
    ) -> Result<(), LabError> {
        let path = other.path();
        let path = path.display();
        self.ip(&[
            &format!(
                "link add name {interface} type veth peer name {other_interface} netns {path}"
            ),
            &format!("link set {interface} up"),
        ])?;
        other.ip(&[&format!("link set {other_interface} up")])
    }

    /// Gives an interface an address, usable at once.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] where the interface is missing or has the address already.
    pub fn address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<(), LabError> {
        // Duplicate address detection would keep an IPv6 address back for a second or two.
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        self.ip(&[&format!(
            "address add {address}/{prefix} dev {interface}{nodad}"
        )])
    }

    /// Sends everything without a route of its own to a gateway.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] where the gateway is on no link.
    pub fn default_route(&self, gateway: IpAddr) -> Result<(), LabError> {
        self.ip(&[&format!("route add default via {gateway}")])
    }

    /// Makes it a router.
    ///
    /// # Errors
    ///
    /// [`LabError::Setting`] without the rights.
    pub fn forward(&self) -> Result<(), LabError> {
        self.setting("net.ipv4.ip_forward", "1")?;
        self.setting("net.ipv6.conf.all.forwarding", "1")
    }

    /// Sets how long conntrack keeps UDP entries, in whole seconds. Its settings exist only once a
    /// rule needs conntrack.
    ///
    /// # Errors
    ///
    /// [`LabError::Setting`] where conntrack is not loaded.
    pub fn udp_timeouts(&self, timeout_s: u64, stream_s: u64) -> Result<(), LabError> {
        self.setting(
            "net.netfilter.nf_conntrack_udp_timeout",
            &timeout_s.to_string(),
        )?;
        self.setting(
            "net.netfilter.nf_conntrack_udp_timeout_stream",
            &stream_s.to_string(),
        )
    }

    /// Writes a setting of the network stack, named as `sysctl` does.
    ///
    /// # Errors
    ///
    /// [`LabError::Setting`] where it does not exist or may not be written.
    pub fn setting(&self, key: &str, value: &str) -> Result<(), LabError> {
        // Below /proc/sys/net the kernel shows the namespace of the thread that opens the file.
        let file = PathBuf::from("/proc/sys").join(key.replace('.', "/"));
        self.run(|| fs::write(file, value))?
            .map_err(|source| LabError::Setting {
                namespace: self.label.clone(),
                key: key.to_owned(),
                source,
            })
    }

    /// Runs orders of `ip`, one a line, without the leading `ip`; they stop at the first that fails.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] with the order that failed; [`LabError::MissingProgram`].
    pub fn ip(&self, orders: &[&str]) -> Result<(), LabError> {
        IP.run(self, &(orders.join("\n") + "\n"))
    }

    /// Loads an nft ruleset, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`LabError::Program`] with what nft says; [`LabError::MissingProgram`].
    pub fn nft(&self, ruleset: &str) -> Result<(), LabError> {
        NFT.run(self, ruleset)
    }
}

/// A program inside a namespace, killed and waited for when dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
}

impl Deref for Guest {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Guest {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only where the program is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a closure on a thread of its own, so that a namespace it enters is left with the thread.
fn on_fresh_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
