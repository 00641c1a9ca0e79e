//! A second backup of an unchanged volume of 1 GB on btrfs.

use std::{fs, process::Stdio, time::Duration};

use crate::{
    generate,
    measure::{bytes_below, line, mebibytes, ratio, run, seconds, title},
    support::{
        Place,
        filesystem::{Kind, Mounted},
    },
};

const FILES: u64 = 200;
const FILE: u64 = 5_000_000;

pub fn measure() {
    title("A second backup of an unchanged volume of 1 GB on btrfs");
    let place = Place::new();
    let Some(mounted) = Mounted::new(Kind::Btrfs, &place.join("disk"), 4096) else { return };
    let volume = mounted.subvolume("data");
    for number in 0..FILES {
        let mut file = std::io::BufWriter::new(fs::File::create(volume.join(format!("{number}"))).unwrap());
        generate::write_to(&mut file, FILE, number * 2 + 1);
    }
    let blueprint = place.file(
        "volume.yaml",
        &format!(
            r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {{name: volume}}
spec:
  summary: A volume
  volumes:
    data: {{path: "{}"}}
  actions:
    backup:
      quiesce:
        - name: still
          pair: {{blocksWrites: true, acquire: ["true"], confirm: {{command: ["true"], expect: "result.exitCode == 0"}}, release: ["true"]}}
      capture:
        - name: data
          snapshot: {{volume: data, mode: atomic}}
      store:
        - volume: {{from: captures.data, artifact: data}}
"#,
            volume.display()
        ),
    );
    // A file that changed within a second of the last cut is read again, rightly.
    std::thread::sleep(Duration::from_millis(1500));
    place.init();
    let backup =
        || run(place.command(["backup", blueprint.to_str().unwrap(), "--quiet"]).stdout(Stdio::null())).took;
    let first = backup();
    let stored = bytes_below(&place.repository());
    let second = backup();
    let added = bytes_below(&place.repository()) - stored;
    line("the first", &seconds(first), "");
    line("the second", &seconds(second), "");
    line("ratio", &format!("{:.3}", ratio(second, first)), "at most 0.15");
    line("stored by the second", &mebibytes(added), "next to nothing");
}
