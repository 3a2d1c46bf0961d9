//! Which row another one is compared with.

use super::table::Row;
use crate::round::Spread;
use crate::server::{LIMIT, Part};

/// The row of that name.
pub(crate) fn named<'a>(rows: &[Row<'a>], name: &str) -> Option<Row<'a>> {
    rows.iter().copied().find(|row| row.contender.name == name)
}

/// The limit that wrote about as many messages at once as reached this one's clients with a read.
pub(crate) fn limit_of_its_batch<'a>(rows: &[Row<'a>], own: Row<'a>) -> Option<Row<'a>> {
    let events_per_read = |row: Row<'_>| row.series.delivery(|delivery| delivery.events_per_read);
    let Spread { median: batch, .. } = events_per_read(own)?;
    let limits = rows.iter().copied().filter_map(|row| match row.contender.part {
        Part::Batches(batch) => Some((row, batch as f64)),
        _ if row.contender.name == LIMIT => Some((row, 1.0)),
        _ => None,
    });
    let distance = |of: f64| (of.ln() - batch.ln()).abs();
    let nearest = limits.min_by(|(_, one), (_, two)| distance(*one).total_cmp(&distance(*two)));
    nearest.map(|(row, _)| row)
}

/// One of Nchan's, on the same transport.
pub(crate) fn nchan<'a>(rows: &[Row<'a>], own: Row<'a>) -> Option<Row<'a>> {
    rows.iter()
        .copied()
        .find(|row| row.contender.name.starts_with("nchan-") && row.contender.transport() == own.contender.transport())
}

/// The one of this name that promises as much.
pub(crate) fn as_safe<'a>(rows: &[Row<'a>], own: Row<'a>, name: &str) -> Option<Row<'a>> {
    let level = |row: Row<'_>| match row.contender.part {
        Part::Durable { level, .. } => Some(level),
        _ => None,
    };
    rows.iter()
        .copied()
        .find(|row| row.contender.name.starts_with(name) && level(*row) == level(own))
}

/// The same server, published to in the same way, with everything in memory.
pub(crate) fn in_memory<'a>(rows: &[Row<'a>], own: Row<'a>) -> Option<Row<'a>> {
    let (way, _) = own.contender.name.rsplit_once('-')?;
    named(rows, &format!("{way}-memory"))
}
