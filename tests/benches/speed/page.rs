//! The page of stalls for the docs: what was measured, how, and a table.

use std::fmt::Write as _;

use crate::{
    measure::{milliseconds, ratio},
    stall::Stalls,
};

/// Writes it, in Markdown; the picture is beside it.
pub fn write(all: &[Stalls], rounds: usize) -> String {
    let mut page = format!(
        "# How long a writer waits\n\
         \n\
         A writer commits one row after the other, as fast as it can, to a database on btrfs while a backup is taken. \
         The longest\ntime between two of its commits is the stall that an application would feel.\n\
         \n\
         ![The longest stall of a writer](freeze.svg)\n\
         \n\
         Three ways take turns, {rounds} rounds each, on one machine in one run. The figures are medians:\n\
         \n\
         | | snapshot, nothing held | Standstill | limit | the usual script | Standstill / script |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    for stalls in all {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {:.2} |",
            stalls.name,
            milliseconds(stalls.bare),
            milliseconds(stalls.ours),
            milliseconds(stalls.limit()),
            milliseconds(stalls.script),
            ratio(stalls.ours, stalls.script),
        );
    }
    page.push_str(
        "\n\
         - **snapshot, nothing held**: `btrfs subvolume snapshot` alone, in a window as long as the one of the backup: a \
         writer has\n  its bad moments without any backup too. What is restored from it has crashed.\n\
         - **Standstill**: a whole `standstill backup`, from its start to the release of its last hold.\n\
         - **limit**: what ours may be at most, 1.3 × the snapshot with nothing held + 20 ms.\n\
         - **the usual script**: a client in the background that says `FLUSH TABLES WITH READ LOCK`, a sleep of one \
         second so that it\n  has the lock, the snapshot, and a kill.\n\
         \n\
         *Commits held too* and *writes held too* are what happens when a table is not InnoDB, or the cut is not \
         atomic.\n\
         \n\
         `tests/bench/freeze` measures this again, and writes this page and its picture.\n",
    );
    page
}
