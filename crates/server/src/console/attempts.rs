//! How often an address may try to sign in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Attempts of an address within [`WINDOW`].
const ATTEMPTS_MAX: u32 = 5;

const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// Who has tried lately.
#[derive(Default)]
pub(super) struct Attempts(HashMap<IpAddr, Tried>);

struct Tried {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// Counts one more, before anything is compared.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(super) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network(address);
        if !self.0.contains_key(&address) && self.0.len() >= ADDRESSES_MAX {
            self.make_room(now);
        }
        let tried = self.0.entry(address).or_insert(Tried { since: now, count: 0 });
        if now.duration_since(tried.since) >= WINDOW {
            *tried = Tried { since: now, count: 0 };
        }
        if tried.count >= ATTEMPTS_MAX {
            return Err((tried.since + WINDOW).duration_since(now));
        }
        tried.count += 1;
        Ok(())
    }

    /// Who knew the password has no need to guess.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.0.remove(&network(address));
    }

    /// Those go whose time is over, or where that is nobody's, the one who tried first.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, tried| now.duration_since(tried.since) < WINDOW);
        if self.0.len() >= ADDRESSES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, tried)| tried.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.0.remove(&oldest);
            }
        }
    }
}

/// Of IPv6 somebody has 64 bits of addresses at the least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_five_attempts_a_minute() {
        let mut attempts = Attempts::default();
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let start = Instant::now();
        for second in 0..5 {
            assert_eq!(attempts.take(one, start + Duration::from_secs(second)), Ok(()));
        }
        let late = start + Duration::from_secs(20);
        assert_eq!(attempts.take(one, late), Err(Duration::from_secs(40)));
        assert_eq!(attempts.take(other, late), Ok(()));
        assert_eq!(attempts.take(one, start + WINDOW), Ok(()), "a minute later");
        attempts.forget(one);
        assert_eq!(attempts.take(one, late), Ok(()), "it has signed in meanwhile");
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        for host in 1..=5 {
            assert_eq!(attempts.take(format!("2001:db8::{host}").parse().unwrap(), now), Ok(()));
        }
        assert!(attempts.take("2001:db8::6".parse().unwrap(), now).is_err());
        assert!(attempts.take("2001:db8:0:1::1".parse().unwrap(), now).is_ok());
        for _ in 0..5 {
            assert!(attempts.take("::ffff:10.0.0.1".parse().unwrap(), now).is_ok());
        }
        assert!(attempts.take("10.0.0.1".parse().unwrap(), now).is_err());
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            attempts.take(std::net::Ipv4Addr::from(number).into(), now).unwrap();
        }
        assert_eq!(attempts.0.len(), ADDRESSES_MAX);
        attempts.take("10.0.0.1".parse().unwrap(), now + WINDOW).unwrap();
        assert_eq!(attempts.0.len(), 1);
    }
}
