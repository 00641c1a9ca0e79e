//! Which recovery points a `forget` keeps.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use standstill_core::{
    point::{CheckOutcome, RunId},
    repository::ListedPoint,
};

/// How many recovery points of each application are kept: the newest ones, and of each hour, day, week (ISO),
/// month and year the newest one, for so many of those that have any. A rule of 0 keeps nothing by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones.
    pub keep_last: u32,
    /// One an hour.
    pub keep_hourly: u32,
    /// One a day.
    pub keep_daily: u32,
    /// One a week; weeks start on Monday.
    pub keep_weekly: u32,
    /// One a month.
    pub keep_monthly: u32,
    /// One a year.
    pub keep_yearly: u32,
    /// All that are at most so much older than the newest one.
    pub keep_within: Option<Duration>,
}

/// What a policy decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// To be kept, oldest first, with the rules that say so (`last`, `daily`, …, `newest verified`).
    pub keep: Vec<(RunId, Vec<&'static str>)>,
    /// To be removed, oldest first.
    pub remove: Vec<RunId>,
}

impl Policy {
    /// Whether no rule is set. Such a policy would remove all but the newest verified one: ask first.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Applies a policy to each application by itself. Never removes the newest recovery point of an application whose
/// verification passed: it is the one that is known to work.
///
/// `zone` is where days, weeks, months and years begin.
pub fn decide(points: &[ListedPoint], policy: &Policy, zone: &TimeZone) -> Decision {
    let mut applications: BTreeMap<&str, Vec<&ListedPoint>> = BTreeMap::new();
    for listed in points {
        applications.entry(&listed.point.name).or_default().push(listed);
    }
    let mut kept: BTreeMap<&RunId, Vec<&'static str>> = BTreeMap::new();
    for of_one in applications.values_mut() {
        of_one.sort_by_key(|listed| (listed.point.cut_at, &listed.point.id));
        of_one.reverse();
        for (id, rule) in keep_of_one(of_one, policy, zone) {
            kept.entry(id).or_default().push(rule);
        }
    }
    let mut sorted: Vec<&ListedPoint> = points.iter().collect();
    sorted.sort_by_key(|listed| (listed.point.cut_at, &listed.point.id));
    let mut decision = Decision::default();
    for listed in sorted {
        let id = &listed.point.id;
        match kept.get(id) {
            Some(rules) => decision.keep.push((id.clone(), rules.clone())),
            None => decision.remove.push(id.clone()),
        }
    }
    decision
}

/// What is kept of one application's recovery points (newest first), and why.
fn keep_of_one<'a>(
    points: &[&'a ListedPoint],
    policy: &Policy,
    zone: &TimeZone,
) -> Vec<(&'a RunId, &'static str)> {
    let mut kept = Vec::new();
    let last = usize::try_from(policy.keep_last).unwrap_or(usize::MAX);
    kept.extend(points.iter().take(last).map(|listed| (&listed.point.id, "last")));
    for (rule, wanted, period) in periods(policy) {
        let mut seen = HashSet::new();
        for listed in points {
            if seen.len() >= usize::try_from(wanted).unwrap_or(usize::MAX) {
                break;
            }
            if seen.insert(period(listed.point.cut_at, zone)) {
                kept.push((&listed.point.id, rule));
            }
        }
    }
    if let (Some(within), Some(newest)) = (policy.keep_within, points.first()) {
        let young = |listed: &&&ListedPoint| {
            let age = newest.point.cut_at.duration_since(listed.point.cut_at);
            age.unsigned_abs() <= within
        };
        kept.extend(points.iter().filter(young).map(|listed| (&listed.point.id, "within")));
    }
    let passed = |listed: &&&ListedPoint| {
        listed.verification.as_ref().is_some_and(|verification| verification.outcome == CheckOutcome::Passed)
    };
    kept.extend(points.iter().find(passed).map(|listed| (&listed.point.id, "newest verified")));
    kept
}

/// The period that a moment lies in: its first day, and the hour where that counts.
type Period = fn(Timestamp, &TimeZone) -> (Date, i8);

fn periods(policy: &Policy) -> [(&'static str, u32, Period); 5] {
    fn date(at: Timestamp, zone: &TimeZone) -> Date {
        zone.to_datetime(at).date()
    }
    [
        ("hourly", policy.keep_hourly, |at, zone| (date(at, zone), zone.to_datetime(at).hour())),
        ("daily", policy.keep_daily, |at, zone| (date(at, zone), 0)),
        ("weekly", policy.keep_weekly, |at, zone| {
            let day = date(at, zone);
            (day.saturating_sub(day.weekday().to_monday_zero_offset().days()), 0)
        }),
        ("monthly", policy.keep_monthly, |at, zone| (date(at, zone).first_of_month(), 0)),
        ("yearly", policy.keep_yearly, |at, zone| (date(at, zone).first_of_year(), 0)),
    ]
}

#[cfg(test)]
mod tests;
