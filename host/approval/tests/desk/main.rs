//! The desk as the host uses it: a real store, a real vault, a real log.

#[cfg(test)]
mod at_once;
#[cfg(test)]
mod play;
#[cfg(test)]
mod standing;
