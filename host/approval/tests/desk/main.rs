//! The desk as the host uses it: a real store, a real vault, a real log.

#[cfg(test)]
mod play;
