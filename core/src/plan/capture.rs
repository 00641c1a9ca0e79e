//! How a volume is captured: the first mode that is possible here and that every hold tolerates.

use super::{Plan, PlannedStep};
use crate::{
    Error, Result,
    hook::HoldTraits,
    runtime::{CaptureAbility, CaptureMode},
};

impl Plan {
    /// Whether the snapshot that a step takes is kept as an artifact.
    pub fn keeps(&self, step: &PlannedStep) -> bool {
        let Some(snapshot) = &step.step.snapshot else { return false };
        let from = format!("captures.{}", step.step.name.as_deref().unwrap_or(&snapshot.volume));
        let mut volumes = self.steps.iter().filter_map(|step| step.step.volume.as_ref());
        volumes.any(|volume| volume.keep.is_some() && volume.from.as_deref() == Some(&from))
    }

    /// The volumes that may be captured by snapshots at the same time, which go with the run.
    pub fn captured_together(&self) -> Vec<&str> {
        let by_snapshot = |mode| !matches!(mode, Some(CaptureMode::Live | CaptureMode::Copy));
        let steps = self.steps.iter().filter(|step| !self.keeps(step));
        let snapshots = steps.filter_map(|step| step.step.snapshot.as_ref());
        snapshots.filter(|step| by_snapshot(step.mode)).map(|step| step.volume.as_str()).collect()
    }
}

/// How a volume will be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capturing {
    /// The mode; never `auto`.
    pub mode: CaptureMode,
    /// Whether files may vanish or change size while they are read.
    pub tolerate_changes: bool,
}

/// Chooses the mode for a volume. `others_wait`: whether writes to another member of its group wait meanwhile.
///
/// # Errors
/// [`crate::ErrorKind::Input`], naming for each mode why it cannot be used: what is not tolerated is refused before
/// anything is held, not discovered by a restore.
pub fn choose(
    volume: &str,
    wanted: CaptureMode,
    abilities: &[CaptureAbility],
    holds: &[HoldTraits],
    others_wait: bool,
) -> Result<Capturing> {
    const ORDER: [CaptureMode; 3] = [CaptureMode::Atomic, CaptureMode::Live, CaptureMode::Copy];
    let mut refusals = Vec::new();
    for mode in ORDER {
        if wanted != CaptureMode::Auto && wanted != mode {
            continue;
        }
        let Some(ability) = abilities.iter().find(|ability| ability.mode == mode) else {
            continue;
        };
        if let Some(reason) = refusal(wanted, ability, holds, others_wait) {
            refusals.push(format!("{}: {reason}", name(mode)));
            continue;
        }
        let writes_go_on = !holds.iter().any(|hold| hold.blocks_writes);
        return Ok(Capturing { mode, tolerate_changes: writes_go_on && mode != CaptureMode::Atomic });
    }
    Err(Error::input(format!("the volume `{volume}` cannot be captured ({})", refusals.join("; ")))
        .remedy("Put the volume on a file system with snapshots (btrfs), or quiesce with a hold that tolerates a copy."))
}

const fn name(mode: CaptureMode) -> &'static str {
    match mode {
        CaptureMode::Atomic => "atomic",
        CaptureMode::Live => "live",
        CaptureMode::Copy => "copy",
        CaptureMode::Auto => "auto",
    }
}

/// Why an ability cannot be used under these holds; `None` if it can.
fn refusal(
    wanted: CaptureMode,
    ability: &CaptureAbility,
    holds: &[HoldTraits],
    others_wait: bool,
) -> Option<String> {
    if let Some(reason) = &ability.refused {
        return Some(reason.clone());
    }
    let writes_go_on = !holds.iter().any(|hold| hold.blocks_writes);
    let all = |tolerates: fn(&HoldTraits) -> bool| holds.iter().all(tolerates);
    match ability.mode {
        CaptureMode::Atomic if ability.block_level && !all(|hold| hold.tolerates.block_level) => {
            Some("a snapshot of the block device does not see what is still in the page cache".into())
        }
        CaptureMode::Atomic | CaptureMode::Auto => None,
        _ if holds.is_empty() => Some("nothing is held, so files would be read while they change".into()),
        CaptureMode::Live if wanted == CaptureMode::Auto && (!writes_go_on || others_wait) => {
            Some("writes would wait for the whole upload".into())
        }
        _ if !all(|hold| hold.tolerates.not_atomic) => {
            Some("a hold does not tolerate a copy that is not atomic".into())
        }
        _ if writes_go_on && !all(|hold| hold.tolerates.changing_files) => {
            Some("writes go on, and a hold does not tolerate files that change while they are read".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{HoldKind, Tolerance};

    fn ability(mode: CaptureMode, refused: Option<&str>, block_level: bool) -> CaptureAbility {
        CaptureAbility { mode, refused: refused.map(Into::into), block_level, by: "test" }
    }

    fn hold(blocks_writes: bool, not_atomic: bool, changing_files: bool) -> HoldTraits {
        let tolerates = Tolerance { not_atomic, changing_files, block_level: false };
        HoldTraits { kind: HoldKind::Session, blocks_writes, tolerates }
    }

    fn abilities(atomic: Option<&str>) -> Vec<CaptureAbility> {
        vec![
            ability(CaptureMode::Atomic, atomic, false),
            ability(CaptureMode::Live, None, false),
            ability(CaptureMode::Copy, None, false),
        ]
    }

    #[test]
    fn atomic_comes_first_where_it_is_possible() {
        let chosen =
            choose("data", CaptureMode::Auto, &abilities(None), &[hold(false, true, true)], false).unwrap();
        assert_eq!(chosen, Capturing { mode: CaptureMode::Atomic, tolerate_changes: false });
    }

    #[test]
    fn a_hold_that_blocks_no_writes_lets_files_be_read_live() {
        let chosen =
            choose("data", CaptureMode::Auto, &abilities(Some("ext4")), &[hold(false, true, true)], false)
                .unwrap();
        assert_eq!(chosen, Capturing { mode: CaptureMode::Live, tolerate_changes: true });
    }

    #[test]
    fn writes_never_wait_for_an_upload_unless_the_author_says_so() {
        let holds = [hold(true, true, false)];
        let chosen = choose("data", CaptureMode::Auto, &abilities(Some("ext4")), &holds, false).unwrap();
        assert_eq!(chosen, Capturing { mode: CaptureMode::Copy, tolerate_changes: false });
        let chosen = choose("data", CaptureMode::Live, &abilities(None), &holds, false).unwrap();
        assert_eq!(chosen.mode, CaptureMode::Live);
    }

    #[test]
    fn what_a_hold_does_not_tolerate_is_refused_with_every_reason() {
        let error = choose(
            "data",
            CaptureMode::Auto,
            &abilities(Some("not btrfs")),
            &[hold(false, false, false)],
            false,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the volume `data` cannot be captured (atomic: not btrfs; live: a hold does not tolerate a copy that is \
             not atomic; copy: a hold does not tolerate a copy that is not atomic)"
        );
    }

    #[test]
    fn without_a_hold_only_an_atomic_capture_is_possible() {
        assert!(choose("data", CaptureMode::Copy, &abilities(None), &[], false).is_err());
        assert!(choose("data", CaptureMode::Auto, &abilities(None), &[], false).is_ok());
    }

    #[test]
    fn a_block_level_snapshot_needs_a_hold_that_tolerates_it() {
        let block = [ability(CaptureMode::Atomic, None, true)];
        assert!(choose("data", CaptureMode::Auto, &block, &[hold(true, true, false)], false).is_err());
    }
}
