//! Progress on a terminal: one line for the phase, one bar for each transfer.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, LazyLock},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use standstill_core::{
    journal::Event,
    repository::{NoProgress, Progress},
    runner::{NoObserver, Observer},
};
use tracing_subscriber::fmt::MakeWriter;

/// The bars of this process; the log writes above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| {
    if std::io::stderr().is_terminal() {
        MultiProgress::new()
    } else {
        MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
    }
});

/// Standard error, for the log: it does not tear the bars.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().write(buffer))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Who shows the progress of a run: nobody where nobody looks.
pub fn observer(quiet: bool) -> Arc<dyn Observer> {
    if quiet || !std::io::stderr().is_terminal() {
        return Arc::new(NoObserver);
    }
    let (lines, shown) = std::sync::mpsc::channel::<String>();
    std::thread::spawn(move || {
        for line in shown {
            // A terminal that went away must not disturb the run.
            let _ = BARS.println(line);
        }
    });
    Arc::new(Terminal { lines })
}

/// What is said about an event while a run goes on.
pub fn said(event: &Event) -> Option<String> {
    Some(match event {
        Event::Target { .. } => "found and locked".to_owned(),
        Event::Done { step, .. } => format!("{step} done"),
        Event::Cut => "cut".to_owned(),
        Event::Released { step, .. } => format!("{step} let go"),
        Event::Committed { .. } => "committed".to_owned(),
        _ => return None,
    })
}

/// Lines are printed by a thread of their own: a terminal that was stopped (Ctrl-S) must not keep a database held.
struct Terminal {
    lines: std::sync::mpsc::Sender<String>,
}

impl Observer for Terminal {
    fn event(&self, event: &Event) {
        if let Some(said) = said(event) {
            let _ = self.lines.send(format!("  {said}"));
        }
    }

    fn transfer(&self, artifact: &str) -> Arc<dyn Progress> {
        let Ok(style) =
            ProgressStyle::with_template("  {msg:24} {bytes:>12} {bytes_per_sec:>14} {elapsed:>6}")
        else {
            return Arc::new(NoProgress);
        };
        let bar = BARS.add(ProgressBar::new_spinner().with_style(style).with_message(artifact.to_owned()));
        Arc::new(Bar(bar))
    }
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn expect(&self, bytes: u64) {
        self.0.set_length(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
