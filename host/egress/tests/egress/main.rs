//! Egress as the sandbox uses it, against resolvers, dialers and servers that the tests control.

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod chunks;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod loopback;
#[cfg(test)]
mod placeholders;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod server;
#[cfg(test)]
mod world;
