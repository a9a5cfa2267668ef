//! Audio: the codec, what is sent, and what is made of that which comes back.
//!
//! [`g711`] turns samples into octets; [`tone`] and [`signal`] are what the two ends of a test call
//! send. A [`listener::Listener`] takes what arrives and says which of our blocks it is, how late, and
//! what is missing; [`directions`] concludes from that which way audio passes, [`jitter`] how deep a
//! buffer must be, and [`emodel`] what a listener hears of it.

use std::time::Duration;

pub mod directions;
pub mod emodel;
pub mod g711;
mod histogram;
pub mod jitter;
pub mod listener;
pub mod report;
pub mod signal;
pub mod tone;

/// Samples a second of every format that this floor decodes (G.711 §2).
pub const SAMPLE_RATE: u32 = 8000;
/// Samples of one block, and of the packet that carries it: 20 ms, the default of deployed peers.
pub const BLOCK: usize = 160;
/// How long a block lasts.
pub const BLOCK_TIME: Duration = Duration::from_millis(20);
/// The root mean square of 16-bit samples at 0 dBm0: that of the octets 1E 0B 0B 1E 9E 8B 8B 9E, which
/// G.711's table 6 defines as 0 dBm0. The A-law sequence of table 5 is 0.07 dB above it.
pub const ZERO_DBM0: f64 = 16_017.0;

/// The level of `samples` in dBm0; `None` where all are zero or there are none.
#[must_use]
#[allow(clippy::cast_precision_loss)] // counts of samples are far below 2^52
pub fn level_dbm0(samples: &[i16]) -> Option<f64> {
    let power: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (power > 0.0).then(|| 10.0 * (power / samples.len() as f64 / ZERO_DBM0.powi(2)).log10())
}
