//! What is done with a subject.

use super::{place::Outcome, subject::Subject};

impl Subject {
    /// `backup …` of it.
    pub fn backup_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["backup".to_owned(), self.blueprint.clone(), "--output=json".to_owned()];
        arguments.extend(self.values().iter().map(|value| format!("--set={value}")));
        arguments
    }

    /// Backs it up.
    #[track_caller]
    pub fn backup(&self) -> Outcome {
        self.place.run(self.backup_arguments())
    }

    /// Backs it up, which must succeed; the recovery point.
    #[track_caller]
    pub fn backup_ok(&self) -> String {
        let outcome = self.backup();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        let report = outcome.json();
        assert_eq!(report["consistency"], self.kind.consistency(), "{outcome}");
        report["recoveryPoint"].as_str().unwrap_or_else(|| panic!("no recovery point: {outcome}")).to_owned()
    }

    /// Verifies a recovery point.
    #[track_caller]
    pub fn verify(&self, point: &str) -> Outcome {
        self.place.run(["verify", point, "--output=json"])
    }

    /// Verifies a recovery point, which must pass.
    #[track_caller]
    pub fn verify_ok(&self, point: &str) {
        let outcome = self.verify(point);
        assert_eq!(outcome.code(), Some(0), "{}: {outcome}", self.kind);
        let report = outcome.json();
        assert_eq!(report["outcome"], "passed", "{outcome}");
        assert_ne!(report["checks"].as_array().map(Vec::len), Some(0), "{outcome}");
    }
}
