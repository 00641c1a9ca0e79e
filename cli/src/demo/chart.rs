//! Drawing time: bars and a sparkline on one scale.

use std::time::Duration;

/// A stretch of time, since the beginning of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
}

impl Span {
    pub const fn new(from: Duration, to: Duration) -> Self {
        Self { from, to }
    }

    /// A stretch that begins here and lasts so long.
    pub fn lasting(from: Duration, duration: Duration) -> Self {
        Self { from, to: from.saturating_add(duration) }
    }

    pub fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    /// Whether the two have a moment in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// Bars are drawn to an eighth of a column, which is as fine as the characters are.
const EIGHTHS: usize = 8;
/// Blocks that begin at the left edge of a column, by their eighths.
const LEFT: [char; EIGHTHS + 1] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// Blocks that end at the right edge of a column, by their eighths: there are only these.
const RIGHT: [char; EIGHTHS + 1] = [' ', '▕', '▕', '▐', '▐', '▐', '█', '█', '█'];
/// Heights of a sparkline.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Two ticks of the axis are at least this many columns apart.
const BETWEEN_TICKS: u128 = 10;

/// A time scale of so many columns.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    span: Span,
    columns: usize,
}

impl Scale {
    pub const fn new(span: Span, columns: usize) -> Self {
        Self { span, columns }
    }

    /// How much time one column is.
    pub fn column(&self) -> Duration {
        self.span.length() / u32::try_from(self.columns.max(1)).unwrap_or(u32::MAX)
    }

    /// Where a moment is, in parts of which a column has `parts`.
    fn place(&self, at: Duration, parts: usize) -> usize {
        let end = self.columns * parts;
        let since = at.saturating_sub(self.span.from).as_nanos();
        let length = self.span.length().as_nanos().max(1);
        let place = since.saturating_mul(u128::try_from(end).unwrap_or(u128::MAX)) / length;
        usize::try_from(place).unwrap_or(end).min(end)
    }

    /// Ticks at round times: a line of labels, and a ruler.
    pub fn axis(&self) -> [String; 2] {
        let step = self.step();
        let mut labels = vec![' '; self.columns];
        let mut ruler = vec!['─'; self.columns];
        for tick in 0_u32.. {
            let after = step.saturating_mul(tick);
            let column = self.place(self.span.from.saturating_add(after), 1);
            if after > self.span.length() || column >= self.columns {
                break;
            }
            ruler[column] = '┬';
            let label = label(after, step);
            if column + label.chars().count() <= self.columns {
                labels.splice(column..column + label.chars().count(), label.chars());
            }
        }
        [labels, ruler].map(|line| line.into_iter().collect::<String>().trim_end().to_owned())
    }

    /// The smallest of 1, 2 and 5 times a power of ten that leaves room between the ticks.
    fn step(&self) -> Duration {
        let needed = self.span.length().as_nanos() * BETWEEN_TICKS;
        let columns = u128::try_from(self.columns).unwrap_or(1).max(1);
        let decades = (3..9).map(|exponent| Duration::from_micros(10_u64.pow(exponent)));
        let mut steps = decades.flat_map(|decade| [decade, decade * 2, decade * 5]);
        steps.find(|step| step.as_nanos() * columns >= needed).unwrap_or(Duration::from_hours(1))
    }

    /// Stretches of time as blocks. What is shorter than an eighth of a column is still seen, as its thinnest mark.
    pub fn bar(&self, spans: &[Span]) -> String {
        let mut cells = vec![' '; self.columns];
        for span in spans.iter().filter(|span| span.overlaps(self.span)) {
            let last = self.columns * EIGHTHS;
            let from = self.place(span.from, EIGHTHS).min(last.saturating_sub(1));
            let to = self.place(span.to, EIGHTHS).max(from + 1).min(last);
            for (column, cell) in cells.iter_mut().enumerate().take(to.div_ceil(EIGHTHS)).skip(from / EIGHTHS)
            {
                let begin = from.saturating_sub(column * EIGHTHS);
                let end = (to - column * EIGHTHS).min(EIGHTHS);
                *cell = if begin > 0 && end == EIGHTHS { RIGHT[end - begin] } else { LEFT[end - begin] };
            }
        }
        cells.into_iter().collect::<String>().trim_end().to_owned()
    }

    /// The greatest value in each column, as a height of the greatest of all. A column in which nothing was on is
    /// empty.
    pub fn sparkline(&self, values: &[(Span, Duration)]) -> String {
        let mut greatest: Vec<Option<Duration>> = vec![None; self.columns];
        for (span, value) in values.iter().filter(|(span, _)| span.overlaps(self.span)) {
            let last = self.columns.saturating_sub(1);
            let (from, to) = (self.place(span.from, 1).min(last), self.place(span.to, 1).min(last));
            for cell in greatest.iter_mut().take(to + 1).skip(from) {
                *cell = (*cell).max(Some(*value));
            }
        }
        let top = greatest.iter().flatten().max().map_or(1, Duration::as_nanos).max(1);
        let height = |value: Duration| {
            // Rounded up, so that the full height is the greatest value's alone or nearly so.
            let height = (value.as_nanos() * 8).div_ceil(top).clamp(1, 8) - 1;
            HEIGHTS[usize::try_from(height).unwrap_or(0)]
        };
        let line: String = greatest.into_iter().map(|cell| cell.map_or(' ', height)).collect();
        line.trim_end().to_owned()
    }
}

/// A tick's label in the unit of the steps.
fn label(after: Duration, step: Duration) -> String {
    if after.is_zero() {
        "0".to_owned()
    } else if step < Duration::from_millis(100) {
        format!("{} ms", after.as_millis())
    } else if step.subsec_nanos() == 0 {
        format!("{} s", after.as_secs())
    } else {
        format!("{:.1} s", after.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span::new(Duration::from_millis(from), Duration::from_millis(to))
    }

    /// Ten columns of 100 ms.
    fn scale() -> Scale {
        Scale::new(span(0, 1000), 10)
    }

    #[test]
    fn a_bar_is_as_long_as_its_time() {
        assert_eq!(scale().bar(&[span(0, 1000)]), "██████████");
        assert_eq!(scale().bar(&[span(200, 500)]), "  ███");
        assert_eq!(scale().bar(&[span(0, 250)]), "██▌");
        assert_eq!(scale().bar(&[span(250, 400)]), "  ▐█");
    }

    #[test]
    fn a_moment_is_still_seen() {
        assert_eq!(scale().bar(&[span(310, 311)]), "   ▏");
        assert_eq!(scale().bar(&[span(1000, 1000)]), "         ▕");
    }

    #[test]
    fn several_bars_share_a_line() {
        assert_eq!(scale().bar(&[span(0, 100), span(500, 700)]), "█    ██");
    }

    #[test]
    fn what_lies_outside_the_scale_is_cut_off() {
        let later = Scale::new(span(1000, 2000), 10);
        assert_eq!(later.bar(&[span(0, 900)]), "");
        assert_eq!(later.bar(&[span(500, 1200)]), "██");
        assert_eq!(later.bar(&[span(1900, 5000)]), "         █");
        assert_eq!(later.sparkline(&[(span(0, 900), Duration::from_millis(5))]), "");
    }

    #[test]
    fn an_empty_scale_draws_without_a_panic() {
        for empty in [Scale::new(span(5, 5), 10), Scale::new(span(0, 1000), 0)] {
            assert!(empty.bar(&[span(0, 10)]).chars().count() <= 10);
            assert!(empty.sparkline(&[(span(0, 10), Duration::ZERO)]).chars().count() <= 10);
            assert!(empty.axis()[1].chars().count() <= 10);
        }
    }

    #[test]
    fn a_sparkline_shows_the_greatest_value_of_each_column() {
        let wait = |from, to, milliseconds| (span(from, to), Duration::from_millis(milliseconds));
        let values = [wait(0, 1, 1), wait(10, 12, 4), wait(150, 158, 8), wait(310, 316, 6)];
        assert_eq!(scale().sparkline(&values), "▄█ ▆");
    }

    #[test]
    fn a_long_wait_is_seen_in_every_column_that_it_spans() {
        assert_eq!(scale().sparkline(&[(span(120, 480), Duration::from_millis(360))]), " ████");
    }

    #[test]
    fn the_axis_has_round_steps_with_room_between_them() {
        let [labels, ruler] = Scale::new(span(0, 4300), 50).axis();
        assert_eq!(labels, "0          1 s         2 s        3 s         4 s");
        assert_eq!(ruler, "┬──────────┬───────────┬──────────┬───────────┬───");
        // A column of 3 ms.
        let [labels, _] = Scale::new(span(700, 820), 40).axis();
        assert_eq!((labels.find("50 ms"), labels.find("100 ms")), (Some(16), Some(33)));
        // A column of 15 ms.
        let [labels, _] = Scale::new(span(0, 900), 60).axis();
        assert_eq!((labels.find("0.2 s"), labels.find("0.8 s")), (Some(13), Some(53)));
    }
}
