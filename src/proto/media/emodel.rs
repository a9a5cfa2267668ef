//! The E-model of ITU-T G.107 (narrow band): from delay, codec and loss to the rating R and the mean
//! opinion score a listener would give.
//!
//! What a test call cannot measure (loudness, noise, echo of the telephones) has the default of G.107
//! table 2, so the rating is of the path between two good telephones.

use std::time::Duration;

use super::BLOCK_TIME;
use crate::wire::iax2::format::Formats;

/// The basic signal-to-noise ratio Ro with all parameters at their defaults (G.107 §7.2).
pub const RO: f64 = 94.7688;
/// The simultaneous impairment Is at the defaults (G.107 §7.3).
pub const IS: f64 = 1.4136;
/// The default talker echo loudness rating TELR in dB (G.107 table 2).
pub const TELR: f64 = 65.0;
/// The default weighted echo path loss WEPL in dB (G.107 table 2).
pub const WEPL: f64 = 110.0;

/// How a codec fares (G.113 Appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// The equipment impairment factor Ie without loss.
    pub ie: f64,
    /// The packet-loss robustness factor Bpl; `None` where G.113 gives none.
    pub bpl: Option<f64>,
}

impl Codec {
    /// G.711 whose receiver plays silence for what is lost (Bpl of 10 ms packets).
    pub const G711: Self = Self::new(0.0, Some(4.3));
    /// G.711 with the concealment of its Appendix I (Bpl of 10 ms packets).
    pub const G711_CONCEALED: Self = Self::new(0.0, Some(25.1));
    /// G.729A with VAD, native concealment.
    pub const G729A: Self = Self::new(11.0, Some(19.0));
    /// G.723.1 at 6.3 kbit/s with VAD, native concealment.
    pub const G723: Self = Self::new(15.0, Some(16.1));
    /// GSM full rate. G.113 has a Bpl for the enhanced codec (10.0), which IAX2 does not carry, and
    /// none for this one.
    pub const GSM: Self = Self::new(20.0, None);
    /// G.726 at 32 kbit/s.
    pub const G726: Self = Self::new(7.0, None);

    const fn new(ie: f64, bpl: Option<f64>) -> Self {
        Self { ie, bpl }
    }

    /// The codec of a set of exactly one format; `None` where G.113 gives no values for narrow band.
    /// Only for G.711 does it matter whether the receiver conceals loss: the others always do.
    #[must_use]
    pub fn of(format: Formats, concealed: bool) -> Option<Self> {
        Some(match format.name()? {
            "ulaw" | "alaw" if concealed => Self::G711_CONCEALED,
            "ulaw" | "alaw" => Self::G711,
            "g729" => Self::G729A,
            "g723" => Self::G723,
            "gsm" => Self::GSM,
            "g726" | "g726aal2" => Self::G726,
            _ => return None,
        })
    }
}

/// What the estimate rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// The one-way delay from mouth to ear, see [`mouth_to_ear`]: Ta of G.107, and its T; Tr is twice
    /// that.
    pub one_way: Duration,
    /// The codec.
    pub codec: Codec,
    /// Packets that are lost or too late to be played, in percent: Ppl.
    pub loss_percent: f64,
    /// How bursty loss is, 1 where random, see [`burst_ratio`]: `BurstR`.
    pub burst_ratio: f64,
    /// The advantage factor A: 0 for a line, up to 20 where there is no other access.
    pub advantage: f64,
}

/// What comes of [`Inputs`]. R is [`RO`] - [`IS`] - the delay terms - `equipment` + A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The transmission rating R; 93.2 is the best of narrow band, below 50 nobody is content.
    pub rating: f64,
    /// The mean opinion score in conversation, 1 to 4.5: MOS-CQE.
    pub mos: f64,
    /// Idte: by talker echo.
    pub talker_echo: f64,
    /// Idle: by listener echo.
    pub listener_echo: f64,
    /// Idd: by delay alone.
    pub delay: f64,
    /// Ie-eff: by codec and loss.
    pub equipment: f64,
}

/// Rates a call (G.107 §7.1); `None` where packets are lost and the codec's robustness is not known.
#[must_use]
pub fn estimate(inputs: &Inputs) -> Option<Estimate> {
    let ta = inputs.one_way.as_secs_f64() * 1000.0;
    let equipment = effective_equipment(inputs)?;
    let (talker_echo, listener_echo, delay) =
        (talker_echo(ta), listener_echo(2.0 * ta), pure_delay(ta));
    let rating = RO - IS - talker_echo - listener_echo - delay - equipment + inputs.advantage;
    Some(Estimate {
        rating,
        mos: mos(rating),
        talker_echo,
        listener_echo,
        delay,
        equipment,
    })
}

/// The mean opinion score of a rating (G.107 Annex B). Below 6.5 its cubic would fall short of 1, the
/// lowest score there is.
#[must_use]
pub fn mos(rating: f64) -> f64 {
    if rating <= 0.0 {
        return 1.0;
    }
    if rating >= 100.0 {
        return 4.5;
    }
    let cubic = rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    (1.0 + 0.035 * rating + cubic).max(1.0)
}

/// The one-way delay from mouth to ear: half the round trip of the packets, the time it takes to fill
/// one packet, and the depth of the jitter buffer at the far end. That both ways take equally long is an
/// assumption; one end alone cannot tell.
#[must_use]
pub fn mouth_to_ear(round_trip: Duration, buffer: Duration) -> Duration {
    round_trip / 2 + BLOCK_TIME + buffer
}

/// How much longer the bursts of loss are than they would be if each packet were lost at random, the
/// `BurstR` of G.107 §7.5: 1 or more, `None` where nothing was lost or nothing came.
#[must_use]
#[allow(clippy::cast_precision_loss)] // counts of packets are far below 2^52
pub fn burst_ratio(received: u64, lost: u64, bursts: u64) -> Option<f64> {
    if received == 0 || lost == 0 || bursts == 0 {
        return None;
    }
    let observed = lost as f64 / bursts as f64;
    let random = (received + lost) as f64 / received as f64;
    Some((observed / random).max(1.0))
}

/// Ie-eff (G.107 §7.5).
fn effective_equipment(inputs: &Inputs) -> Option<f64> {
    let Codec { ie, bpl } = inputs.codec;
    let loss = inputs.loss_percent.clamp(0.0, 100.0);
    if loss == 0.0 {
        return Some(ie);
    }
    Some(ie + (95.0 - ie) * loss / (loss / inputs.burst_ratio.max(1.0) + bpl?))
}

/// Idd (G.107 §7.4.3): what delay does to a conversation, from 100 ms on.
fn pure_delay(ta: f64) -> f64 {
    if ta <= 100.0 {
        return 0.0;
    }
    let x = (ta / 100.0).log10() / 2_f64.log10();
    let sixth = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
}

/// Idte (G.107 §7.4.1). At the defaults its Roe is [`RO`].
fn talker_echo(t: f64) -> f64 {
    if t < 1.0 {
        return 0.0;
    }
    let growth = (1.0 + t / 10.0) / (1.0 + t / 150.0);
    let terv = TELR - 40.0 * growth.log10() + 6.0 * (-0.3 * t.powi(2)).exp();
    let re = 80.0 + 2.5 * (terv - 14.0);
    let half = (RO - re) / 2.0;
    (half + (half.powi(2) + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp())
}

/// Idle (G.107 §7.4.2).
fn listener_echo(tr: f64) -> f64 {
    let rle = 10.5 * (WEPL + 7.0) * (tr + 1.0).powf(-0.25);
    let half = (RO - rle) / 2.0;
    half + (half.powi(2) + 169.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(one_way_ms: u64, codec: Codec, loss_percent: f64) -> Estimate {
        estimate(&Inputs {
            one_way: Duration::from_millis(one_way_ms),
            codec,
            loss_percent,
            burst_ratio: 1.0,
            advantage: 0.0,
        })
        .unwrap()
    }

    #[track_caller]
    fn near(value: f64, expected: f64, within: f64) {
        assert!(
            (value - expected).abs() <= within,
            "{value}, not {expected}"
        );
    }

    #[test]
    fn the_defaults_give_the_published_rating() {
        let best = with(0, Codec::G711, 0.0);
        near(best.rating, 93.2, 0.05); // G.107 §7.7
        near(best.mos, 4.41, 0.005);
    }

    #[test]
    fn scores_are_those_of_annex_b() {
        // G.107 table B.1: lower limits of the categories of satisfaction.
        for (rating, score) in [
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
        ] {
            near(mos(rating), score, 0.007); // printed to two digits, one of them rounded up
        }
        near(mos(-5.0), 1.0, 0.0);
        near(mos(4.0), 1.0, 0.0);
        near(mos(120.0), 4.5, 0.0);
    }

    #[test]
    fn loss_of_g729_costs_what_subjective_tests_found() {
        // The table of measured Ie that G.113 gave for G.729A+VAD before the formula.
        for (loss, ie) in [
            (1.0, 15.0),
            (2.0, 19.0),
            (3.0, 23.0),
            (4.0, 26.0),
            (8.0, 36.0),
        ] {
            near(with(0, Codec::G729A, loss).equipment, ie, 0.6);
        }
        // And for G.723.1 at 6.3 kbit/s.
        for (loss, ie) in [
            (1.0, 19.0),
            (2.0, 24.0),
            (3.0, 27.0),
            (4.0, 32.0),
            (8.0, 41.0),
        ] {
            near(with(0, Codec::G723, loss).equipment, ie, 1.2);
        }
    }

    #[test]
    fn delay_costs_what_the_published_approximation_says() {
        // Cole and Rosenbluth (2001): Id = 0.024 d + 0.11 (d - 177.3) above 177.3 ms.
        let without = with(0, Codec::G711, 0.0).rating;
        for delay in [50_u32, 100, 150, 200, 250, 300] {
            let d = f64::from(delay);
            let published = 0.024 * d + 0.11 * (d - 177.3).max(0.0);
            let loss = without - with(u64::from(delay), Codec::G711, 0.0).rating;
            near(loss, published, 2.0);
        }
        // Idd by hand: X = 1 at 200 ms, X = 2 at 400 ms.
        near(with(200, Codec::G711, 0.0).delay, 3.04, 0.01);
        near(with(400, Codec::G711, 0.0).delay, 24.07, 0.01);
        near(with(100, Codec::G711, 0.0).delay, 0.0, 0.0);
    }

    #[test]
    fn concealment_and_bursts_count() {
        near(with(0, Codec::G711, 1.0).equipment, 17.92, 0.01);
        near(with(0, Codec::G711_CONCEALED, 1.0).equipment, 3.64, 0.01);
        let bursty = estimate(&Inputs {
            one_way: Duration::ZERO,
            codec: Codec::G711_CONCEALED,
            loss_percent: 5.0,
            burst_ratio: 2.0,
            advantage: 0.0,
        })
        .unwrap();
        near(bursty.equipment, 17.21, 0.01); // 95 * 5 / (5/2 + 25.1)
        assert!(bursty.rating < with(0, Codec::G711_CONCEALED, 5.0).rating);
    }

    #[test]
    fn an_unknown_robustness_is_not_made_up() {
        let lossy = Inputs {
            one_way: Duration::ZERO,
            codec: Codec::GSM,
            loss_percent: 1.0,
            burst_ratio: 1.0,
            advantage: 0.0,
        };
        assert_eq!(estimate(&lossy), None);
        near(with(0, Codec::GSM, 0.0).rating, 73.2, 0.05);
        assert_eq!(Codec::of(Formats::ILBC, true), None);
        assert_eq!(Codec::of(Formats::ALAW, true), Some(Codec::G711_CONCEALED));
    }

    #[test]
    fn bursts_are_compared_with_chance() {
        assert_eq!(burst_ratio(1000, 0, 0), None);
        assert_eq!(burst_ratio(0, 10, 1), None);
        // Ten percent at random: runs of 1/0.9 packets.
        near(burst_ratio(900, 100, 90).unwrap(), 1.0, 0.001);
        near(burst_ratio(900, 100, 20).unwrap(), 4.5, 0.001);
    }

    #[test]
    fn the_way_from_mouth_to_ear_has_three_parts() {
        let delay = mouth_to_ear(Duration::from_millis(100), Duration::from_millis(60));
        assert_eq!(delay, Duration::from_millis(130));
    }
}
