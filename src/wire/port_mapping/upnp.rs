//! `UPnP` IGD: the description of a router, and the orders to its connection service in SOAP
//! (`UPnP` Device Architecture 1.1, §2 and §3; WANIPConnection:1).

use roxmltree::{Document, Node};

use super::ssdp::Url;

/// What a router says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Maker, model and name, as far as they are told, without repetition.
    pub device: String,
    /// The service that maps ports, where it has one.
    pub service: Option<Service>,
}

/// A service that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type, with the version.
    pub kind: String,
    /// Where it takes orders.
    pub control: Url,
}

/// The services that map ports, the best first (IGD:1 §2, IGD:2 §2).
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// The longest name that is kept.
const LONGEST: usize = 120;

impl Description {
    /// Reads the description that stood at `url`; `None` where it is none.
    #[must_use]
    pub fn parse(xml: &str, url: &Url) -> Option<Self> {
        let document = Document::parse(xml).ok()?;
        let root = child(document.root_element(), "device")?;
        let mut names: Vec<&str> = vec![];
        for field in ["manufacturer", "modelName", "modelNumber", "friendlyName"] {
            let text = child(root, field).and_then(|node| node.text());
            if let Some(text) = text.map(str::trim).filter(|text| !text.is_empty())
                && !names.iter().any(|name| name.contains(text))
            {
                names.push(text);
            }
        }
        let device: String = names.join(" ").chars().take(LONGEST).collect();
        let base = child(document.root_element(), "URLBase")
            .and_then(|node| node.text())
            .and_then(|text| url.join(text.trim()))
            .unwrap_or_else(|| url.clone());
        let services: Vec<Service> = document
            .descendants()
            .filter(|node| node.has_tag_name_like("service"))
            .filter_map(|node| {
                let kind = child(node, "serviceType")?.text()?.trim();
                let control = child(node, "controlURL")?.text()?.trim();
                Some(Service {
                    kind: kind.to_owned(),
                    control: base.join(control)?,
                })
            })
            .collect();
        let service = SERVICES.iter().find_map(|wanted| {
            let mut services = services.iter();
            services.find(|service| service.kind == *wanted).cloned()
        });
        Some(Self { device, service })
    }
}

/// An order to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What is the public address?
    ExternalAddress,
    /// Map a UDP port to the same port of this host.
    Add {
        /// The port.
        port: u16,
        /// This host.
        client: std::net::IpAddr,
        /// For how long, in seconds.
        lifetime_s: u32,
    },
    /// Is the UDP port mapped?
    Look {
        /// The port.
        port: u16,
    },
    /// Unmap the UDP port.
    Delete {
        /// The port.
        port: u16,
    },
}

/// Code of an answer: no such mapping (WANIPConnection:1 §2.4).
pub const NO_SUCH_ENTRY: u16 = 714;

impl Order {
    /// The action that the service knows.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::ExternalAddress => "GetExternalIPAddress",
            Self::Add { .. } => "AddPortMapping",
            Self::Look { .. } => "GetSpecificPortMappingEntry",
            Self::Delete { .. } => "DeletePortMapping",
        }
    }

    /// The order as a SOAP message to a service of this kind.
    #[must_use]
    pub fn soap(self, kind: &str) -> String {
        let entry = |port: u16| {
            format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort>\
                 <NewProtocol>UDP</NewProtocol>"
            )
        };
        let arguments = match self {
            Self::ExternalAddress => String::new(),
            Self::Look { port } | Self::Delete { port } => entry(port),
            Self::Add {
                port,
                client,
                lifetime_s,
            } => format!(
                "{}<NewInternalPort>{port}</NewInternalPort>\
                 <NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled>\
                 <NewPortMappingDescription>iax2-natcheck, removed at once</NewPortMappingDescription>\
                 <NewLeaseDuration>{lifetime_s}</NewLeaseDuration>",
                entry(port)
            ),
        };
        let action = self.action();
        format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">\
             <s:Body><u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>"
        )
    }
}

/// What came in answer to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out; the public address, where that was asked for.
    Done(Option<std::net::IpAddr>),
    /// It was refused, with a code and words.
    Refused(u16, String),
}

impl Answer {
    /// Reads the SOAP message that came in answer; `None` where it is none.
    #[must_use]
    pub fn parse(xml: &str) -> Option<Self> {
        let document = Document::parse(xml).ok()?;
        let text = |wanted: &str| {
            let mut nodes = document.descendants();
            nodes
                .find(|node| node.has_tag_name_like(wanted))
                .and_then(|node| node.text())
                .map(str::trim)
        };
        if let Some(code) = text("errorCode") {
            let words = text("errorDescription").unwrap_or("no reason given");
            let words: String = words.chars().take(LONGEST).collect();
            return Some(Self::Refused(code.parse().ok()?, words));
        }
        document
            .descendants()
            .any(|node| node.tag_name().name().ends_with("Response"))
            .then(|| {
                let address = text("NewExternalIPAddress").and_then(|text| text.parse().ok());
                Self::Done(address)
            })
    }
}

/// The element inside another one, whatever its namespace: routers differ there.
fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name_like(name))
}

trait TagName {
    fn has_tag_name_like(&self, name: &str) -> bool;
}

impl TagName for Node<'_, '_> {
    fn has_tag_name_like(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = r#"<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>FRITZ!Box 7590</friendlyName><manufacturer>AVM Berlin</manufacturer>
<modelName>FRITZ!Box 7590</modelName><modelNumber>avm</modelNumber>
<deviceList><device><deviceList><device><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType>
<controlURL>/ctl/PPP</controlURL></service><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>ctl/IP</controlURL></service></serviceList></device></deviceList></device>
</deviceList></device></root>"#;

    fn url() -> Url {
        Url::parse("http://192.168.1.1:49000/igddesc.xml").unwrap()
    }

    #[test]
    fn a_router_is_described() {
        let found = Description::parse(DESCRIPTION, &url()).unwrap();
        assert_eq!(found.device, "AVM Berlin FRITZ!Box 7590 avm");
        let service = found.service.unwrap();
        assert_eq!(
            service.kind,
            "urn:schemas-upnp-org:service:WANIPConnection:1"
        );
        assert_eq!(
            service.control.to_string(),
            "http://192.168.1.1:49000/ctl/IP"
        );
    }

    #[test]
    fn a_router_may_be_without_the_service_and_must_be_xml() {
        let without = DESCRIPTION.replace("Connection:1", "Other:1");
        let found = Description::parse(&without, &url()).unwrap();
        assert_eq!(found.service, None);
        // Nobody has orders sent to another host.
        let elsewhere = DESCRIPTION.replace(">ctl/IP<", ">http://192.0.2.1/x<");
        let found = Description::parse(&elsewhere, &url()).unwrap();
        assert!(found.service.unwrap().kind.contains("WANPPP"));
        for text in ["", "<html/>", "<root><device>", "{}"] {
            assert_eq!(Description::parse(text, &url()), None, "{text}");
        }
        let entities = "<!DOCTYPE a [<!ENTITY x \"y\">]><root><device/></root>";
        assert_eq!(Description::parse(entities, &url()), None);
    }

    #[test]
    fn orders_are_xml_that_names_what_they_want() {
        let client = "192.168.1.10".parse().unwrap();
        let orders = [
            Order::ExternalAddress,
            Order::Add {
                port: 40123,
                client,
                lifetime_s: 60,
            },
            Order::Look { port: 40123 },
            Order::Delete { port: 40123 },
        ];
        for order in orders {
            let soap = order.soap(SERVICES[1]);
            let document = Document::parse(&soap).unwrap();
            let action = document
                .descendants()
                .find(|node| node.has_tag_name_like(order.action()))
                .unwrap();
            assert_eq!(action.tag_name().namespace(), Some(SERVICES[1]));
            if order != Order::ExternalAddress {
                let port = child(action, "NewExternalPort").and_then(|node| node.text());
                assert_eq!(port, Some("40123"));
            }
        }
    }

    #[test]
    fn answers_are_done_or_refused() {
        let body = |inner: &str| {
            format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inner}\
                 </s:Body></s:Envelope>"
            )
        };
        let done = body(
            "<u:GetExternalIPAddressResponse xmlns:u=\"x\"><NewExternalIPAddress>11.0.0.7\
             </NewExternalIPAddress></u:GetExternalIPAddressResponse>",
        );
        assert_eq!(
            Answer::parse(&done),
            Some(Answer::Done("11.0.0.7".parse().ok()))
        );
        let refused = body(
            "<s:Fault><detail><UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">\
             <errorCode>718</errorCode><errorDescription>ConflictInMappingEntry</errorDescription>\
             </UPnPError></detail></s:Fault>",
        );
        assert_eq!(
            Answer::parse(&refused),
            Some(Answer::Refused(718, "ConflictInMappingEntry".into()))
        );
        for text in ["", "<a/>", "not XML"] {
            assert_eq!(Answer::parse(text), None, "{text}");
        }
    }
}
