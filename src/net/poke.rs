//! One POKE from a fresh port, which shares no entry of any NAT with whatever else this host sends.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use crate::{
    net::{NetError, udp::Ground},
    types::{CallNumber, PeerAddr, Timestamp},
    wire::iax2::{
        command::Command,
        frame::{Frame, FullFrame},
    },
};

/// How often it is sent, and how long an answer is waited for after each.
const WAITS: [Duration; 3] = [
    Duration::from_millis(700),
    Duration::from_secs(1),
    Duration::from_millis(1300),
];

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poked {
    /// PONG came.
    Answered {
        /// From the sending of the one that was answered.
        rtt: Duration,
    },
    /// None was answered.
    Silent,
    /// A router or the far host said that it cannot be delivered.
    Unreachable,
    /// This host could not send it.
    NotSent,
}

/// Asks `peer`, three times within 3 s where it is silent.
///
/// # Errors
///
/// [`NetError::Open`] where the host grants no socket.
pub async fn poke(peer: PeerAddr) -> Result<Poked, NetError> {
    let any: SocketAddr = match peer.get() {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let opened = |source| NetError::Open { local: any, source };
    let socket = Ground::host().open(any)?;
    let socket = UdpSocket::from_std(socket).map_err(opened)?;
    if let Err(error) = socket.connect(peer.get()).await {
        tracing::debug!("no way to {peer}: {error}");
        return Ok(Poked::NotSent);
    }
    let number = CallNumber::from_bits(rand::random_range(2..0x7fff));
    let mut ended = Poked::Silent;
    for (time, wait) in (0..).step_by(1000).zip(WAITS) {
        let mut frame = FullFrame::poke_from(number, Timestamp::from_millis(time));
        frame.retransmission = time > 0;
        let sent = Instant::now();
        if let Err(error) = socket.send(&Frame::Full(frame).to_vec()).await {
            // What ICMP said about the last one is told at the next sending as well.
            let Some(meaning) = meaning(&error) else {
                tracing::debug!("nothing can be sent to {peer}: {error}");
                return Ok(Poked::NotSent);
            };
            ended = meaning;
            tokio::time::sleep(wait).await;
            continue;
        }
        match timeout_at(sent + wait, pong(&socket, number)).await {
            Ok(Ok(())) => {
                let rtt = sent.elapsed();
                return Ok(Poked::Answered { rtt });
            }
            Ok(Err(error)) => {
                ended = meaning(&error).unwrap_or(Poked::Silent);
                tokio::time::sleep_until(sent + wait).await;
            }
            Err(_) => ended = Poked::Silent,
        }
    }
    Ok(ended)
}

/// Waits for the PONG that belongs to this number.
async fn pong(socket: &UdpSocket, number: CallNumber) -> io::Result<()> {
    let mut octets = [0; 2048];
    loop {
        let length = socket.recv(&mut octets).await?;
        let datagram = octets.get(..length).unwrap_or_default();
        if let Ok(Frame::Full(frame)) = Frame::decode(datagram)
            && frame.destination == number
            && frame.command() == Some(Command::Pong)
        {
            if frame.source != CallNumber::STATELESS {
                acknowledge(socket, &frame).await;
            }
            return Ok(());
        }
    }
}

/// Yate repeats its PONG until it is acknowledged; Asterisk's comes from no call.
async fn acknowledge(socket: &UdpSocket, pong: &FullFrame<'_>) {
    let ack = FullFrame {
        source: pong.destination,
        destination: pong.source,
        retransmission: false,
        timestamp: pong.timestamp,
        oseqno: pong.iseqno,
        iseqno: pong.oseqno.next(),
        frame_type: pong.frame_type,
        subclass: Command::Ack.into(),
        payload: &[],
    };
    // Where it does not leave, the far end asks again, and nobody listens.
    let _ = socket.send(&Frame::Full(ack).to_vec()).await;
}

/// What an error says about the way; `None` where it says that this host did not send.
fn meaning(error: &io::Error) -> Option<Poked> {
    match error.raw_os_error() {
        Some(nix::libc::ECONNREFUSED | nix::libc::EHOSTUNREACH) => Some(Poked::Unreachable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_a_refusal_and_silence_are_told_apart() {
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer = PeerAddr::new(far.local_addr().unwrap());
        let answering = async {
            let mut octets = [0; 64];
            let (length, from) = far.recv_from(&mut octets).await.unwrap();
            let Ok(Frame::Full(poke)) = Frame::decode(&octets[..length]) else {
                panic!("no frame");
            };
            let pong = FullFrame {
                source: CallNumber::STATELESS,
                destination: poke.source,
                subclass: Command::Pong.into(),
                ..poke
            };
            let pong = Frame::Full(pong).to_vec();
            far.send_to(&pong, from).await.unwrap();
        };
        let (ended, ()) = tokio::join!(poke(peer), answering);
        assert!(matches!(ended.unwrap(), Poked::Answered { .. }));
        assert_eq!(poke(peer).await.unwrap(), Poked::Silent);
        drop(far);
        assert_eq!(poke(peer).await.unwrap(), Poked::Unreachable);
    }
}
