//! `standstill new`: a starter blueprint.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use standstill_core::{Error, Result};

use crate::{
    arguments::{Global, New, Pattern},
    blueprint::{Text, load},
    output, wiring,
};

/// What stands for the application's name in a starter.
const PLACEHOLDER: &str = "NAME";

impl Pattern {
    const fn starter(self) -> &'static str {
        match self {
            Self::Pair => include_str!("../../starters/pair.yaml"),
            Self::Session => include_str!("../../starters/session.yaml"),
            Self::Dump => include_str!("../../starters/dump.yaml"),
            Self::Stop => include_str!("../../starters/stop.yaml"),
        }
    }
}

/// A test to start from, where the application can be brought up beside the one that is there. What is stopped is a unit
/// of the machine's.
fn starter_test(pattern: Pattern, name: &str) -> Option<String> {
    let held = include_str!("../../starters/test.yaml");
    let text = match pattern {
        Pattern::Pair => held.replace("CLIENT", &format!("{name}ctl")),
        Pattern::Session => held.replace("CLIENT", &format!("{name}-client")),
        Pattern::Dump => include_str!("../../starters/test-dump.yaml").to_owned(),
        Pattern::Stop => return None,
    };
    Some(text.replace(PLACEHOLDER, name))
}

/// Writes a starter blueprint with the values that its tests need; never over something that is there.
pub fn new(global: &Global, arguments: &New) -> Result<u8> {
    let text = arguments.pattern.starter().replace(PLACEHOLDER, &arguments.name);
    // A name that the language does not take is found before anything is written.
    let origin = format!("the blueprint `{}`", arguments.name);
    let blueprint = load(&Text { origin, text: text.clone() }, wiring::hooks().as_ref())?;
    let directory = arguments.directory.clone().unwrap_or_else(|| PathBuf::from(&arguments.name));
    let file = directory.join("blueprint.yaml");
    let values = directory.join("tests/values.yaml");
    let required = blueprint.spec.parameters.iter().filter(|(_, is)| is.default.is_none() && !is.optional);
    let parameters: Map<String, Value> =
        required.map(|(name, _)| (name.clone(), format!("/var/lib/{}", arguments.name).into())).collect();
    let bindings = format!(
        "# standstill backup {} --values {}\nparameters: {}\n",
        file.display(),
        values.display(),
        Value::Object(parameters)
    );
    write_new(&file, &text)?;
    write_new(&values, &bindings)?;
    let tried = starter_test(arguments.pattern, &arguments.name)
        .map(|text| (directory.join("tests/acknowledged.yaml"), text));
    if let Some((file, text)) = &tried {
        write_new(file, text)?;
    }
    let tried = tried.map(|(file, _)| file);
    let document = json!({"blueprint": file, "values": values, "test": tried});
    output::result(global, &document, || wrote(&directory, &file, tried.as_deref()))?;
    Ok(output::DONE)
}

/// What was written, and what to do next.
fn wrote(directory: &Path, file: &Path, test: Option<&Path>) -> String {
    let (file, directory) = (file.display(), directory.display());
    let next = format!("Next: put your application's own commands in, then `standstill lint {file}`");
    match test {
        Some(test) => {
            let test = test.display();
            format!("wrote {file} and {test}\n{next} and `standstill test {directory}`")
        }
        None => format!("wrote {file}\n{next}"),
    }
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(directory)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(path))
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|cause| {
        Error::input(format!("{} cannot be written", path.display()))
            .remedy("Give another name, or another place with --directory.")
            .because(cause)
    })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::blueprint::mistakes;

    fn in_directory(name: &str, pattern: Pattern, directory: &Path) -> Result<u8> {
        let global = Global { output: crate::arguments::Format::Text, quiet: true, verbose: 0 };
        new(&global, &New { name: name.to_owned(), pattern, directory: Some(directory.to_owned()) })
    }

    #[test]
    fn every_starter_is_a_blueprint_without_a_mistake() {
        for pattern in Pattern::value_variants() {
            let place = tempfile::tempdir().unwrap();
            in_directory("my-shop", *pattern, place.path()).unwrap();
            let text = fs::read_to_string(place.path().join("blueprint.yaml")).unwrap();
            assert!(!text.contains(PLACEHOLDER), "{text}");
            let found = mistakes(&Text { origin: "blueprint.yaml".into(), text }, wiring::hooks().as_ref());
            let found: Vec<String> = found.into_iter().map(|(_, rendered)| rendered).collect();
            assert_eq!(found, Vec::<String>::new(), "{pattern:?}");
            let tried = place.path().join("tests/acknowledged.yaml");
            assert_eq!(tried.exists(), starter_test(*pattern, "my-shop").is_some());
            let Ok(text) = fs::read_to_string(&tried) else { continue };
            assert!(!text.contains(PLACEHOLDER) && !text.contains("CLIENT"), "{text}");
            let origin = tried.display().to_string();
            let found = mistakes(&Text { origin, text }, wiring::hooks().as_ref());
            let found: Vec<String> = found.into_iter().map(|(_, rendered)| rendered).collect();
            assert_eq!(found, Vec::<String>::new(), "{pattern:?}");
        }
    }

    #[test]
    fn nothing_is_written_over_and_nothing_is_written_under_a_wrong_name() {
        let place = tempfile::tempdir().unwrap();
        let error = in_directory("My Shop", Pattern::Pair, place.path()).unwrap_err();
        assert!(error.chain().contains("is not a name for a blueprint"), "{error:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        in_directory("shop", Pattern::Pair, place.path()).unwrap();
        fs::write(place.path().join("blueprint.yaml"), "mine").unwrap();
        in_directory("shop", Pattern::Dump, place.path()).unwrap_err();
        assert_eq!(fs::read_to_string(place.path().join("blueprint.yaml")).unwrap(), "mine");
    }
}
