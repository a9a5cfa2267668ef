//! Floor 1: the IAX2 machines of both ends, sans-IO.

pub mod account;
pub mod admission;
pub mod auth;
pub mod cipher;
pub mod contract;
pub mod endpoint;
pub mod media;
pub mod registrar;
pub mod registration;
pub mod reliable;
pub mod stateless;
pub mod token;
