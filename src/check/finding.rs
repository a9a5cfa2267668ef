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
