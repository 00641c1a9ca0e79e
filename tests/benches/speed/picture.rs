//! A picture of stalls, as SVG: a group for each database, a bar for each way, one scale.

use std::{fmt::Write as _, time::Duration};

use crate::stall::Stalls;

const LEFT: f64 = 250.0;
const WIDTH: f64 = 430.0;
const BAR: f64 = 20.0;
const GROUP: f64 = 110.0;
const TOP: f64 = 56.0;

/// Draws them.
pub fn draw(all: &[Stalls]) -> String {
    let longest =
        all.iter().flat_map(|stalls| bars(stalls).map(|(_, time, _)| time)).max().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a handful of groups")]
    let height = TOP + GROUP * all.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" \
         font-size=\"14\">\n<rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"30\" font-size=\"17\" fill=\"#222\">The longest that a writer waited, in milliseconds \
         (medians; less is better)</text>\n"
    );
    let mut y = TOP;
    for stalls in all {
        let _ = writeln!(svg, "<text x=\"16\" y=\"{}\" fill=\"#222\">{}</text>", y + BAR * 2.0, stalls.name);
        for (place, (what, time, colour)) in (0_u8..).zip(bars(stalls)) {
            let at = f64::from(place).mul_add(BAR + 6.0, y);
            let long = (WIDTH * time.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE)).max(1.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{at:.0}\" width=\"{long:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.0}\" fill=\"#222\">{:.0} {what}</text>",
                LEFT + 6.0 + if place == 2 { 0.0 } else { long },
                at + 15.0,
                time.as_secs_f64() * 1000.0,
            );
        }
        y += GROUP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn bars(stalls: &Stalls) -> [(&'static str, Duration, &'static str); 3] {
    [
        ("snapshot, nothing held", stalls.bare, "#9aa5b1"),
        ("Standstill", stalls.ours, "#2f855a"),
        ("the usual script", stalls.script, "#e2a08d"),
    ]
}
