//! What is asked for many times a day.

use std::process::Stdio;

use crate::{
    measure::{line, median, milliseconds, run, title},
    support::{Place, subject::shipped},
};

const ROUNDS: usize = 21;

pub fn measure() {
    title("Answers at once");
    let place = Place::new();
    let blueprint = place.file("postgresql.yaml", &shipped("postgresql"));
    for (name, arguments) in
        [("--version", vec!["--version"]), ("lint", vec!["lint", blueprint.to_str().unwrap()])]
    {
        let once = |_| run(place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null())).took;
        line(name, &milliseconds(median((0..ROUNDS).map(once).collect())), "under 20 ms");
    }
}
