//! The demo tells the whole story and cleans up after itself.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    Place, eventually, leftovers,
    place::{Outcome, plain},
    postgresql::Version,
};

/// Asserts that a demo left neither a file in the places where it works nor a process.
#[track_caller]
fn left_nothing(place: &Place, outcome: &Outcome) {
    eventually(Duration::from_secs(10), "processes end", || leftovers::processes(place, &[]).is_empty());
    let left: Vec<_> = fs::read_dir(place.tmp()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "{outcome}");
    assert!(
        !place.join("state").join("standstill").exists(),
        "the demo wrote into the user's own state: {outcome}"
    );
}

#[track_caller]
fn tells_the_story(arguments: &[&str], path: Option<&Version>) {
    let mut place = Place::new();
    place.path = path.map(|version| version.bin.clone()).into_iter().collect();
    let outcome = place.run(arguments);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let story = plain(&format!("{} {}", outcome.stdout, outcome.stderr)).to_lowercase();
    for told in ["freeze", "before", "during", "after", "acknowledged", "restore"] {
        assert!(story.contains(told), "`{told}` is not told: {outcome}");
    }
    left_nothing(&place, &outcome);
}

#[test]
fn the_demo_of_sqlite_ends_well_and_leaves_nothing() {
    tells_the_story(&["demo"], None);
}

#[test]
fn the_demo_of_postgresql_ends_well_and_leaves_nothing() {
    for version in Version::all() {
        tells_the_story(&["demo", "--database", "postgresql"], Some(&version));
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let databases = if Version::first().is_some() { vec!["sqlite", "postgresql"] } else { vec!["sqlite"] };
    for database in databases {
        for (signal, after) in [(Signal::INT, 300), (Signal::TERM, 2500)] {
            let mut place = Place::new();
            place.path = Version::first().map(|version| version.bin).into_iter().collect();
            let demo = place.start(["demo", "--database", database]);
            // Anywhere will do: at the beginning and in the middle.
            std::thread::sleep(Duration::from_millis(after));
            demo.signal(signal);
            let outcome = demo.wait();
            assert!(matches!(outcome.code(), Some(0 | 1)), "{outcome}");
            left_nothing(&place, &outcome);
        }
    }
}

#[test]
fn the_demo_says_what_is_missing_where_there_is_no_postgresql() {
    let place = Place::new();
    if std::path::Path::new("/usr/lib/postgresql").exists() {
        println!("left out: PostgreSQL is installed where the demo looks");
        return;
    }
    place.run(["demo", "--database", "postgresql"]).fails(2, &["PostgreSQL"]);
}
