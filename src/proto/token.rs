//! Tokens that prove a source address without state: a keyed MAC over the address and a coarse time.
//!
//! A call token (Asterisk since 2009, not in RFC 5456) is 8 printable characters over address, port and
//! an epoch of 10 s: a CALLTOKEN frame with it is no larger than any real request, so that nobody can be
//! flooded with our answers. A probe token is the same over the address alone, for the reflector, with
//! an epoch of its own.

use std::{
    fmt,
    hash::Hasher as _,
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use sha1::{Digest as _, Sha1};
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq as _;

use crate::types::PeerAddr;

/// Octets of a token.
pub const TOKEN_LENGTH: usize = 8;
/// A token may be cut down to this where a whole one has no room.
pub const SHORTEST_TOKEN: usize = 7;

/// Ties the machine's clock to the calendar: several servers that share a key must agree on epochs.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// An instant of the machine's clock …
    pub at: Instant,
    /// … and what the calendar said then.
    pub says: SystemTime,
}

impl WallClock {
    /// Seconds since 1970 at `now`; 0 for times before.
    #[must_use]
    pub fn unix_seconds(&self, now: Instant) -> u64 {
        let says = match now.checked_duration_since(self.at) {
            Some(later) => self.says.checked_add(later),
            None => self
                .says
                .checked_sub(self.at.saturating_duration_since(now)),
        };
        says.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs())
    }
}

/// The key of a server's tokens, 128 bits. Servers behind one name share it.
#[derive(Clone)]
pub struct TokenKey([u8; 16]);

impl TokenKey {
    /// The key with these octets, which must come from a random source.
    #[must_use]
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }
}

/// Why a file holds no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} octets are too few for a key; write 16 or more random ones")]
pub struct ShortKey {
    /// How many there are.
    pub length: usize,
}

impl TokenKey {
    /// The key that a file with this content stands for: a digest of all of it.
    ///
    /// # Errors
    ///
    /// Below 16 octets.
    pub fn from_file(content: &[u8]) -> Result<Self, ShortKey> {
        let digest: [u8; 20] = Sha1::digest(content).into();
        match digest.first_chunk() {
            Some(key) if content.len() >= 16 => Ok(Self(*key)),
            _ => Err(ShortKey {
                length: content.len(),
            }),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// Makes and checks one kind of token.
#[derive(Clone, Debug)]
pub struct Tokens {
    key: TokenKey,
    clock: WallClock,
    epoch: Duration,
    purpose: u8,
}

impl Tokens {
    /// How long a probe token is good at least.
    pub const PROBE_LIFETIME: Duration = Duration::from_secs(300);

    /// Call tokens: bound to address and port, good for 10 to 20 s.
    #[must_use]
    pub const fn for_calls(key: TokenKey, clock: WallClock) -> Self {
        Self {
            key,
            clock,
            epoch: Duration::from_secs(10),
            purpose: b'c',
        }
    }

    /// Probe tokens: bound to the address, good for 5 to 10 minutes.
    #[must_use]
    pub const fn for_probes(key: TokenKey, clock: WallClock) -> Self {
        Self {
            key,
            clock,
            epoch: Self::PROBE_LIFETIME,
            purpose: b'p',
        }
    }

    /// The token of a source address and port.
    #[must_use]
    pub fn issue(&self, peer: PeerAddr, now: Instant) -> [u8; TOKEN_LENGTH] {
        self.mac(peer, self.epoch_at(now))
    }

    /// Whether `token` is one that was issued to this source in this epoch or the one before, whole or cut
    /// down to no less than [`SHORTEST_TOKEN`].
    #[must_use]
    pub fn verify(&self, token: &[u8], peer: PeerAddr, now: Instant) -> bool {
        if !(SHORTEST_TOKEN..=TOKEN_LENGTH).contains(&token.len()) {
            return false;
        }
        let epoch = self.epoch_at(now);
        let [current, previous] = [epoch, epoch.wrapping_sub(1)].map(|epoch| {
            let mac = self.mac(peer, epoch);
            token.ct_eq(mac.get(..token.len()).unwrap_or(&mac))
        });
        (current | previous).into()
    }

    fn epoch_at(&self, now: Instant) -> u64 {
        self.clock.unix_seconds(now) / self.epoch.as_secs()
    }

    fn mac(&self, peer: PeerAddr, epoch: u64) -> [u8; TOKEN_LENGTH] {
        // 64 characters, six bits each: printable, never NUL, because Asterisk copies a token as a C string.
        const ALPHABET: [u8; 64] =
            *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut hasher = SipHasher24::new_with_key(&self.key.0);
        hasher.write_u8(self.purpose);
        hasher.write_u64(epoch);
        let address = peer.get();
        match address.ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        if self.purpose == b'c' {
            hasher.write_u16(address.port());
        }
        let mac = hasher.finish();
        std::array::from_fn(|at| ALPHABET[usize::try_from(mac >> (6 * at) & 63).unwrap_or(0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(now: Instant) -> (Tokens, Tokens) {
        let key = TokenKey::new([7; 16]);
        let clock = WallClock {
            at: now,
            says: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        };
        (
            Tokens::for_calls(key.clone(), clock),
            Tokens::for_probes(key, clock),
        )
    }

    fn peer(text: &str) -> PeerAddr {
        PeerAddr::new(text.parse().unwrap())
    }

    #[test]
    fn call_tokens_bind_address_port_and_time() {
        let now = Instant::now();
        let (calls, probes) = tokens(now);
        let alice = peer("192.0.2.1:4569");
        let token = calls.issue(alice, now);
        assert!(token.iter().all(u8::is_ascii_graphic));
        assert!(calls.verify(&token, alice, now + Duration::from_secs(10)));
        assert!(!calls.verify(&token, alice, now + Duration::from_secs(20)));
        assert!(!calls.verify(&token, peer("192.0.2.1:4570"), now));
        assert!(!calls.verify(&token, peer("192.0.2.2:4569"), now));
        assert!(calls.verify(&token[..7], alice, now));
        assert!(!calls.verify(&token[..6], alice, now));
        assert!(!calls.verify(&[&token[..], b"A"].concat(), alice, now));
        assert!(
            !probes.verify(&token, alice, now),
            "one kind is not the other"
        );
    }

    #[test]
    fn probe_tokens_bind_the_address_alone() {
        let now = Instant::now();
        let (_, probes) = tokens(now);
        let token = probes.issue(peer("192.0.2.1:4569"), now);
        assert!(probes.verify(&token, peer("192.0.2.1:9"), now + Duration::from_secs(299)));
        assert!(!probes.verify(&token, peer("192.0.2.2:4569"), now));
    }

    #[test]
    fn servers_that_share_a_key_agree() {
        let now = Instant::now();
        let (ours, _) = tokens(now);
        let (theirs, _) = tokens(now);
        let alice = peer("[2001:db8::7]:4569");
        assert!(theirs.verify(&ours.issue(alice, now), alice, now));
    }
}
