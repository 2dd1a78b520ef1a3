//! The gateway over real parts, without a socket.

mod access;
mod audit;
mod errors;
mod keys;
mod limits;
mod resources;
mod serving;
