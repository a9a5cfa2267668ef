//! Builds a private network with a real NAT in it and shows what the far side sees. Needs `ip` and
//! `nft`, and no rights beyond those of an ordinary user.

use std::{io::Write, time::Duration};

use iax2_natcheck::lab::{
    kernel::{self, NatLab},
    network::{CLIENT, Network, Router, SERVER},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all: an ordinary user gets the rights it needs only before the first thread starts.
    let rights = kernel::enter()?;
    let lab = NatLab::new(&Network::behind([Router::masquerade(30, 120)]))?;
    let server = lab.server().bind((SERVER, 4569).into())?;
    let client = lab.client().bind((CLIENT, 4569).into())?;
    server.set_read_timeout(Some(Duration::from_secs(2)))?;
    client.send_to(b"who am I?", (SERVER, 4569))?;
    let (_, seen) = server.recv_from(&mut [0; 64])?;
    let local = client.local_addr()?;
    writeln!(
        std::io::stdout(),
        "{rights:?}: {local} is seen as {seen} behind the NAT"
    )?;
    Ok(())
}
