//! What the tests of a blueprint showed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use standstill_core::point::{Check, CheckOutcome};

/// What all tests of a blueprint showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestsReport {
    /// The blueprint's name.
    pub blueprint: String,
    /// Whether every test passed.
    pub outcome: CheckOutcome,
    /// The tests.
    pub tests: Vec<TestReport>,
}

/// What one test showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestReport {
    /// The test's name.
    pub name: String,
    /// What it tests.
    pub summary: String,
    /// Whether every check passed.
    pub outcome: CheckOutcome,
    /// Whether the application was still held when the test gave up: exit status 3.
    pub still_held: bool,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

/// The exit status when a check failed.
const FAILED: u8 = 1;
/// The exit status when the application was still held.
const STILL_HELD: u8 = 3;

impl TestReport {
    pub const fn new(name: String, summary: String) -> Self {
        Self { name, summary, outcome: CheckOutcome::Passed, still_held: false, checks: Vec::new() }
    }

    pub fn passed(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.add(name.into(), CheckOutcome::Passed, detail.into());
    }

    pub fn failed(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.outcome = CheckOutcome::Failed;
        self.add(name.into(), CheckOutcome::Failed, detail.into());
    }

    pub fn skipped(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.add(name.into(), CheckOutcome::Skipped, detail.into());
    }

    fn add(&mut self, name: String, outcome: CheckOutcome, detail: String) {
        self.checks.push(Check { name, outcome, detail });
    }
}

impl TestsReport {
    pub fn new(blueprint: String, tests: Vec<TestReport>) -> Self {
        let failed = tests.iter().any(|test| test.outcome == CheckOutcome::Failed);
        let outcome = if failed { CheckOutcome::Failed } else { CheckOutcome::Passed };
        Self { blueprint, outcome, tests }
    }

    /// The process' exit status.
    pub fn status(&self) -> u8 {
        match self.outcome {
            _ if self.tests.iter().any(|test| test.still_held) => STILL_HELD,
            CheckOutcome::Failed => FAILED,
            CheckOutcome::Passed | CheckOutcome::Skipped => crate::output::DONE,
        }
    }

    /// For people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for test in &self.tests {
            text.push_str(&format!("{}: {}\n", test.name, test.summary));
            for check in &test.checks {
                let mark = match check.outcome {
                    CheckOutcome::Passed => "passed ",
                    CheckOutcome::Failed => "FAILED ",
                    CheckOutcome::Skipped => "skipped",
                };
                text.push_str(&format!("  {mark}  {:44} {}\n", check.name, check.detail));
            }
        }
        let failed = self.tests.iter().filter(|test| test.outcome == CheckOutcome::Failed).count();
        let (count, s) = (self.tests.len(), if self.tests.len() == 1 { "" } else { "s" });
        text.push_str(&match failed {
            0 => format!("{count} test{s} of {} passed", self.blueprint),
            failed => format!("{failed} of {count} test{s} of {} FAILED", self.blueprint),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_is_still_held_wins_over_a_check_that_failed() {
        let mut one = TestReport::new("one".into(), "first".into());
        one.passed("backup", "fine");
        assert_eq!(TestsReport::new("kv".into(), vec![one.clone()]).status(), 0);
        one.failed("restore", "a number is missing");
        assert_eq!(TestsReport::new("kv".into(), vec![one.clone()]).status(), 1);
        one.still_held = true;
        assert_eq!(TestsReport::new("kv".into(), vec![one]).status(), 3);
    }
}
