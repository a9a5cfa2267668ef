//! Reads `tests/data/golden.txt`: the bytes of dialogues between real peers.

use std::collections::BTreeMap;

/// The bytes of every entry, by name.
pub fn all() -> BTreeMap<&'static str, Vec<u8>> {
    let mut entries = BTreeMap::new();
    for (number, line) in include_str!("../data/golden.txt").lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut columns = line.split('\t');
        let (Some(name), Some(hex), Some(_comment), None) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            panic!("golden.txt:{}: not three columns", number + 1);
        };
        let bytes = decode(hex).unwrap_or_else(|| panic!("golden.txt:{}: bad hex", number + 1));
        let earlier = entries.insert(name, bytes);
        assert!(earlier.is_none(), "golden.txt:{}: {name} again", number + 1);
    }
    entries
}

/// The bytes that hexadecimal digits, with spaces anywhere between octets, stand for.
pub fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = hex.chars().filter(|c| *c != ' ').collect();
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok(),
            _ => None,
        })
        .collect()
}
