//! A stream of 1 GiB, beside `restic backup --stdin`; and the memory that streams of any length take.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    generate,
    measure::{Cost, bytes_below, line, mebibytes, median, ratio, run, seconds, title},
    support::{Place, place::PASSWORD},
};

const GIBIBYTE: u64 = 1 << 30;
const ROUNDS: usize = 3;

/// A blueprint that stores the output of a command.
pub fn blueprint(place: &Place, command: &[&str]) -> PathBuf {
    let command: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    place.file(
        "stream.yaml",
        &format!(
            "apiVersion: standstill.dev/v1alpha1\nkind: Blueprint\nmetadata: {{name: stream}}\nspec:\n  summary: A stream\n  actions:\n    backup:\n      capture:\n        - stream: {{artifact: data, command: [{}], consistent: true}}\n",
            command.join(", ")
        ),
    )
}

/// A new, empty repository in the place's.
pub fn fresh_repository(place: &Place) {
    let _none = fs::remove_dir_all(place.repository());
    place.init();
}

/// `restic` on a repository of its own.
pub fn restic(repository: &Path, cache: &Path) -> Command {
    let mut command = Command::new("restic");
    command
        .env("RESTIC_REPOSITORY", repository)
        .env("RESTIC_PASSWORD", &*PASSWORD)
        .env("RESTIC_CACHE_DIR", cache)
        .arg("--quiet")
        .stdout(Stdio::null());
    command
}

/// A new, empty repository of restic's.
pub fn fresh_restic(repository: &Path, cache: &Path) {
    let _none = fs::remove_dir_all(repository);
    run(restic(repository, cache).arg("init"));
}

/// Backs up what a command writes, with restic.
pub fn restic_stdin(repository: &Path, cache: &Path, producer: &mut Command) -> Cost {
    let started = std::time::Instant::now();
    let mut producer = producer.stdout(Stdio::piped()).spawn().unwrap();
    let mut command = restic(repository, cache);
    command.args(["backup", "--stdin"]).stdin(producer.stdout.take().unwrap());
    let cost = run(&mut command);
    assert!(producer.wait().unwrap().success());
    Cost { took: started.elapsed(), ..cost }
}

pub fn measure() {
    title("A stream of 1 GiB into a local repository");
    if Command::new("restic").arg("version").stdout(Stdio::null()).status().is_err() {
        return println!("  left out: there is no restic");
    }
    let place = Place::new();
    let file = place.join("gibibyte");
    generate::write_to(&mut std::io::BufWriter::new(fs::File::create(&file).unwrap()), GIBIBYTE, 7);
    let file = file.to_str().unwrap();
    let blueprint = blueprint(&place, &["cat", file]);
    let (repository, cache) = (place.join("restic"), place.join("cache"));
    let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        fresh_repository(&place);
        let cost =
            run(place.command(["backup", blueprint.to_str().unwrap(), "--quiet"]).stdout(Stdio::null()));
        ours.push(cost.took);
        memory = memory.max(cost.memory);
        fresh_restic(&repository, &cache);
        theirs.push(restic_stdin(&repository, &cache, Command::new("cat").arg(file)).took);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let (our_bytes, their_bytes) = (bytes_below(&place.repository()), bytes_below(&repository));
    line("standstill backup", &seconds(ours), "");
    line("restic backup --stdin", &seconds(theirs), "");
    line("ratio of the times", &format!("{:.2}", ratio(ours, theirs)), "at most 0.80");
    #[expect(clippy::cast_precision_loss, reason = "a ratio with two decimals")]
    let stored = our_bytes as f64 / their_bytes as f64;
    line("stored", &mebibytes(our_bytes), "");
    line("stored by restic", &mebibytes(their_bytes), "");
    line("ratio of the stored bytes", &format!("{stored:.3}"), "at most 1.05");
    line("memory of the runner", &mebibytes(memory), "less than 200 MiB");
}

pub fn measure_memory() {
    title("Memory, whatever the stream's length");
    let place = Place::new();
    let own = std::env::current_exe().unwrap();
    for (name, bytes) in [("256 MiB", GIBIBYTE / 4), ("4 GiB", 4 * GIBIBYTE)] {
        let bytes = bytes.to_string();
        let blueprint = blueprint(&place, &[own.to_str().unwrap(), "generate", &bytes, "11"]);
        fresh_repository(&place);
        let cost =
            run(place.command(["backup", blueprint.to_str().unwrap(), "--quiet"]).stdout(Stdio::null()));
        line(&format!("{name} in {}", seconds(cost.took)), &mebibytes(cost.memory), "less than 200 MiB");
    }
}
