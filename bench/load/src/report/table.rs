//! A table in Markdown, made column by column.

use std::fmt::Write;

use super::series::Series;
use crate::round::Spread;
use crate::server::Contender;

/// What stands where there is no figure.
pub(crate) const NONE: &str = "–";

/// One server and its rounds.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) contender: &'a Contender,
    pub(crate) series: &'a Series,
}

pub(crate) struct Table<'a> {
    rows: &'a [Row<'a>],
    columns: Vec<(String, Vec<String>)>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(rows: &'a [Row<'a>]) -> Self {
        Self {
            rows,
            columns: Vec::new(),
        }
    }

    /// Adds a column.
    pub(crate) fn column(&mut self, title: &str, cell: impl Fn(Row<'a>) -> String) -> &mut Self {
        let cells = self.rows.iter().map(|row| cell(*row)).collect();
        self.columns.push((title.into(), cells));
        self
    }

    /// Adds a column of medians with their ranges.
    pub(crate) fn figures(
        &mut self,
        title: &str,
        digits: usize,
        figure: impl Fn(&Series) -> Option<Spread>,
    ) -> &mut Self {
        self.column(title, |row| cell(figure(row.series), digits))
    }

    /// Adds a column of shares, unless it would be empty.
    pub(crate) fn ratios(
        &mut self,
        title: &str,
        figure: &impl Fn(&Series) -> Option<Spread>,
        other: impl Fn(Row<'a>) -> Option<Row<'a>>,
    ) -> &mut Self {
        if self.rows.iter().any(|row| other(*row).is_some()) {
            self.column(title, |row| ratio(row, other(row), figure));
        }
        self
    }

    /// Who had the cores, and faults that have no column of their own.
    pub(crate) fn conditions(&mut self) -> &mut Self {
        self.column("server CPU", |row| {
            percent(row.series.spread(|round| Some(round.server_share)))
        })
        .column("generator CPU", |row| {
            percent(row.series.spread(|round| Some(round.load_share)))
        })
        .column("others on the server's core", |row| {
            percent(row.series.spread(|round| Some(round.server_core_foreign)))
        })
        .column("generator delayed", |row| {
            percent(row.series.spread(|round| Some(round.load_delay)))
        })
        .column("other faults", |row| {
            let faults = row.series.faults();
            (faults.garbled + faults.cut).to_string()
        })
    }

    /// What was checked, and in how many rounds.
    pub(crate) fn checks(&mut self) -> &mut Self {
        self.column("lost", |row| row.series.faults().lost.to_string())
            .column("repeated", |row| row.series.faults().repeated.to_string())
            .column("reordered", |row| row.series.faults().reordered.to_string())
            .rounds()
    }

    pub(crate) fn rounds(&mut self) -> &mut Self {
        self.column("rounds", |row| row.series.rounds_cell())
    }

    pub(crate) fn write(&self, text: &mut String) {
        let titles: Vec<&str> = self.columns.iter().map(|(title, _)| title.as_str()).collect();
        let _ = writeln!(text, "| server | {} |", titles.join(" | "));
        let _ = writeln!(text, "| --- |{}", " --- |".repeat(titles.len()));
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<&str> = self.columns.iter().map(|(_, cells)| cells[index].as_str()).collect();
            let _ = writeln!(text, "| {} | {} |", row.contender.name, cells.join(" | "));
        }
        text.push('\n');
    }
}

/// The median, with the range behind it.
pub(crate) fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(NONE.into(), |s| {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", s.median, s.least, s.greatest)
    })
}

/// So many rounds that both were quiet in make a median.
const PAIRS_MIN: usize = 3;

/// The median of the ratios within each round, since the machine's speed may change from one to the next; of medians where few
/// rounds have both. Figures from a busy machine are shown, and said to be that; they are not compared.
pub(crate) fn ratio(own: Row<'_>, other: Option<Row<'_>>, figure: &impl Fn(&Series) -> Option<Spread>) -> String {
    let within = |(own, other): (Series, Series)| Some(figure(&own)?.median / figure(&other)?.median);
    let pairs = other.map(|other| own.series.pairs(other.series).filter_map(within).collect::<Vec<_>>());
    if let Some(pairs) = pairs.filter(|pairs| pairs.len() >= PAIRS_MIN)
        && let Some(ratio) = Spread::of(pairs.into_iter()).filter(|ratio| ratio.median.is_finite())
    {
        return format!("{:.2}", ratio.median);
    }
    let comparable = |row: Row<'_>| figure(row.series).filter(|_| row.series.quiet_count() > 0);
    match (comparable(own), other.and_then(comparable)) {
        (Some(own), Some(other)) if other.median > 0.0 => format!("{:.2}", own.median / other.median),
        _ => NONE.into(),
    }
}

fn percent(share: Option<Spread>) -> String {
    share.map_or(NONE.into(), |s| format!("{:.0} %", s.median * 100.0))
}
