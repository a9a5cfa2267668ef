//! The only event of an experiment whose evidence says all the rest.

/// The experiment is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;
