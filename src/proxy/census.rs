//! Client connections of all workers: how many there are, and how many of them belong to one client.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

/// Bits of an IPv6 address that name a client: the rest it gives itself.
const V6_PREFIX: u32 = 64;

/// See the module's text. Workers touch it once for each connection, never for a request.
#[derive(Debug, Default)]
pub struct Census {
    all: AtomicUsize,
    of_client: DashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// There are too many in all.
    All,
    /// This client has too many.
    Client,
}

/// One connection, as long as anything refers to it: an upgraded one is counted as well.
#[derive(Debug)]
pub struct Counted {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    /// One more, of at most so many.
    ///
    /// # Errors
    /// There are too many.
    pub fn count(self: &Arc<Self>, most: usize) -> Result<Counted, Crowded> {
        // From here on it counts, and stops counting when it is dropped.
        let in_all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let counted = Counted { census: self.clone(), client: None };
        if in_all > most { Err(Crowded::All) } else { Ok(counted) }
    }

    /// Connections now.
    pub fn all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

impl Counted {
    /// It is one of this client, of at most so many.
    ///
    /// # Errors
    /// It has too many.
    pub fn belongs_to(&mut self, client: IpAddr, most: usize) -> Result<(), Crowded> {
        let client = prefix(client);
        let mut of_client = self.census.of_client.entry(client).or_insert(0);
        if *of_client >= most {
            return Err(Crowded::Client);
        }
        *of_client += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        if let Entry::Occupied(mut of_client) = self.census.of_client.entry(client) {
            *of_client.get_mut() -= 1;
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
    }
}

/// What of an address names a client.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> V6_PREFIX << V6_PREFIX).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(census: &Arc<Census>, client: &str) -> Result<Counted, Crowded> {
        let mut counted = census.count(5)?;
        counted.belongs_to(client.parse().unwrap(), 2)?;
        Ok(counted)
    }

    #[test]
    fn one_client_cannot_take_the_connections_of_others() {
        let census = Arc::new(Census::default());
        let first = count(&census, "192.0.2.1").unwrap();
        let _second = count(&census, "192.0.2.1").unwrap();
        assert_eq!(count(&census, "192.0.2.1").err(), Some(Crowded::Client));
        let _other = count(&census, "192.0.2.2").unwrap();
        drop(first);
        let _again = count(&census, "::ffff:192.0.2.1").unwrap();
        assert_eq!(count(&census, "192.0.2.1").err(), Some(Crowded::Client), "the same in another notation");
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let census = Arc::new(Census::default());
        let _own = [count(&census, "2001:db8:1:2::1").unwrap(), count(&census, "2001:db8:1:2:f::2").unwrap()];
        assert_eq!(count(&census, "2001:db8:1:2::3").err(), Some(Crowded::Client));
        assert!(count(&census, "2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn who_stands_for_many_is_limited_only_by_the_total() {
        let census = Arc::new(Census::default());
        let all: Vec<_> = (0..5).map(|_| census.count(5).unwrap()).collect();
        assert_eq!(census.count(5).err(), Some(Crowded::All));
        assert_eq!(census.all(), 5);
        drop(all);
        assert_eq!((census.all(), census.of_client.len()), (0, 0), "nothing is left behind");
    }

    #[test]
    fn clients_that_have_left_are_forgotten() {
        let census = Arc::new(Census::default());
        for number in 0..1000_u32 {
            drop(count(&census, &format!("10.0.{}.{}", number / 256, number % 256)).unwrap());
            let _both =
                [count(&census, "192.0.2.1"), count(&census, "192.0.2.1"), count(&census, "192.0.2.1")];
        }
        assert_eq!((census.all(), census.of_client.len()), (0, 0));
    }
}
