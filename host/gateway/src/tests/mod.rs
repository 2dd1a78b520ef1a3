//! The gateway over real parts, without a socket.

mod access;
mod audit;
mod errors;
mod events;
mod keys;
mod limits;
mod resources;
mod serving;
