//! The memory of the agents that run on this machine, which is the cluster's node.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::measure::peak;

/// The most that each kind of agent had at once, in bytes, by what comes after `agent` on its command line.
pub type Peaks = BTreeMap<String, u64>;

/// How often they are looked at: what each had at most is known at any time, and looking must cost next to nothing.
const EVERY: Duration = Duration::from_millis(200);

/// Looks at them until it is stopped.
pub struct Watch {
    ended: Arc<AtomicBool>,
    looking: JoinHandle<Peaks>,
}

impl Watch {
    pub fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let looking = thread::spawn(move || {
            let mut peaks = Peaks::new();
            while !until.load(Ordering::Relaxed) {
                look(&mut peaks);
                thread::sleep(EVERY);
            }
            peaks
        });
        Self { ended, looking }
    }

    pub fn stop(self) -> Peaks {
        self.ended.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

fn look(peaks: &mut Peaks) {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    for process in processes.map(|process| process.path()) {
        let Some(name) = agent(&fs::read(process.join("cmdline")).unwrap_or_default()) else { continue };
        let pid = process.file_name().and_then(|pid| pid.to_str()?.parse().ok());
        let most = peaks.entry(name).or_default();
        *most = (*most).max(pid.and_then(peak).unwrap_or_default());
    }
}

/// What an agent does: `runner` of `/standstill agent runner …`.
fn agent(command: &[u8]) -> Option<String> {
    let mut words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next()?;
    let is_agent = program.rsplit('/').next()? == "standstill" && words.next()? == "agent";
    if is_agent { Some(words.next()?.into_owned()) } else { None }
}
