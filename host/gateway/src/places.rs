//! How many connections one address has open, so that one client cannot take every place of the listener.

use crate::Network;
use crate::peer::site;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Counts the open connections of each address. Holds an entry for an address only while it has one open.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
    proxies: Arc<[Network]>,
}

impl Places {
    /// At most `most` for one address; those of `proxies` are not counted.
    pub(crate) fn new(most: usize, proxies: &[Network]) -> Self {
        Self { taken: Arc::default(), most, proxies: proxies.into() }
    }

    /// A place for a connection from there; none where it has its share.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        if self.proxies.iter().any(|proxy| proxy.contains(address)) {
            return Some(Place { places: self.clone(), site: None });
        }
        let site = site(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(site).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), site: Some(site) })
    }
}

/// One connection's place; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    site: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(site) = self.site else { return };
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&site) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_44_one_address_has_its_share_and_no_more() {
        let places = Places::new(2, &["10.0.0.0/8".parse().unwrap()]);
        let take = |address: &str| places.take(address.parse().unwrap());
        let (first, second) = (take("203.0.113.5"), take("::ffff:203.0.113.5"));
        assert!(first.is_some() && second.is_some() && take("203.0.113.5").is_none());
        assert!(take("203.0.113.6").is_some(), "another address");
        let site = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(site.0.is_some() && site.1.is_some() && take("2001:db8::3").is_none(), "one site");
        let proxied: Vec<_> = (0..10).map(|_| take("10.1.1.1")).collect();
        assert!(proxied.iter().all(Option::is_some), "a proxy speaks for many");
        drop(first);
        assert!(take("203.0.113.5").is_some());
        drop((second, site, proxied));
        assert!(places.taken.lock().is_empty(), "nothing is kept of those that left");
    }
}
