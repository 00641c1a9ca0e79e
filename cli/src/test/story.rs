//! One test: given an application that is written to; then a backup is restored, read and verified; and runs are killed
//! and stopped.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use standstill_core::{
    Error, Result,
    language::{BlueprintTest, Scope, render_text, render_value},
    plan::{Given, RunPlan, bind},
    runtime::Runtime,
    units::{parse_duration, show_duration},
};
use standstill_local::StateDir;
use tokio_util::sync::CancellationToken;

use super::{
    application::{Writer, bring_up, command, run},
    crash::{crash, lines},
    place::{Ended, Place, Started},
    report::TestReport,
};
use crate::{
    arguments::Crashes,
    blueprint::{Text, load},
    commands::request,
    wiring,
};

/// How long the application may take to go on after a run that ended well.
const GOES_ON: Duration = Duration::from_secs(30);

/// A test that is being run.
pub struct Story<'a> {
    pub place: &'a Place,
    pub writer: Writer,
    /// How long the longest hold may outlive its runner.
    pub lease: Duration,
    pub crashes: Crashes,
    blueprint: &'a Text,
    runtime: Arc<dyn Runtime>,
    scope: Scope,
    values: String,
    cancel: CancellationToken,
}

/// What a test is run with.
pub struct Asked<'a> {
    pub blueprint: &'a Text,
    pub test: &'a BlueprintTest,
    /// Values over those of the test.
    pub given: &'a BTreeMap<String, Given>,
    pub crashes: Crashes,
    pub cancel: CancellationToken,
}

/// Runs a test in a place.
///
/// # Errors
/// When the application cannot be brought up, or the test was cancelled; what a blueprint does wrong is in the report.
pub async fn tell(place: &Place, asked: Asked<'_>) -> Result<TestReport> {
    let spec = &asked.test.spec;
    let mut report = TestReport::new(asked.test.metadata.name.clone(), spec.summary.clone());
    let port = free_port()?;
    let folder = Path::new(&asked.blueprint.origin).parent().unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut scope = Scope::new();
    scope.insert("place", place.application().display().to_string());
    scope.insert("port", port);
    scope.insert("folder", folder.display().to_string());
    let given: BTreeMap<String, Given> = rendered(&spec.given.parameters, &scope)?
        .into_iter()
        .map(|(name, value)| (name, Given::Value(value)))
        .chain(asked.given.clone())
        .collect();
    let blueprint = load(asked.blueprint, wiring::hooks().as_ref())?;
    let values = bind(&blueprint, &given)?;
    scope.insert("params", Value::Object(values.parameters.clone()));
    let mut written = values.parameters.clone();
    written.extend(values.secrets.iter().map(|(name, secret)| (name.clone(), json!(secret))));
    let lease = longest_lease(asked.blueprint, values)?;

    let runtime =
        wiring::runtime(&StateDir::at(&place.path("state/standstill"))?, Duration::from_secs(10), None)?;
    let given = (spec.given.prepare.as_slice(), spec.given.service.as_ref());
    let service = bring_up(runtime.as_ref(), given, &scope, port, &asked.cancel).await?;
    initialise(place).await?;
    let writer = Writer::start(&runtime, &spec.given.write, &scope);
    let story = Story {
        place,
        writer,
        lease,
        crashes: asked.crashes,
        blueprint: asked.blueprint,
        runtime,
        scope,
        values: place.values("values.yaml", &written)?.display().to_string(),
        cancel: asked.cancel,
    };
    let told = story.all(asked.test, &mut report).await;
    story.writer.stop().await;
    if let Some(service) = service {
        service.stop().await?;
    }
    told.map(|()| report)
}

impl Story<'_> {
    async fn all(&self, test: &BlueprintTest, report: &mut TestReport) -> Result<()> {
        if self.writer.goes_on(GOES_ON).await?.is_none() {
            return Err(Error::failed(format!("nothing was written within {}", show_duration(GOES_ON)))
                .remedy("Check the command of `write`."));
        }
        let before = self.writer.acknowledged();
        let backup = self.start_backup()?.wait().await?;
        let begun = self.writer.begun();
        if !backed_up(&backup, report) {
            return Ok(());
        }
        let journal = self.place.journals().pop().map(|path| lines(&path)).unwrap_or_default();
        if !self.still_writes(report, "writes after the backup").await? {
            return Ok(());
        }
        self.restored(test, before, begun, report).await?;
        self.go_on()?;
        let verify = self.place.run(&["verify", "latest", "--output=json"]).await?;
        match verify.report["checks"].as_array().filter(|_| verify.status == Some(0)) {
            Some(checks) if checks.len() == 1 => report.passed("verify", "1 check"),
            Some(checks) => report.passed("verify", format!("{} checks", checks.len())),
            None => report.failed("verify", why_unverified(&verify)),
        }
        crash(self, &journal, report).await?;
        if self.crashes == Crashes::None || report.still_held {
            return Ok(());
        }
        let last = self.start_backup()?.wait().await?;
        match last.status {
            Some(0) => report.passed("a backup after all that", "nothing is in its way"),
            _ => report.failed("a backup after all that", last.why()),
        }
        self.still_writes(report, "writes after all that").await?;
        if let Some(left) = self.left_behind().await? {
            report.failed("nothing is left", left);
        }
        Ok(())
    }

    /// Starts a backup of the application.
    pub fn start_backup(&self) -> Result<Started> {
        self.place.start(&["backup", &self.blueprint.origin, "--values", &self.values, "--output=json"])
    }

    /// Whether the test is to go on.
    pub fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::cancelled("the test was cancelled").remedy("Start it again when you like."));
        }
        Ok(())
    }

    async fn still_writes(&self, report: &mut TestReport, what: &str) -> Result<bool> {
        let went_on = self.writer.goes_on(GOES_ON).await?.is_some();
        if !went_on {
            let within = show_duration(GOES_ON);
            report.failed(what, format!("nothing was written within {within}: it is still held"));
            report.still_held = true;
        }
        Ok(went_on)
    }

    /// Restores the newest backup, and reads every number in the copy.
    async fn restored(
        &self,
        test: &BlueprintTest,
        before: u64,
        begun: u64,
        report: &mut TestReport,
    ) -> Result<()> {
        let (mut scope, port) = (self.scope.clone(), free_port()?);
        scope.insert("copy", self.place.application().join("copy").display().to_string());
        scope.insert("copyPort", port);
        let then = (test.spec.then.prepare.as_slice(), test.spec.then.service.as_ref());
        let service = bring_up(self.runtime.as_ref(), then, &scope, port, &self.cancel).await?;
        let restored = self.restored_into(test, &scope, before, begun, report).await;
        if let Some(service) = service {
            service.stop().await?;
        }
        restored
    }

    async fn restored_into(
        &self,
        test: &BlueprintTest,
        scope: &Scope,
        before: u64,
        begun: u64,
        report: &mut TestReport,
    ) -> Result<()> {
        let values = self.place.values("restore.yaml", &rendered(&test.spec.then.restore, scope)?)?;
        let values = values.display().to_string();
        let restore = self.place.run(&["restore", "latest", "--values", &values, "--output=json"]).await?;
        if restore.status != Some(0) {
            report.failed("restore", restore.why());
            return Ok(());
        }
        let read = command(&test.spec.then.read, scope)?;
        match run(self.runtime.as_ref(), "read", &read, &self.cancel).await {
            Ok(output) => match judge(&output.stdout, before, begun) {
                Ok(detail) => report.passed("restore", detail),
                Err(detail) => report.failed("restore", detail),
            },
            Err(error) => report.failed("restore", error.chain()),
        }
        Ok(())
    }

    /// What runs left: one of them is not finished, or something temporary is still there.
    pub async fn left_behind(&self) -> Result<Option<String>> {
        let runs = self.place.run(&["runs", "--output=json"]).await?;
        let unfinished = runs
            .report
            .as_array()
            .into_iter()
            .flatten()
            .find(|run| !matches!(run["state"].as_str(), Some("succeeded" | "failed")));
        if let Some(run) = unfinished {
            return Ok(Some(format!("run {} is {} after `standstill recover`", run["run"], run["state"])));
        }
        let places = [self.place.path("tmp"), self.place.application()];
        Ok(places.iter().find_map(|place| temporary(place)).map(|path| format!("{path} was left")))
    }
}

/// A temporary thing of a run, by its name, in a directory or below it.
fn temporary(directory: &Path) -> Option<String> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.trim_start_matches('.').starts_with("standstill-") {
            return Some(entry.path().display().to_string());
        }
        let found = entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| temporary(&entry.path()));
        if let Some(found) = found.flatten() {
            return Some(found);
        }
    }
    None
}

/// Notes how the backup ended; whether there is one.
fn backed_up(backup: &Ended, report: &mut TestReport) -> bool {
    let consistency = backup.report["consistency"].as_str().unwrap_or_default();
    let freeze = backup.report["freeze"]["milliseconds"].as_u64().unwrap_or_default();
    let freeze = show_duration(Duration::from_millis(freeze));
    match (backup.status, consistency) {
        (Some(0), "application") => {
            report.passed("backup", format!("application-consistent; writes waited {freeze}"));
            true
        }
        (Some(0), other) => {
            report.failed("backup", format!("the copy is `{other}`-consistent only"));
            true
        }
        (status, _) => {
            report.failed("backup", backup.why());
            report.still_held = status == Some(3);
            false
        }
    }
}

fn why_unverified(verify: &Ended) -> String {
    let checks = verify.report["checks"].as_array().into_iter().flatten();
    let failed = checks.into_iter().find(|check| check["outcome"] == "failed");
    failed.map_or_else(|| verify.why(), |check| format!("{}: {}", check["name"], check["detail"]))
}

/// Whether the numbers of a copy are 1 to n without a gap, with all that were acknowledged before the backup, and none
/// that was not begun.
fn judge(read: &str, acknowledged: u64, begun: u64) -> Result<String, String> {
    let mut numbers = Vec::new();
    for line in read.lines().map(str::trim).filter(|line| !line.is_empty()) {
        numbers.push(line.parse::<u64>().map_err(|_| format!("`{line}` is in the copy, and is no number"))?);
    }
    numbers.sort_unstable();
    let gap = numbers.iter().zip(1..).find(|(found, expected)| *found != expected);
    if let Some((found, expected)) = gap {
        return Err(format!("{found} is in the copy where {expected} is expected"));
    }
    match numbers.last().copied().unwrap_or_default() {
        last if last < acknowledged => Err(format!(
            "{acknowledged} was acknowledged before the backup, and {last} is the last in the copy"
        )),
        last if last > begun => Err(format!("{last} is in the copy, and only {begun} had been begun")),
        last => Ok(format!("{last} numbers, none is missing")),
    }
}

fn rendered(values: &BTreeMap<String, Value>, scope: &Scope) -> Result<Map<String, Value>> {
    values.iter().map(|(name, value)| Ok((name.clone(), render_value(value, scope)?))).collect()
}

/// The longest lease of anything that the backup holds.
fn longest_lease(text: &Text, values: standstill_core::plan::Values) -> Result<Duration> {
    let plan = RunPlan::make(request(text, "backup", "test", values), None, wiring::hooks().as_ref())?;
    let mut longest = plan.limits.lease;
    for member in plan.iter() {
        let scope = member.static_scope();
        for step in &member.steps {
            let pair = step.step.pair.as_ref().and_then(|pair| pair.lease.as_ref());
            let session = step.step.session.as_ref().and_then(|session| session.lease.as_ref());
            if let Some(lease) = pair.or(session) {
                longest = longest.max(parse_duration(&render_text(lease, &scope)?)?);
            }
        }
    }
    Ok(longest)
}

async fn initialise(place: &Place) -> Result<()> {
    let made = place.run(&["init"]).await?;
    if made.status == Some(0) {
        Ok(())
    } else {
        Err(Error::failed(format!("no repository can be made: {}", made.why())))
    }
}

fn free_port() -> Result<u16> {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|cause| {
        Error::failed("no free port of the loopback address was found")
            .remedy("Check that it is up.")
            .because(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_must_have_every_acknowledged_number_and_no_gap() {
        assert_eq!(judge("1\n3\n2\n", 2, 3).unwrap(), "3 numbers, none is missing");
        assert!(judge("1\n3\n", 2, 3).unwrap_err().contains("3 is in the copy where 2"));
        assert!(judge("1\n2\n", 3, 4).unwrap_err().contains("3 was acknowledged"));
        assert!(judge("1\n2\n3\n", 1, 2).unwrap_err().contains("only 2"));
        assert!(judge("1\n2x\n", 1, 2).unwrap_err().contains("no number"));
    }

    #[test]
    fn temporary_things_are_found_wherever_they_are() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        assert_eq!(temporary(place.path()), None);
        fs::create_dir(place.path().join("a/.standstill-x-data")).unwrap();
        assert!(temporary(place.path()).unwrap().ends_with("a/.standstill-x-data"));
    }
}
