//! What a finding is, and the stable names of all of them.

use std::fmt;

/// How much a finding weighs, the lightest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A question stays open.
    Unknown,
    /// Something is wrong, calls still come through or may do so.
    Warning,
    /// Calls are lost.
    Critical,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its stable name.
    pub id: FindingId,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: String,
    /// The facts it rests on.
    pub because: Vec<String>,
    /// The ways to mend it, the best first.
    pub do_this: Vec<String>,
}

macro_rules! findings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $meaning:literal, $remedy:literal;)*) => {
        /// The stable name of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingId {
            $($(#[$doc])* $variant,)*
        }

        impl FindingId {
            /// Every finding this version can make, in the order of the manual.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the report, in kebab-case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the finding means, for the manual.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }

            /// What to do about it, for the manual; the finding itself says it with numbers.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                }
            }
        }
    };
}

findings! {
    /// Nothing comes back from the provider.
    ProviderUnreachable = "provider-unreachable",
        "Critical. No POKE was answered by the address that was asked. The finding tells an ICMP \
         error (and which) from silence, and from answers that come from another address, which \
         every IAX2 peer drops.",
        "Check name and port of the provider, let UDP to that port out, or, on a provider with \
         several addresses, bind the server to the one its clients use.";
    /// REGREJ with a cause.
    RegistrationRejected = "registration-rejected",
        "Critical. The registrar refuses the account and says why: wrong user name or secret, an \
         account that does not register, or an access list.",
        "Check the account at the provider against the user name and secret given here.";
    /// Naked REGREJ from call number 1.
    TokenRefused = "token-refused",
        "Critical. The registrar turns the request away before it looks at the account, without \
         a cause and from call number 1. Either the NAT gave two packets of one socket different \
         external ports, or the token was older than 10 s, or the limit of call numbers for this \
         address is used up.",
        "Make the NAT keep one external port for the PBX; else ask the provider to raise \
         maxcallnumbers or callnumberlimits for this address.";
    /// Requests to register stay unanswered.
    RegistrationTimeout = "registration-timeout",
        "Critical. The requests to register were not answered, or the answers stopped half way.",
        "Where POKEs are answered, ask the provider whether an access list or a ban holds this \
         address back; else look for a filter on the way.";
    /// Requests that come too fast for a wrong NAT entry to die.
    RegistrationHammering = "registration-hammering",
        "Warning. The PBX sends REGREQs that nobody answers, and never pauses for as long as a NAT \
         keeps an unanswered flow; or it sends more than one in 5 s over a minute. A wrong entry of \
         the NAT (see taint) then never dies, and some registrars ban who does that.",
        "Let the PBX be silent for longer than the timer of the NAT: stop it, or \
         iax2 unregister, for two minutes; or delete the entry on the router: iax2-natcheck taint --fix.";
    /// A challenge that was not answered.
    AuthUnsupported = "auth-unsupported",
        "Critical. The registrar asks for a method of authentication that was not given, or not \
         allowed: an RSA key, or the password in clear.",
        "Give --rsa-key FILE, or --allow-plaintext where the path is trusted, or have the \
         provider set auth=md5.";
    /// The external address depends on more than the socket.
    InconsistentNat = "inconsistent-nat",
        "Warning: the NAT gives one socket another external address or port for another \
         destination (RFC 4787 REQ-1), so that no peer but the one registered with can reach the \
         PBX. Critical: the address towards the one provider changed within a refresh, so that \
         calls go to an address that is gone.",
        "Linux: take random and fully-random out of the masquerade or SNAT rule. pf \
         (pfSense, OPNsense): an outbound rule with static port for the PBX.";
    /// A peer saw two addresses over time.
    MappingChanged = "mapping-changed",
        "Warning. One peer saw the same socket under two external addresses during the survey: \
         the mapping expired or the WAN address changed. Until the next registration, calls go \
         to the old one.",
        "Keep the mapping open (see short-mapping-timeout); on a line whose address changes, \
         register again at once: asterisk -rx \"iax2 reload\".";
    /// The NAT forgets sooner than the client registers again.
    ShortMappingTimeout = "short-mapping-timeout",
        "The NAT forgets an idle mapping sooner than the client registers again; calls that come \
         in the gap are lost although the registry says Registered. Critical when the way is \
         open less than 95 % of the time, else a warning. A warning too when the refresh is not \
         known and 60 s, the default of Asterisk, had to be assumed.",
        "Raise the UDP timeout of the NAT above the interval of registrations, or keep the \
         mapping open with qualify=yes and a qualifyfreqok below it, or ask the provider for a \
         shorter refresh.";
    /// NEW stays unanswered.
    AutoCongested = "auto-congested",
        "Critical. NEW was sent again and again and nothing came, though the provider answers \
         POKEs. Asterisk gives up with \"Auto-congesting call due to slow response\".",
        "A filter at the far end or on the way drops calls and lets POKEs pass; or the far end \
         expects this PBX at another address or port.";
    /// The far end refuses calls and says why.
    CallRejected = "call-rejected",
        "Critical. The far end refuses the call with a cause: no such extension, wrong account or \
         secret, no codec in common, no encryption.",
        "Check extension, account, secret and codecs against the far end.";
    /// Calls fail by rule.
    SystematicHangups = "systematic-hangups",
        "Critical. Calls end before their time at the same point each time, or the first call does, \
         or all from some number on. A device that loses packets now and then does not do that.",
        "Look at the frame and the cause that the finding names; a setting is wrong there.";
    /// Calls fail by chance.
    RandomRawHangups = "random-raw-hangups",
        "Calls end before their time, whichever they are and wherever they are: critical from one in \
         twenty on, else a warning. The finding gives the share with its confidence interval.",
        "Replace the NAT device, or go round it; where packets are lost on the line, mend the line.";
    /// A call failed, and there are too few to tell how.
    CallLost = "call-lost",
        "Critical. A call ended before its time, and too few were placed, or they failed too close \
         together, to tell chance from rule.",
        "Place more: call PROVIDER EXTENSION --calls 20.";
    /// A call late in the interval of registrations does not arrive.
    CallNotDelivered = "call-not-delivered",
        "Critical. A call to the registered account, placed shortly before it registers again, did not \
         arrive, and the same call right after a registration did.",
        "Keep the mapping open between two registrations, see short-mapping-timeout.";
    /// Audio passes one way alone.
    OneWayAudio = "one-way-audio",
        "Critical. The call is up and audio passes one way alone, or not at all; the finding says \
         which way is dead where that is known, and by what.",
        "Signalling and audio share one flow, so that a NAT by itself does not do this: look for \
         trunk=yes on one side alone, for codecs, and for filters by packet size.";
    /// Trunked audio alone does not pass.
    TrunkMismatch = "trunk-mismatch",
        "Critical. The same call has audio both ways plain, and not when its audio is trunked: only \
         one side trunks.",
        "Set trunk=yes on both sides for this peer, or on neither.";
    /// Audio passes, and nobody wants to listen to it.
    PoorAudio = "poor-audio",
        "Warning: the estimate of what a listener hears (ITU-T G.107) is below MOS 3.6, \"many users \
         dissatisfied\". Critical below 2.6. The finding gives loss, jitter and delay.",
        "Set the jitter buffer that the finding names on the side that listens; where packets are \
         lost, mend the line or take fewer calls at once.";
    /// Packets overtake each other.
    ReorderedPackets = "reordered-packets",
        "Warning. More than one packet of audio in a hundred came in the wrong order, which an Asterisk \
         without jitter buffer plays as it comes.",
        "jitterbuffer=yes on the side that listens; look for load sharing over several lines.";
    /// Digits do not arrive once and only once.
    DtmfMangled = "dtmf-mangled",
        "Warning. DTMF digits did not come back, or came back twice, from an extension that echoes \
         them.",
        "Look for a device on the way that repeats or drops packets.";
    /// The flow of the PBX's own port is dead at the NAT, others are not.
    TaintedMapping = "tainted-mapping",
        "Critical. Seen from the LAN: from the PBX's own port nothing is answered, while the same \
         provider answers every other port of the same host. The NAT goes on with a wrong entry \
         for that one flow, for as long as packets come before its timer ends.",
        "On the router, delete that one entry: iax2-natcheck taint --fix. Else let the PBX be \
         silent for longer than the router's timer, or give it another port (bindport).";
    /// A private source goes out untranslated.
    NullBinding = "null-binding",
        "Critical; a warning once the entry is deleted. On the router: the first packet of the flow \
         met no NAT rule (rules not loaded yet, a way out without a rule), so the private source \
         goes out as it is and no answer comes back. NAT rules are read for the first packet only, \
         and a client that retries keeps the entry for ever.",
        "iax2-natcheck taint --fix deletes that one entry. The leak guard, a rule at postrouting, \
         priority 300, that drops private sources towards public port 4569, keeps it from coming \
         back: iax2-natcheck snat prints it.";
    /// MASQUERADE took an inner address.
    WrongSourceMasquerade = "wrong-source-masquerade",
        "Critical; a warning once the entry is deleted. On the router: the WAN link was up and had \
         no address yet (PPP, dial on demand), so MASQUERADE took an inner address of the router.",
        "iax2-natcheck taint --fix deletes that one entry. The same rule at postrouting keeps it \
         from coming back, and so does SNAT where the WAN address is static.";
    /// The translated address is gone.
    StaleSource = "stale-source",
        "Critical; a warning once the entry is deleted. On the router: the flow leaves with a WAN \
         address that the router has no more: SNAT entries are never cleared, and those of \
         MASQUERADE are not where only the address of a PPP link changes.",
        "iax2-natcheck taint --fix deletes that one entry; call it from /etc/ppp/ip-up.d, or have \
         iax2-natcheck snat write the hook.";
    /// The translated address is that of another way out.
    WrongUplink = "wrong-uplink",
        "Critical; a warning once the entry is deleted. On the router: the flow leaves by one way \
         out with the address of another, as after a failover with SNAT.",
        "iax2-natcheck taint --fix deletes that one entry; MASQUERADE on every way out, or the same \
         call where the route is moved, keeps it from coming back.";
    /// The router's table is full.
    ConntrackTableFull = "conntrack-table-full",
        "Warning from 90 % on; critical where the table of connections is full, so that the router \
         drops new flows. Seen from the LAN, a warning: no new flow passes and one that the router knows \
         goes on, for which there may be other reasons, which the finding names.",
        "Raise net.netfilter.nf_conntrack_max, and look which host makes so many flows.";
    /// Several boxes in a row keep state.
    DoubleNat = "double-nat",
        "Warning. Two boxes in a row keep state for the PBX, mostly the router at home and a NAT of \
         the carrier. A way in stays open only while both remember it, and a port has to be forwarded \
         on both. nat hops reads the timer of each.",
        "Keep mappings open for the box that forgets first; make the inner router a bridge or give it \
         the public address, or ask the carrier for one.";
    /// The content of packets changes on the way.
    PayloadRewritten = "payload-rewritten",
        "Warning. What a reflector received differs from what was sent, or an address in the content of \
         its answers was replaced: an application layer gateway is at work (RFC 4787 REQ-10). The \
         finding shows the octets.",
        "Switch application layer gateways off on the router (SIP ALG, helper, fixup); IAX2 needs none.";
    /// A mapping ends however busy it is.
    AbsoluteLifetime = "absolute-lifetime",
        "Warning. The NAT ends a mapping at a certain age although packets pass all the time, so that no \
         keepalive keeps it. The next packet of the PBX opens another, mostly with another public port.",
        "Let packets follow each other within seconds (qualify), so that the gap is short; where the \
         port changes, register more often than the age, or go round the NAT with a tunnel.";
    /// Strangers do not get in.
    PortForwardMissing = "port-forward-missing",
        "Critical, and only with --inbound PORT, which says that hosts call which the PBX does not \
         register with. POKEs from the reflector's other address to that port of the public address \
         were not answered.",
        "Forward the UDP port to the PBX on every NAT in a row, and let it in on the PBX's own firewall.";
    /// MASQUERADE where SNAT could name the address.
    MasqueradeOnStaticWan = "masquerade-on-static-wan",
        "Warning. A rule of the router masquerades what leaves by a line whose address is static, and \
         no leak guard stands beside it. Where the line is up without an address for a moment, \
         MASQUERADE takes another address of the router, and the entry goes on with it for as long as \
         the PBX retries.",
        "Put SNAT to the static address in its place: iax2-natcheck snat shows how, with the way \
         back.";
    /// Nothing drops what leaves with a private source.
    NoLeakGuard = "no-leak-guard",
        "Warning. No rule behind the translation drops what would leave with a private source. A \
         packet that leaves over a fallback route, or before the rules are loaded, makes an entry \
         that translates nothing, and it goes on so for as long as the PBX retries.",
        "Add the leak guard beside the rules: iax2-natcheck snat shows it, with the unit that loads \
         it before them.";
    /// A node is seen at another port than the one it announces.
    AnnouncedPortChanged = "announced-port-changed",
        "Only with --profile allstarlink. The NAT gives packets of this host another public port than \
         they have here, and a node is known to the others by the port that it announces: who looks the \
         caller up by address and port refuses the call, and call tokens fail. Critical where the node's \
         own port was seen to change, else a warning.",
        "Let the NAT keep the node's port: a port forward with the same port outside and inside, static \
         port or no random for the node. For a second node behind one address give it another bindport \
         and forward that one, not 4569 to another port.";
    /// The main question stays open.
    NotMeasured = "not-measured",
        "Unknown. The main question of the command stays open; the finding names the fact that is \
         missing. Nothing is assumed in its place.",
        "Mostly: --reflector HOST (a host that runs iax2-natcheck serve) to time mappings, --user \
         and --secret-file (or --refresh) for the interval of registrations.";
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        let mut names: Vec<&str> = FindingId::ALL.iter().map(|id| id.as_str()).collect();
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        }));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FindingId::ALL.len());
    }
}
