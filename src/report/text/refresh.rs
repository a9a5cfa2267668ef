//! What keeps a mapping open, in words.

use super::boxes;
use crate::report::model::{Edge, RefreshedBy};

/// A line for what does, and one for what does not.
pub(super) fn lines(seen: &RefreshedBy) -> impl Iterator<Item = String> {
    let mut kinds = vec![
        ("packets of ours".to_owned(), seen.outbound),
        ("INVAL".to_owned(), seen.inval),
    ];
    kinds.extend(seen.low_ttl.iter().map(|low| {
        let kind = format!("packets that die at hop {}", low.ttl);
        (kind, low.refreshes)
    }));
    let of = |wanted| -> Vec<String> {
        let kinds = kinds.iter().filter(|(_, seen)| *seen == Some(wanted));
        kinds.map(|(kind, _)| kind.clone()).collect()
    };
    let line = |kinds: Vec<String>, verb: &str| {
        (!kinds.is_empty()).then(|| format!("{verb}: {}", kinds.join(", ")))
    };
    let errors =
        (seen.ended_by_icmp_error == Some(false)).then(|| "ICMP errors end no mapping".into());
    [
        line(of(true), "kept open by"),
        line(of(false), "not kept open by"),
        errors,
    ]
    .into_iter()
    .flatten()
}

/// What became of mappings that packets of ours passed on all the time.
pub(super) fn busy(edge: &Edge) -> String {
    format!("with packets of ours all the time: {}", boxes::edge(edge))
}
