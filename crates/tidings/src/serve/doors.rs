//! How many connections an address may have that ask for nothing: in the TLS handshake, before a request's head, kept alive
//! after an answer. Those of clients are counted elsewhere, by who they are; these cost a descriptor each all the same.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::network::{self, Networks};

/// The log is told of those that were turned away no more often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where connections come in.
pub(crate) struct Doors {
    /// 0 is no limit.
    max: usize,
    /// Not counted.
    trusted: Networks,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    by_party: HashMap<IpAddr, usize>,
    told_at: Option<Instant>,
    turned_away: usize,
}

impl Doors {
    pub(crate) fn new(max: usize, trusted: Networks) -> Arc<Self> {
        Arc::new(Self {
            max,
            trusted,
            waiting: Mutex::default(),
        })
    }

    /// A place for a connection that has just come; none where its address has too many. Who has no address is on this machine,
    /// and not counted.
    pub(crate) fn come(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let counted = address.filter(|address| self.max > 0 && !self.trusted.hold(*address));
        let party = counted.map(network::party);
        if let (Some(address), Some(party)) = (counted, party) {
            let mut waiting = self.waiting.lock();
            let count = waiting.by_party.entry(party).or_insert(0);
            if *count >= self.max {
                waiting.turn_away(address, self.max);
                return None;
            }
            *count += 1;
        }
        Some(Place {
            doors: Arc::clone(self),
            party: party.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            state: Mutex::new(party.map_or(State::Gone, |_| State::Waiting)),
        })
    }

    fn enter(&self, party: IpAddr) {
        *self.waiting.lock().by_party.entry(party).or_insert(0) += 1;
    }

    fn leave(&self, party: IpAddr) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.by_party.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                waiting.by_party.remove(&party);
            }
        }
    }
}

impl Waiting {
    fn turn_away(&mut self, address: IpAddr, max: usize) {
        self.turned_away += 1;
        let now = Instant::now();
        if self.told_at.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            tracing::warn!(
                %address, max, turned_away = self.turned_away,
                "connections are closed: their address has too many on which nothing is asked"
            );
            self.told_at = Some(now);
            self.turned_away = 0;
        }
    }
}

/// A connection's place among those of its address. It waits at first.
pub(crate) struct Place {
    doors: Arc<Doors>,
    party: IpAddr,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// A request is under way.
    Busy,
    /// It doesn't count, or no longer.
    Gone,
}

impl Place {
    /// Looks again whether a request is under way.
    pub(crate) fn update(&self, is_busy: impl FnOnce() -> bool) {
        let mut state = self.state.lock();
        match (*state, is_busy()) {
            (State::Waiting, true) => {
                self.doors.leave(self.party);
                *state = State::Busy;
            }
            (State::Busy, false) => {
                self.doors.enter(self.party);
                *state = State::Waiting;
            }
            _ => {}
        }
    }

    /// The connection has ended, or is a client's from now on.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut *state, State::Gone) == State::Waiting {
            self.doors.leave(self.party);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A quarter of the descriptors that the process may have; no limit where that can't be told.
pub(crate) fn idle_per_address() -> usize {
    #[cfg(target_os = "linux")]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit
            .current
            .map_or(0, |descriptors| usize::try_from(descriptors / 4).unwrap_or(0).max(1))
    }
    #[cfg(not(target_os = "linux"))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_ask_for_nothing_count_and_all_of_a_network_together() {
        let mut trusted = Networks::default();
        trusted.push([10, 9, 0, 0].into(), 16);
        let doors = Doors::new(2, trusted);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let come = |text: &str| doors.come(Some(address(text)));
        let one = come("10.0.0.1").expect("a place");
        let two = come("::ffff:10.0.0.1").expect("a place");
        assert!(come("10.0.0.1").is_none());
        let other = come("10.0.0.2").expect("a place");

        one.update(|| true);
        let three = come("10.0.0.1").expect("a place");
        // Who is in stays in, and the next has to wait.
        one.update(|| false);
        drop(three);
        assert!(come("10.0.0.1").is_none());
        two.give_up();
        two.update(|| false);
        assert!(come("10.0.0.1").is_some());

        drop((one, two, other));
        assert!(doors.waiting.lock().by_party.is_empty());
        let _of_one_network = (come("2001:db8::1"), come("2001:db8::2"));
        assert!(come("2001:db8::3").is_none());
        assert!(come("2001:db8:0:1::1").is_some());
        let of_a_proxy: Vec<_> = (0..9).map(|_| come("10.9.8.7")).collect();
        assert!(of_a_proxy.iter().all(Option::is_some));
        of_a_proxy[0].as_ref().expect("a place").update(|| false);
        assert!(!doors.waiting.lock().by_party.contains_key(&address("10.9.8.7")));
    }

    #[test]
    fn zero_is_no_limit() {
        let doors = Doors::new(0, Networks::default());
        let all: Vec<_> = (0..10).map(|_| doors.come(Some([10, 0, 0, 1].into()))).collect();
        assert!(all.iter().all(Option::is_some) && doors.come(None).is_some());
        assert!(doors.waiting.lock().by_party.is_empty());
    }
}
