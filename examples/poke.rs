//! Sends one POKE to an IAX2 server and shows what comes back, with the codec and a plain socket.
//!
//! ```console
//! $ cargo run --example poke -- 127.0.0.1:4569
//! ```

use std::{
    env,
    error::Error,
    io::{Write as _, stdout},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use iax2_natcheck::{
    types::{CallNumber, SeqNo, Timestamp},
    wire::iax2::{
        command::{Command, FrameType},
        frame::{Frame, FullFrame},
        show::Show,
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    let server = env::args().nth(1).ok_or("usage: poke ADDRESS:PORT")?;
    writeln!(stdout(), "{}", poke(server.parse()?)?)?;
    Ok(())
}

/// Waits for the PONG, and tells it with the time it took.
pub(crate) fn poke(server: SocketAddr) -> Result<String, Box<dyn Error>> {
    let poke = Frame::Full(FullFrame {
        source: CallNumber::from_bits(4711),
        destination: CallNumber::NONE,
        retransmission: false,
        timestamp: Timestamp::from_millis(7),
        oseqno: SeqNo::ZERO,
        iseqno: SeqNo::ZERO,
        frame_type: FrameType::Iax,
        subclass: Command::Poke.into(),
        payload: &[],
    });
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(server)?;

    let began = Instant::now();
    socket.send(&poke.to_vec())?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    let took = began.elapsed();

    let answer = buffer.get(..length).unwrap_or_default();
    match Frame::decode(answer)? {
        Frame::Full(pong) if pong.command() == Some(Command::Pong) => {
            Ok(format!("{server} after {took:.1?}: {}", Show(answer)))
        }
        _ => Err(format!("{server} answers with no PONG: {}", Show(answer)).into()),
    }
}
