//! The marks of all users, in memory; and with a store their records, which have places in the sequence as events have.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::limits::{MARKS_MAX, MARKS_OF_USER_MAX};
use crate::log::{Log, Record};

/// How far users have read.
pub(crate) struct Marks {
    log: Arc<dyn Log>,
    table: Mutex<Table>,
}

/// What records of marks begin with.
const PREFIX: &[u8] = b"read/";

struct Table {
    /// Each user's marks, the one that was moved longest ago first. Most have one.
    users: HashMap<Arc<str>, SmallVec<[Mark; 1]>>,
    /// Whose marks they are, the one that was moved longest ago first.
    order: BTreeMap<u64, Arc<str>>,
    /// The number of the next move.
    next: u64,
    max: usize,
    of_user_max: usize,
}

struct Mark {
    channel: Channel,
    seq: u64,
    /// The number of the move that brought it here.
    moved: u64,
}

impl Marks {
    /// With those that an earlier process left in the store.
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self::bounded(log, MARKS_MAX, MARKS_OF_USER_MAX)
    }

    fn bounded(log: Arc<dyn Log>, max: usize, of_user_max: usize) -> Self {
        let table = Table {
            users: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            max,
            of_user_max,
        };
        let marks = Self {
            log,
            table: Mutex::new(table),
        };
        marks.load();
        marks
    }

    fn load(&self) {
        let mut found = Vec::new();
        let mut gone: Vec<Record> = Vec::new();
        for (key, value) in self.log.records(PREFIX) {
            match parse(&key, &value) {
                Some(mark) => found.push(mark),
                None => gone.push((key, None)),
            }
        }
        found.sort_unstable_by_key(|(_, mark)| mark.moved);
        let position = self.log.position();
        let mut table = self.table.lock();
        for (user, mark) in found {
            table.next = mark.moved;
            // Not past what is left of a store that has lost its newest files.
            let given_way = table.set(&user, &mark.channel, mark.seq.min(position));
            gone.extend(given_way.iter().map(|(user, channel)| (key(user, channel), None)));
        }
        if !gone.is_empty() {
            self.log.put_all(gone);
        }
    }

    /// Up to which seq a user has read a channel, if at all.
    pub(crate) fn get(&self, user: &str, channel: &Channel) -> Option<u64> {
        self.table.lock().get(user, channel)
    }

    /// Moves a mark; false for one that is there or further. What is sent after this is not carried out before it is kept.
    ///
    /// # Errors
    /// Why it can't be kept; then it has not moved.
    pub(crate) fn advance(&self, user: &str, channel: &Channel, seq: u64) -> Result<bool> {
        // Held until the record has its place, so that the last record is the highest.
        let mut table = self.table.lock();
        if seq <= table.get(user, channel).unwrap_or(0) {
            return Ok(false);
        }
        if let Some(failure) = self.log.failure() {
            return Err(failure);
        }
        let value = format!("{seq} {}", table.next);
        let mut records: Vec<Record> = vec![(key(user, channel), Some(value.into()))];
        let given_way = table.set(user, channel, seq);
        records.extend(given_way.iter().map(|(user, channel)| (key(user, channel), None)));
        if !self.log.put_all(records) {
            return Err(Error::coded(Code::Draining, "the server is shutting down; come back"));
        }
        Ok(true)
    }

    /// Does something while a mark is just there, if it is.
    pub(crate) fn while_at(&self, user: &str, channel: &Channel, seq: u64, act: impl FnOnce()) {
        let table = self.table.lock();
        if table.get(user, channel) == Some(seq) {
            act();
        }
    }
}

impl Table {
    fn get(&self, user: &str, channel: &Channel) -> Option<u64> {
        let marks = self.users.get(user)?;
        let mark = marks.iter().find(|mark| mark.channel == *channel)?;
        Some(mark.seq)
    }

    /// Sets a mark, the newest now. Answers those that give way.
    fn set(&mut self, user: &str, channel: &Channel, seq: u64) -> Vec<(Arc<str>, Channel)> {
        let known = self.users.get_key_value(user).map(|(user, _)| Arc::clone(user));
        let user = known.unwrap_or_else(|| Arc::from(user));
        let marks = self.users.entry(Arc::clone(&user)).or_default();
        let mut channel = channel.clone();
        if let Some(at) = marks.iter().position(|mark| mark.channel == channel) {
            let before = marks.remove(at);
            self.order.remove(&before.moved);
            channel = before.channel;
        }
        let moved = self.next;
        self.next += 1;
        marks.push(Mark { channel, seq, moved });
        let is_crowded = marks.len() > self.of_user_max;
        self.order.insert(moved, Arc::clone(&user));

        let mut given_way = Vec::new();
        if is_crowded {
            given_way.extend(self.remove_oldest(&user));
        }
        while self.order.len() > self.max
            && let Some(user) = self.order.values().next().cloned()
        {
            given_way.extend(self.remove_oldest(&user));
        }
        given_way
    }

    /// The mark of a user that was moved longest ago goes.
    fn remove_oldest(&mut self, user: &Arc<str>) -> Option<(Arc<str>, Channel)> {
        let marks = self.users.get_mut(user)?;
        let oldest = marks.remove(0);
        if marks.is_empty() {
            self.users.remove(user);
        }
        self.order.remove(&oldest.moved);
        Some((Arc::clone(user), oldest.channel))
    }
}

/// A user's name has no control characters.
fn key(user: &str, channel: &Channel) -> Bytes {
    [PREFIX, user.as_bytes(), b"\0", channel.as_str().as_bytes()]
        .concat()
        .into()
}

fn parse(key: &[u8], value: &[u8]) -> Option<(Arc<str>, Mark)> {
    let key = std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?;
    let (user, channel) = key.split_once('\0')?;
    let (seq, moved) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let mark = Mark {
        channel: Channel::stored(Arc::from(channel)),
        seq: seq.parse().ok()?,
        moved: moved.parse().ok()?,
    };
    Some((Arc::from(user), mark))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::log::conformance::{channel, draft};
    use crate::log::local::{LocalLog, Storage};
    use crate::log::memory::MemoryLog;
    use crate::log::tail::Bounds;
    use crate::{Durability, Limits};

    fn memory() -> Arc<dyn Log> {
        Arc::new(MemoryLog::new(Bounds::of(&Limits::default())))
    }

    fn stored(folder: &Path) -> Arc<LocalLog> {
        let storage = Storage {
            path: folder.to_owned(),
            durability: Durability::Process,
            history: Arc::new(|_| None),
        };
        let log = LocalLog::open(storage.options(Bounds::of(&Limits::default()), || {})).unwrap();
        for _ in 0..100 {
            drop(log.append(draft(&["elsewhere"], "1")));
        }
        Arc::new(log)
    }

    fn of(marks: &Marks, users: &[&str], channels: &[&str]) -> Vec<Option<u64>> {
        let of_user = |user| channels.iter().map(move |name| marks.get(user, &channel(name)));
        users.iter().flat_map(|user| of_user(user)).collect()
    }

    #[test]
    fn a_mark_moves_forward_only() {
        let marks = Marks::new(memory());
        let moved = |user, name, seq| marks.advance(user, &channel(name), seq).unwrap();
        assert!(!moved("ann", "a", 0) && moved("ann", "a", 5));
        assert!(!moved("ann", "a", 5) && !moved("ann", "a", 4) && moved("ann", "a", 6));
        assert!(moved("ann", "b", 1) && moved("bob", "a", 2));
        assert_eq!(
            of(&marks, &["ann", "bob"], &["a", "b"]),
            [Some(6), Some(1), Some(2), None]
        );
        let mut acted = Vec::new();
        for seq in 4..8 {
            marks.while_at("ann", &channel("a"), seq, || acted.push(seq));
        }
        assert_eq!(acted, [6]);
    }

    #[test]
    fn those_that_were_moved_longest_ago_give_way_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let users = ["ann", "bob", "eve"];
        let marks = Marks::bounded(stored(folder.path()), 4, 3);
        let read = |marks: &Marks, user: &str, name: &str, seq: u64| {
            assert!(marks.advance(user, &channel(name), seq).unwrap());
        };
        for (user, name) in [("ann", "a"), ("bob", "a"), ("ann", "b")] {
            read(&marks, user, name, 1);
        }
        read(&marks, "ann", "a", 2);
        read(&marks, "eve", "a", 1);
        assert_eq!(marks.table.lock().order.len(), 4, "at the bound");
        read(&marks, "eve", "b", 1); // bob's is the oldest
        let kept = [Some(2), Some(1), None, None, Some(1), Some(1)];
        assert_eq!(of(&marks, &users, &["a", "b"]), kept);
        assert!(
            !marks.table.lock().users.contains_key("bob"),
            "nothing is left of who has none"
        );

        marks.log.close();
        drop(marks);
        let marks = Marks::bounded(stored(folder.path()), 4, 3);
        assert_eq!(of(&marks, &users, &["a", "b"]), kept);
        read(&marks, "bob", "a", 3); // ann's b is the oldest
        assert_eq!(
            of(&marks, &users, &["a", "b"]),
            [Some(2), None, Some(3), None, Some(1), Some(1)]
        );
        for name in ["c", "d", "e"] {
            read(&marks, "eve", name, 1); // one user has three
        }
        assert_eq!(of(&marks, &["eve"], &["a", "b", "c", "d", "e"])[..2], [None, None]);
        marks.log.close();
        drop(marks);
        // With less room than there are, the newest are taken.
        let marks = Marks::bounded(stored(folder.path()), 2, 3);
        assert_eq!(of(&marks, &["eve"], &["c", "d", "e"]), [None, Some(1), Some(1)]);
        assert_eq!(of(&marks, &["ann", "bob"], &["a", "b"]), [None; 4]);
        marks.log.close();
    }

    #[test]
    fn one_user_does_not_push_out_the_others() {
        let marks = Marks::new(memory());
        assert!(marks.advance("bob", &channel("a"), 1).unwrap());
        for number in 0..=MARKS_OF_USER_MAX {
            assert!(marks.advance("ann", &channel(&number.to_string()), 1).unwrap());
        }
        let last = MARKS_OF_USER_MAX.to_string();
        assert_eq!(of(&marks, &["ann"], &["0", "1", &last]), [None, Some(1), Some(1)]);
        assert_eq!(of(&marks, &["bob"], &["a"]), [Some(1)]);
        assert_eq!(marks.table.lock().order.len(), MARKS_OF_USER_MAX + 1);
    }

    #[test]
    fn while_the_store_fails_marks_stay_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let log = stored(folder.path());
        let marks = Marks::new(Arc::clone(&log) as Arc<dyn Log>);
        let moved = |seq| marks.advance("ann", &channel("a"), seq);
        assert!(moved(1).unwrap());
        log.fail(Some(ErrorKind::StorageFull));
        drop(log.append(draft(&["elsewhere"], "1")));
        let begin = Instant::now();
        while log.failure().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(moved(2).unwrap_err().code(), "store_full");
        assert!(!moved(1).unwrap(), "what changes nothing needs no store");
        assert_eq!(of(&marks, &["ann"], &["a"]), [Some(1)]);
        while log.failure().is_some() {
            assert!(begin.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(moved(2).unwrap());
        log.close();
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_others_are_not() {
        for (user, name) in [("ann", "user:ann"), ("a/b c", "/shop,a\0b"), ("ä", "x y")] {
            let name = Channel::stored(Arc::from(name));
            let (read_user, mark) = parse(&key(user, &name), b"7 3").unwrap();
            assert_eq!((&*read_user, &mark.channel, mark.seq, mark.moved), (user, &name, 7, 3));
        }
        let key = key("ann", &channel("a"));
        for value in ["", "7", "7 ", "x 3", "7 3 1", "-1 3"] {
            assert!(parse(&key, value.as_bytes()).is_none(), "{value:?}");
        }
        assert!(parse(b"read/ann", b"7 3").is_none() && parse(b"session/a\0b", b"7 3").is_none());
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let marks = Marks::new(stored(folder.path()));
        assert!(marks.advance("ann", &channel("a"), 1).unwrap());
        marks.log.close();
        assert_eq!(marks.advance("ann", &channel("a"), 2).unwrap_err().code(), "draining");
    }
}
