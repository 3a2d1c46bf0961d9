//! The subscribers of a run, each in its place behind its proxy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep};

use super::faults::Cast;
use super::plan::PlannedReader;
use super::read::{Seat, Subscriber};
use super::record::{ChannelIndex, ContentId, What};
use super::recorder::{Book, Recorder};
use super::stock::Stock;

/// How long all may take to begin, and to catch up at the end.
const CATCH_UP: Duration = Duration::from_secs(90);

/// The subscribers.
pub(super) struct Crowd {
    recorder: Arc<Recorder>,
    stock: Option<Arc<Stock>>,
    seats: Vec<Place>,
    /// All that there ever were, in the order of their numbers.
    books: Vec<Arc<Book>>,
}

struct Place {
    planned: PlannedReader,
    /// `host:port`, of its proxy where it has one.
    address: String,
    token: String,
    book: Arc<Book>,
    subscriber: Option<Subscriber>,
    /// How many there were before.
    generation: u32,
}

impl Crowd {
    pub(super) fn new(recorder: &Arc<Recorder>, stock: Option<Arc<Stock>>) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            stock,
            seats: Vec::new(),
            books: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, planned: PlannedReader, address: String, token: String) {
        let book = self
            .recorder
            .reader(planned.name.clone(), planned.transport, planned.channels.clone());
        self.books.push(Arc::clone(&book));
        let mut place = Place {
            planned,
            address,
            token,
            book,
            subscriber: None,
            generation: 0,
        };
        place.sit(self.stock.as_ref());
        self.seats.push(place);
    }

    /// Waits until all have a cursor.
    pub(super) async fn all_begun(&self) -> anyhow::Result<()> {
        self.wait(Book::has_begun).await.map_err(|late| {
            let flaws = self.recorder.record(&self.books);
            let said = flaws
                .readers
                .iter()
                .flat_map(|reader| reader.entries.iter())
                .find_map(|entry| match &entry.what {
                    What::Flaw(text) => Some(text.clone()),
                    _ => None,
                });
            anyhow!(
                "{} did not subscribe within {CATCH_UP:?}; {}",
                late.join(", "),
                said.unwrap_or_default()
            )
        })
    }

    /// Waits until all have got these; the verdict says who has not.
    pub(super) async fn all_have(&self, words: &[(ChannelIndex, ContentId)]) {
        if let Err(late) = self.wait(|book| book.has_all(words)).await {
            self.recorder.deed(format!("gave up waiting for {}", late.join(", ")));
        }
    }

    async fn wait(&self, done: impl Fn(&Book) -> bool) -> Result<(), Vec<String>> {
        let end = Instant::now() + CATCH_UP;
        loop {
            let late = self.seats.iter().filter(|place| !done(&place.book));
            let late: Vec<String> = late.map(|place| place.book.name()).collect();
            if late.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(late);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn leave(self) -> Vec<Arc<Book>> {
        self.books
    }
}

impl Place {
    fn sit(&mut self, stock: Option<&Arc<Stock>>) {
        let seat = Seat {
            book: Arc::clone(&self.book),
            address: self.address.clone(),
            token: self.token.clone(),
            upgrade: self.planned.upgrade,
        };
        self.subscriber = Subscriber::start(seat, stock);
    }
}

impl Cast for Crowd {
    fn replace(&mut self, subscriber: usize) {
        let place = &mut self.seats[subscriber];
        place.subscriber = None;
        place.book.left();
        place.generation += 1;
        let name = format!("{}.{}", place.planned.name, place.generation);
        place.book = self
            .recorder
            .reader(name, place.planned.transport, place.planned.channels.clone());
        self.books.push(Arc::clone(&place.book));
        place.sit(self.stock.as_ref());
    }
}
