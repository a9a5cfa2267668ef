//! A measured number: three decimals, and no decimals where it is whole.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// The largest whole number that a double holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A measured number in the unit its key names, rounded to three decimals.
#[derive(Clone, Copy, Default, PartialEq, PartialOrd, Deserialize)]
#[serde(from = "f64")]
pub struct Number(f64);

impl Number {
    /// This number, rounded.
    #[must_use]
    pub fn new(value: f64) -> Self {
        let rounded = (value * 1000.0).round() / 1000.0;
        Self(if rounded.is_finite() { rounded } else { value })
    }

    /// A duration in seconds.
    #[must_use]
    pub fn seconds(duration: Duration) -> Self {
        Self::new(duration.as_secs_f64())
    }

    /// A duration in milliseconds.
    #[must_use]
    pub fn millis(duration: Duration) -> Self {
        Self::new(duration.as_secs_f64() * 1000.0)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            #[allow(clippy::cast_possible_truncation)] // whole, and within the exact range
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_decimals() {
        for (value, json) in [
            (30.0, "30"),
            (0.6, "0.6"),
            (10.123_456, "10.123"),
            (-0.5, "-0.5"),
            (0.0, "0"),
        ] {
            let number = Number::new(value);
            assert_eq!(serde_json::to_string(&number).unwrap(), json);
            assert_eq!(serde_json::from_str::<Number>(json).unwrap(), number);
            assert_eq!(number.to_string(), json);
        }
        let read: Number = serde_json::from_str("124.0").unwrap();
        assert_eq!(read, Number::new(124.0));
        assert_eq!(
            Number::millis(Duration::from_micros(10_100)),
            Number::new(10.1)
        );
    }
}
