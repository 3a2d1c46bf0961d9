//! A bar chart as SVG, readable on light and on dark pages.

use std::fmt::Write;

use crate::round::Spread;

/// One server's figure.
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) spread: Spread,
    /// What stands behind the figure.
    pub(crate) note: String,
    /// Whether it is what the others are measured against.
    pub(crate) ours: bool,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// For those to whom it is read.
    pub(crate) summary: String,
    pub(crate) unit: &'static str,
    pub(crate) digits: usize,
    pub(crate) bars: Vec<Bar>,
}

const WIDTH: f64 = 860.0;
const NAMES_WIDTH: f64 = 160.0;
const FIGURES_WIDTH: f64 = 260.0;
const HEAD_HEIGHT: f64 = 56.0;
const ROW_HEIGHT: f64 = 24.0;
const BAR_HEIGHT: f64 = 14.0;
const END_HEIGHT: f64 = 10.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.unit, .note { fill: #59636e }
.name { text-anchor: end }
.other { fill: #8c959f }
.ours { fill: #0969da }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .unit, .note { fill: #9198a1 }
  .other { fill: #656c76 }
  .ours { fill: #4493f8 }
  .range { stroke: #f0f6fc }
}
";

impl Chart {
    /// A bar each, as long as its median, with a line from the least to the greatest.
    pub(crate) fn svg(&self) -> String {
        let height = HEAD_HEIGHT + ROW_HEIGHT * self.bars.len() as f64 + END_HEIGHT;
        let most = self.bars.iter().map(|bar| bar.spread.greatest).fold(0.0, f64::max);
        let room = WIDTH - NAMES_WIDTH - FIGURES_WIDTH;
        let length = |value: f64| if most > 0.0 { value / most * room } else { 0.0 };
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
             <title>{title}: {summary}</title>\n<style>\n{STYLE}</style>\n\
             <text class=\"title\" x=\"12\" y=\"22\">{title}</text>\n<text class=\"unit\" x=\"12\" y=\"42\">{unit}</text>\n",
            title = escaped(self.title),
            summary = escaped(&self.summary),
            unit = escaped(self.unit),
        );
        let digits = self.digits;
        for (index, bar) in self.bars.iter().enumerate() {
            let Spread {
                median,
                least,
                greatest,
            } = bar.spread;
            let top = HEAD_HEIGHT + ROW_HEIGHT * index as f64;
            let (middle, base) = (top + BAR_HEIGHT / 2.0, top + BAR_HEIGHT - 2.5);
            let _ = writeln!(
                text,
                "<text class=\"name\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>\n\
                 <rect class=\"{}\" x=\"{NAMES_WIDTH:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\n\
                 <line class=\"range\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>\n\
                 <text x=\"{:.1}\" y=\"{base:.1}\">{median:.digits$} ({least:.digits$}–{greatest:.digits$}) <tspan class=\"note\">{}</tspan></text>",
                NAMES_WIDTH - 8.0,
                escaped(bar.name),
                if bar.ours { "ours" } else { "other" },
                length(median),
                NAMES_WIDTH + length(least),
                NAMES_WIDTH + length(greatest),
                NAMES_WIDTH + length(greatest) + 8.0,
                escaped(&bar.note),
            );
        }
        text.push_str("</svg>\n");
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_bar_as_long_as_its_median() {
        let bar = |name, median| Bar {
            name,
            spread: Spread {
                median,
                least: median - 10.0,
                greatest: median + 10.0,
            },
            note: String::new(),
            ours: name == "a",
        };
        let svg = Chart {
            title: "fanout",
            summary: "a < b".into(),
            unit: "k",
            digits: 1,
            bars: vec![bar("a", 50.0), bar("b", 100.0)],
        }
        .svg();
        // The longest range takes all the room: 440 for 110.
        assert!(
            svg.contains(r#"<rect class="ours" x="160.0" y="56.0" width="200.0""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"<rect class="other" x="160.0" y="80.0" width="400.0""#),
            "{svg}"
        );
        assert!(svg.contains("<title>fanout: a &lt; b</title>") && svg.contains("50.0 (40.0–60.0)"));
    }

    #[test]
    fn nothing_but_zeros_is_a_chart_too() {
        let bars = vec![Bar {
            name: "limit",
            spread: Spread {
                median: 0.0,
                least: 0.0,
                greatest: 0.0,
            },
            note: String::new(),
            ours: false,
        }];
        let svg = Chart {
            title: "",
            summary: String::new(),
            unit: "",
            digits: 0,
            bars,
        }
        .svg();
        assert!(!svg.contains("NaN"));
    }
}
