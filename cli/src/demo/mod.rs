//! `standstill demo`: the whole story on this machine, with a live writer.
//!
//! ```text
//!   story ──▶ application: sqlite · postgresql        a throwaway database
//!     │  └──▶ writer ──▶ `agent demo-writer`          inserts, and notes what was acknowledged
//!     ├─────▶ backup · restore · verify               as the commands do it
//!     ▼
//!   facts ──▶ measure ──▶ report ──▶ chart            what was shown
//! ```

mod application;
mod chart;
mod clock;
mod facts;
mod measure;
mod narrator;
mod place;
mod postgresql;
mod report;
mod sqlite;
mod story;
mod writer;

use standstill_core::{Error, ErrorKind, Result};

pub use writer::writer_main;

use self::{
    clock::Clock,
    facts::{Facts, Refusal},
    narrator::Narrator,
    place::Place,
    story::Story,
};
use crate::{
    arguments::{Demo, Format, Global},
    output, signals,
};

/// Tells the whole story on this machine, and cleans up. The status is 0 only if everything was proven.
pub async fn demo(global: &Global, arguments: Demo) -> Result<u8> {
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let clock = Clock::start();
    let place = Place::take(arguments.directory.as_deref())?;
    let (narrator, printer) = Narrator::start(clock, !global.quiet && global.output == Format::Text);
    let staying = if place.is_kept() { "" } else { " (removed at the end)" };
    narrator.say(&format!("working in {}{staying}", place.root().display()));

    let mut facts = Facts::default();
    let story =
        Story { database: arguments.database, place: &place, clock, narrator: &narrator, cancel: &cancel };
    let told = story.tell(&mut facts).await;
    let interrupted = told.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
    if place.is_kept() && !interrupted {
        facts.directory = Some(place.root().to_owned());
    }
    let cleaned = place.clean(interrupted);
    if let Some(printer) = printer {
        printer.finish();
    }
    conclude(global, facts, told.and(cleaned))
}

/// Prints what was found out. In JSON also what was found out until it failed.
fn conclude(global: &Global, mut facts: Facts, outcome: Result<()>) -> Result<u8> {
    facts.error = outcome.as_ref().err().map(Refusal::from);
    facts.proven &= outcome.is_ok();
    match (outcome, global.output) {
        (Ok(()), _) => {
            output::result(global, &facts, || report::render(&facts))?;
            Ok(output::DONE)
        }
        (Err(error), Format::Json) => {
            output::json(&facts)?;
            Ok(error.kind().exit_status())
        }
        (Err(error), Format::Text) => Err(error),
    }
}
