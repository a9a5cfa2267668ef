//! Tainted entries in real tables of connections: read, judged, deleted.

#[path = "taint/table.rs"]
mod table;
