//! NAT-PMP and PCP: a request and its answer, each one datagram to the router.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::UdpSocket, time::timeout};

use super::{Asked, LIFETIME_S};
use crate::{
    net::udp::bind_here,
    probe::evidence::{Mapper, Removal},
    wire::port_mapping::{
        PORT,
        nat_pmp::{self, Request},
        pcp::{self, MapRequest},
    },
};

/// How long an answer is waited for before the request is sent again, each time twice as long
/// (RFC 6886 §3.1), and how often it is sent.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const TRANSMISSIONS: u32 = 4;

/// A socket that hears the router alone.
async fn socket(asked: Asked) -> io::Result<UdpSocket> {
    let socket = bind_here(SocketAddr::new(asked.client, 0))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.connect((asked.gateway, PORT)).await?;
    Ok(socket)
}

/// Sends a request until an answer comes that `read` takes; `None` where none does, or where the router
/// says that nothing listens.
async fn ask<T>(
    socket: &UdpSocket,
    request: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut buffer = [0; 1100]; // the largest PCP packet (RFC 6887 §7)
    for attempt in 0..TRANSMISSIONS {
        socket.send(request).await.ok()?;
        let answer = timeout(FIRST_WAIT * 2_u32.pow(attempt), async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(answer) = read(buffer.get(..length).unwrap_or_default()) {
                    return io::Result::Ok(answer);
                }
            }
        });
        match answer.await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(_)) => return None,
            Err(_) => {}
        }
    }
    None
}

/// Asks by NAT-PMP for the public address and for a mapping.
pub(super) async fn nat_pmp(asked: Asked) -> Mapper {
    use nat_pmp::Answer;

    let mut mapper = Mapper::default();
    let Ok(socket) = socket(asked).await else {
        return mapper;
    };
    let request = Request::ExternalAddress.encode();
    let address = ask(&socket, &request, |octets| match Answer::decode(octets)? {
        Answer::MappedUdp { .. } | Answer::Refused { opcode: 1, .. } => None,
        answer => Some(answer),
    });
    match address.await {
        Some(Answer::ExternalAddress(ip)) => {
            mapper.external = (!ip.is_unspecified()).then_some(ip.into());
        }
        Some(Answer::Refused { code, .. }) => mapper.refused = Some(nat_pmp::refusal(code).into()),
        Some(Answer::MappedUdp { .. }) | None => return mapper,
    }
    mapper.answered = true;
    let map = |external, lifetime_s| {
        Request::MapUdp {
            internal: asked.port,
            external,
            lifetime_s,
        }
        .encode()
    };
    let read = |octets: &[u8]| match Answer::decode(octets)? {
        answer @ Answer::MappedUdp { internal, .. } if internal == asked.port => Some(answer),
        answer @ Answer::Refused { opcode: 1, .. } => Some(answer),
        _ => None,
    };
    match ask(&socket, &map(asked.port, LIFETIME_S), read).await {
        Some(Answer::Refused { code, .. }) => mapper.refused = Some(nat_pmp::refusal(code).into()),
        Some(_) => {
            // An answer to the first request that comes late names a lifetime (RFC 6886 §3.4).
            let gone = |octets: &[u8]| {
                read(octets).filter(|answer| {
                    !matches!(answer, Answer::MappedUdp { lifetime_s, .. } if *lifetime_s > 0)
                })
            };
            let removed = ask(&socket, &map(0, 0), gone).await;
            mapper.mapping = Some(match removed {
                Some(Answer::MappedUdp { .. }) => Removal::Removed,
                _ => Removal::NotConfirmed,
            });
        }
        None => {
            // The answer may be what was lost.
            ask(&socket, &map(0, 0), read).await;
        }
    }
    mapper
}

/// Asks by PCP for a mapping, whose answer tells the public address.
pub(super) async fn pcp(asked: Asked, nonce: [u8; 12]) -> Mapper {
    use pcp::Answer;

    let mut mapper = Mapper::default();
    let Ok(socket) = socket(asked).await else {
        return mapper;
    };
    let map = |external, lifetime_s| {
        MapRequest {
            client: asked.client,
            nonce,
            internal: asked.port,
            external,
            lifetime_s,
        }
        .encode()
    };
    let read = |octets: &[u8]| match Answer::decode(octets)? {
        Answer::Mapped {
            nonce: other,
            internal,
            ..
        } if other != nonce || internal != asked.port => None,
        answer => Some(answer),
    };
    match ask(&socket, &map(asked.port, LIFETIME_S), read).await {
        Some(Answer::Mapped { external, .. }) => {
            mapper.answered = true;
            mapper.external = (!external.0.is_unspecified()).then_some(external.0);
            let gone = |octets: &[u8]| {
                read(octets).filter(|answer| {
                    !matches!(answer, Answer::Mapped { lifetime_s, .. } if *lifetime_s > 0)
                })
            };
            let removed = ask(&socket, &map(0, 0), gone).await;
            mapper.mapping = Some(match removed {
                Some(Answer::Mapped { .. }) => Removal::Removed,
                _ => Removal::NotConfirmed,
            });
        }
        Some(Answer::Refused { code }) => {
            mapper.answered = true;
            mapper.refused = Some(pcp::refusal(code).into());
        }
        Some(Answer::NatPmp) => {}
        None => {
            // The answer may be what was lost.
            ask(&socket, &map(0, 0), read).await;
        }
    }
    mapper
}
