//! Tainted entries in real tables of connections: read, judged, deleted.

#[path = "taint/command.rs"]
mod command;
#[path = "taint/from_lan.rs"]
mod from_lan;
#[path = "taint/leaks.rs"]
mod leaks;
#[path = "taint/matrix.rs"]
mod matrix;
#[path = "taint/scale.rs"]
mod scale;
#[path = "taint/street.rs"]
mod street;
#[path = "support/support.rs"]
mod support;
#[path = "taint/table.rs"]
mod table;
