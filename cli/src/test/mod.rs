//! `standstill test`: a blueprint's own tests, and its crash matrix.
//!
//! ```text
//!   tests/*.yaml ──▶ place, application, writer ──▶ backup ─▶ restore ─▶ read ─▶ verify ─▶ kill and stop runs ──▶ report
//! ```

mod application;
mod crash;
mod place;
mod report;
mod story;

use std::{fs, path::Path};

use standstill_core::{
    Error, Result,
    language::{BlueprintTest, Severity, Source, as_error_of, is_test, lint_test, read_test},
};

pub use self::report::TestsReport;
use self::{
    place::Place,
    report::TestReport,
    story::{Asked, tell},
};
use crate::{
    arguments::{self, Global},
    blueprint::{Text, find, load},
    output, signals,
    values::given,
    wiring,
};

/// Runs the tests of a blueprint, and says what they showed.
pub async fn test(global: &Global, arguments: &arguments::Test) -> Result<u8> {
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let blueprint = absolute(find(&arguments.blueprint)?);
    let given = given(&arguments.values)?;
    let name = load(&blueprint, wiring::hooks().as_ref())?.metadata.name;
    let mut reports = Vec::new();
    for test in chosen(&blueprint, arguments.only.as_deref())? {
        if !global.quiet && global.output == arguments::Format::Text {
            output::line(format!("{} …", test.metadata.name));
        }
        let place = Place::new()?;
        let (crashes, cancel) = (arguments.crashes, cancel.clone());
        let asked = Asked { blueprint: &blueprint, test: &test, given: &given, crashes, cancel };
        let told = tell(&place, asked).await;
        if arguments.keep {
            tracing::warn!("the files of the test {} are in {}", test.metadata.name, place.keep().display());
        }
        reports.push(match told {
            Ok(report) => report,
            Err(error) if error.kind() == standstill_core::ErrorKind::Failed => {
                let mut report = TestReport::new(test.metadata.name.clone(), test.spec.summary.clone());
                report.failed("the application", error.chain());
                report
            }
            Err(error) => return Err(error.during(&format!("the test {}", test.metadata.name))),
        });
    }
    let report = TestsReport::new(name, reports);
    output::result(global, &report, || report.render())?;
    Ok(report.status())
}

/// Runs are started in another directory.
fn absolute(text: Text) -> Text {
    let path = std::path::absolute(&text.origin).ok().filter(|path| path.exists());
    Text { origin: path.map_or(text.origin, |path| path.display().to_string()), ..text }
}

/// The tests in the blueprint's folder, or the one of a name.
fn chosen(blueprint: &Text, only: Option<&str>) -> Result<Vec<BlueprintTest>> {
    let folder = Path::new(&blueprint.origin).parent().unwrap_or(Path::new(".")).join("tests");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    let mut tests = Vec::new();
    for path in paths {
        tests.extend(read(blueprint, &path)?);
    }
    let names: Vec<String> = tests.iter().map(|test| test.metadata.name.clone()).collect();
    tests.retain(|test| only.is_none_or(|only| test.metadata.name == only));
    if !tests.is_empty() {
        return Ok(tests);
    }
    Err(match only.filter(|_| !names.is_empty()) {
        Some(only) => Error::input(format!("the blueprint has no test `{only}`"))
            .remedy(format!("Its tests are: {}.", names.join(", "))),
        None => Error::input(format!("the blueprint has no tests in {}", folder.display()))
            .remedy("Write one (`kind: Test`) as docs/writing-a-blueprint.md shows; for a built-in blueprint give its folder."),
    })
}

/// The test in a file; `None` if it is something else, such as values.
fn read(blueprint: &Text, path: &Path) -> Result<Option<BlueprintTest>> {
    let origin = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|cause| {
        Error::input(format!("{origin} cannot be read")).remedy("Check its owner.").because(cause)
    })?;
    let source = Source::parse(&origin, &text).map_err(|faults| as_error_of("test", &origin, &faults))?;
    if !is_test(&source) {
        return Ok(None);
    }
    let faults = lint_test(&source, &load(blueprint, wiring::hooks().as_ref()));
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(as_error_of("test", &origin, &faults));
    }
    read_test(&origin, &text).map(Some)
}
