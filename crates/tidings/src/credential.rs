//! When what a client showed of itself ends: it is warned a while before, and closed then.

use std::time::SystemTime;

use crate::limits::EXPIRY_WARNING_MS;

/// A client's credential, by its end. There are as many as clients: that is why it has 4 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credential {
    /// Seconds since 2020, of the clock that may be set while it holds, rounded up; [`NONE`] for one that does not end. The highest bit
    /// tells that the client has been warned.
    ends: u32,
}

/// Also for what ends after 2088.
const NONE: u32 = WARNED - 1;

const WARNED: u32 = 1 << 31;

/// The first second of 2020, in Unix time.
const BEGIN_S: u64 = 1_577_836_800;

/// What is to be done about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The client is told that it ends soon.
    Warning,
    /// It has ended.
    End,
}

impl Default for Credential {
    fn default() -> Self {
        Self::until(None)
    }
}

impl Credential {
    /// One that ends then.
    pub(crate) fn until(end: Option<SystemTime>) -> Self {
        let seconds = end.map(|end| unix_ms(end).div_ceil(1_000).saturating_sub(BEGIN_S));
        let ends = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        Self {
            ends: ends.unwrap_or(NONE).min(NONE),
        }
    }

    /// What is due by now.
    pub(crate) fn due(self) -> Option<Due> {
        match self.ends {
            NONE => None,
            _ => self.due_at(unix_ms(SystemTime::now())),
        }
    }

    fn due_at(self, now_ms: u64) -> Option<Due> {
        let ends_ms = (BEGIN_S + u64::from(self.ends & NONE)) * 1_000;
        let is_warned = self.ends & WARNED != 0;
        if now_ms >= ends_ms {
            Some(Due::End)
        } else if !is_warned && now_ms + EXPIRY_WARNING_MS >= ends_ms {
            Some(Due::Warning)
        } else {
            None
        }
    }

    /// The client has been told.
    pub(crate) fn note_warned(&mut self) {
        self.ends |= WARNED;
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ending_at(ms: u64) -> Credential {
        Credential::until(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)))
    }

    #[test]
    fn it_is_warned_of_once_and_ends_once() {
        const END_MS: u64 = 1_800_000_000_000;
        let mut credential = ending_at(END_MS - 1);
        assert_eq!(credential.due_at(END_MS - 60_001), None);
        assert_eq!(credential.due_at(END_MS - 60_000), Some(Due::Warning));
        credential.note_warned();
        assert_eq!(credential.due_at(END_MS - 1), None);
        assert_eq!(credential.due_at(END_MS), Some(Due::End));
    }

    #[test]
    fn without_an_end_it_never_ends() {
        assert_eq!(Credential::default().due(), None);
        assert_eq!(ending_at(253_402_300_799_000).due(), None);
        assert_eq!(ending_at(3_700_000_000_000).due(), None);
        for past in [0, 1_500_000_000_000, 1_700_000_000_000] {
            assert_eq!(ending_at(past).due(), Some(Due::End), "{past}");
        }
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Credential>(), 4);
    }
}
