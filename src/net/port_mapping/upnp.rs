//! `UPnP` IGD: a search by multicast and to the router itself, then HTTP.

use std::{
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use minreq::Method;
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use super::{Asked, LIFETIME_S};
use crate::{
    net::udp::bind_here,
    probe::evidence::{Mapper, Removal},
    wire::port_mapping::{
        ssdp::{self, Url},
        upnp::{Answer, Description, NO_SUCH_ENTRY, Order, Service},
    },
};

/// How long a router has to answer a search; it was asked to take one second at most.
const SEARCH: Duration = Duration::from_millis(1800);
/// How often the search is sent, and how far apart.
const SEARCHES: u32 = 2;
const APART: Duration = Duration::from_millis(400);
/// How long one exchange over HTTP may take, in seconds.
const HTTP_S: u64 = 3;
/// The most that is read of an answer, in octets.
const LARGEST: u64 = 256 * 1024;

/// Looks for a router that speaks `UPnP`, and what it says of itself.
pub(super) async fn look(asked: Asked) -> (Mapper, Option<String>) {
    let Ok(Some(url)) = search(asked).await else {
        return (Mapper::default(), None);
    };
    // HTTP waits; the event loop must not.
    let talk = spawn_blocking(move || talk(&url, asked));
    talk.await.unwrap_or_default()
}

/// Where the router describes itself: that of the default route where it answers, else whoever does.
async fn search(asked: Asked) -> io::Result<Option<Url>> {
    let socket = bind_here(SocketAddr::new(asked.client, 0))?;
    socket.set_nonblocking(true)?;
    if let IpAddr::V4(client) = asked.client {
        SockRef::from(&socket).set_multicast_if_v4(&client)?;
        SockRef::from(&socket).set_multicast_ttl_v4(2)?;
    }
    let socket = UdpSocket::from_std(socket)?;
    let sending = async {
        for _ in 0..SEARCHES {
            for host in [
                ssdp::MULTICAST.parse().ok(),
                Some(SocketAddr::new(asked.gateway, ssdp::PORT)),
            ] {
                for (kind, host) in ssdp::GATEWAYS.into_iter().zip(std::iter::repeat(host)) {
                    if let Some(host) = host {
                        // One of the two ways may be closed.
                        let _ = socket
                            .send_to(ssdp::search(kind, host).as_bytes(), host)
                            .await;
                    }
                }
            }
            sleep(APART).await;
        }
        std::future::pending::<()>().await;
    };
    let until = Instant::now() + SEARCH;
    let listening = async {
        let mut other = None;
        let mut buffer = [0; 2048];
        loop {
            let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await else {
                return other;
            };
            // An ICMP error about one of the searches is no answer to the others.
            let Ok((length, source)) = received else {
                continue;
            };
            let answer = buffer.get(..length).unwrap_or_default();
            let url = ssdp::location(answer, source.ip());
            if source.ip() == asked.gateway && url.is_some() {
                return url;
            }
            other = other.or(url);
        }
    };
    tokio::select! {
        found = listening => Ok(found),
        () = sending => Ok(None),
    }
}

/// Reads the description, asks for the public address, and makes and removes a mapping.
fn talk(url: &Url, asked: Asked) -> (Mapper, Option<String>) {
    let mut mapper = Mapper::default();
    let xml = fetch(Method::Get, url, &[], String::new());
    let Some(found) = xml.and_then(|xml| Description::parse(&xml, url)) else {
        return (mapper, None);
    };
    let device = (!found.device.is_empty()).then_some(found.device);
    let Some(service) = found.service else {
        mapper.refused = Some("it offers no service that maps ports".into());
        return (mapper, device);
    };
    mapper.answered = true;
    match order(&service, Order::ExternalAddress) {
        Some(Answer::Done(external)) => {
            mapper.external = external.filter(|ip| !ip.is_unspecified());
        }
        Some(Answer::Refused(code, words)) => mapper.refused = Some(format!("{words} ({code})")),
        None => {}
    }
    let port = asked.port;
    let add = Order::Add {
        port,
        client: asked.client,
        lifetime_s: LIFETIME_S,
    };
    match order(&service, add) {
        Some(Answer::Done(_)) => {
            order(&service, Order::Delete { port });
            let is_gone = matches!(
                order(&service, Order::Look { port }),
                Some(Answer::Refused(NO_SUCH_ENTRY, _))
            );
            mapper.mapping = Some(if is_gone {
                Removal::Removed
            } else {
                Removal::NotConfirmed
            });
        }
        Some(Answer::Refused(code, words)) => mapper.refused = Some(format!("{words} ({code})")),
        // The answer may be what was lost.
        None => {
            order(&service, Order::Delete { port });
        }
    }
    (mapper, device)
}

fn order(service: &Service, order: Order) -> Option<Answer> {
    let headers = [
        ("Content-Type", "text/xml; charset=\"utf-8\"".to_owned()),
        (
            "SOAPAction",
            format!("\"{}#{}\"", service.kind, order.action()),
        ),
    ];
    let xml = fetch(
        Method::Post,
        &service.control,
        &headers,
        order.soap(&service.kind),
    )?;
    Answer::parse(&xml)
}

/// One exchange over HTTP, whatever its status: a refusal has a body, too.
fn fetch(method: Method, url: &Url, headers: &[(&str, String)], body: String) -> Option<String> {
    let mut request = minreq::Request::new(method, url.to_string())
        .with_timeout(HTTP_S)
        .with_follow_redirects(false)
        .with_max_headers_size(16 * 1024);
    for (name, value) in headers {
        request = request.with_header(*name, value.as_str());
    }
    if !body.is_empty() {
        request = request.with_body(body);
    }
    let mut octets = vec![];
    let answer = request.send_lazy();
    let answer = answer.inspect_err(|error| tracing::debug!(%url, %error, "no answer over HTTP"));
    answer.ok()?.take(LARGEST).read_to_end(&mut octets).ok()?;
    Some(String::from_utf8_lossy(&octets).into_owned())
}
