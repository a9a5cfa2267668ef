//! Rows of the table of figures, which `benches/all` collects.

#![allow(clippy::print_stdout, reason = "what the script reads")]

/// Prints a row: what was measured, what was required of it, the figure, and what stands beside it.
pub(crate) fn row(what: &str, required: &str, figure: &str, beside: &str) {
    println!("| {what} | {required} | {figure} | {beside} |");
}
