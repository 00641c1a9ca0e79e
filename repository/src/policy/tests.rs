use proptest::prelude::*;
use standstill_core::point::{Consistency, Freeze, RecoveryPoint, Verification};

use super::*;

fn point(name: &str, number: u64, at: &str, outcome: Option<CheckOutcome>) -> ListedPoint {
    let id: RunId = format!("{number:032x}").parse().unwrap();
    let cut_at: Timestamp = at.parse().unwrap();
    let verification = outcome.map(|outcome| Verification {
        run: id.clone(),
        recovery_point: id.clone(),
        member: None,
        outcome,
        checks: Vec::new(),
        rto_milliseconds: None,
        data_age_seconds: 0,
        at: cut_at,
    });
    let point = RecoveryPoint {
        id,
        name: name.to_owned(),
        blueprint: "sqlite".to_owned(),
        blueprint_digest: String::new(),
        blueprint_text: String::new(),
        parameters: serde_json::Map::new(),
        cut_at,
        started_at: cut_at,
        consistency: Consistency::Application,
        freeze: Freeze::default(),
        holds: Vec::new(),
        outputs: BTreeMap::new(),
        artifacts: Vec::new(),
        facts: Vec::new(),
        version: None,
        identity: None,
        members: Vec::new(),
        standstill: "0".to_owned(),
    };
    ListedPoint { point, verification }
}

fn kept(points: &[ListedPoint], policy: &Policy) -> Vec<String> {
    let decision = decide(points, policy, &TimeZone::UTC);
    let at =
        |id: &RunId| points.iter().find(|listed| listed.point.id == *id).unwrap().point.cut_at.to_string();
    decision.keep.iter().map(|(id, _)| at(id)).collect()
}

#[test]
fn each_application_keeps_its_own_newest_ones() {
    let points = [
        point("a", 1, "2026-11-01T00:00:00Z", None),
        point("b", 2, "2026-11-02T00:00:00Z", None),
        point("a", 3, "2026-11-03T00:00:00Z", None),
    ];
    let policy = Policy { keep_last: 1, ..Policy::default() };
    assert_eq!(kept(&points, &policy), ["2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"]);
}

#[test]
fn of_each_period_the_newest_is_kept_and_empty_periods_do_not_count() {
    let points = [
        point("a", 1, "2026-11-01T08:00:00Z", None),
        point("a", 2, "2026-11-01T20:00:00Z", None),
        point("a", 3, "2026-11-09T08:00:00Z", None),
        point("a", 4, "2026-11-09T08:30:00Z", None),
    ];
    let daily = Policy { keep_daily: 2, ..Policy::default() };
    assert_eq!(kept(&points, &daily), ["2026-11-01T20:00:00Z", "2026-11-09T08:30:00Z"]);
    let hourly = Policy { keep_hourly: 2, ..Policy::default() };
    assert_eq!(kept(&points, &hourly), ["2026-11-01T20:00:00Z", "2026-11-09T08:30:00Z"]);
    let weekly = Policy { keep_weekly: 1, ..Policy::default() };
    assert_eq!(kept(&points, &weekly), ["2026-11-09T08:30:00Z"]);
    let within = Policy { keep_within: Some(Duration::from_hours(1)), ..Policy::default() };
    assert_eq!(kept(&points, &within), ["2026-11-09T08:00:00Z", "2026-11-09T08:30:00Z"]);
}

#[test]
fn the_newest_one_that_passed_is_kept_by_every_policy() {
    let points = [
        point("a", 1, "2026-11-01T00:00:00Z", Some(CheckOutcome::Passed)),
        point("a", 2, "2026-11-02T00:00:00Z", Some(CheckOutcome::Passed)),
        point("a", 3, "2026-11-03T00:00:00Z", Some(CheckOutcome::Failed)),
        point("a", 4, "2026-11-04T00:00:00Z", None),
    ];
    assert_eq!(kept(&points, &Policy::default()), ["2026-11-02T00:00:00Z"]);
}

fn some_points() -> impl Strategy<Value = Vec<ListedPoint>> {
    let outcome = prop_oneof![
        Just(None),
        Just(Some(CheckOutcome::Passed)),
        Just(Some(CheckOutcome::Failed)),
        Just(Some(CheckOutcome::Skipped)),
    ];
    let one = (prop_oneof![Just("a"), Just("b")], 0_i64..40_000_000, outcome);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let numbered = all.into_iter().zip(1..);
        numbered
            .map(|((name, second, outcome), number)| {
                let at = Timestamp::from_second(1_700_000_000 + second).unwrap().to_string();
                point(name, number, &at, outcome)
            })
            .collect()
    })
}

fn some_policy() -> impl Strategy<Value = Policy> {
    (0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4, prop::option::of(0_u64..5_000_000)).prop_map(
        |(keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, within)| Policy {
            keep_last,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            keep_within: within.map(Duration::from_secs),
        },
    )
}

proptest! {
    #[test]
    fn every_point_is_either_kept_with_a_reason_or_removed(points in some_points(), policy in some_policy()) {
        let decision = decide(&points, &policy, &TimeZone::UTC);
        prop_assert!(decision.keep.iter().all(|(_, rules)| !rules.is_empty()));
        let mut all: Vec<RunId> = decision.keep.into_iter().map(|(id, _)| id).chain(decision.remove).collect();
        all.sort();
        let mut wanted: Vec<RunId> = points.iter().map(|listed| listed.point.id.clone()).collect();
        wanted.sort();
        prop_assert_eq!(all, wanted);
    }

    #[test]
    fn the_newest_verified_point_of_a_name_is_never_removed(points in some_points(), policy in some_policy()) {
        let decision = decide(&points, &policy, &TimeZone::UTC);
        for name in ["a", "b"] {
            let passed = points.iter().filter(|listed| {
                listed.point.name == name
                    && listed.verification.as_ref().is_some_and(|one| one.outcome == CheckOutcome::Passed)
            });
            if let Some(newest) = passed.max_by_key(|listed| (listed.point.cut_at, &listed.point.id)) {
                prop_assert!(!decision.remove.contains(&newest.point.id));
            }
        }
    }

    #[test]
    fn a_more_generous_policy_never_removes_more(points in some_points(), policy in some_policy()) {
        let more = Policy { keep_last: policy.keep_last + 1, keep_daily: policy.keep_daily + 2, ..policy };
        let strict = decide(&points, &policy, &TimeZone::UTC);
        let generous = decide(&points, &more, &TimeZone::UTC);
        prop_assert!(generous.remove.iter().all(|id| strict.remove.contains(id)));
    }
}
