//! The scripts that the target's shell runs, and how commands and variables get into them.
//!
//! A command is a list of arguments of the shell, and the script names them by their positions: nothing that a blueprint
//! or a value holds is ever read as a script.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use standstill_core::{
    Error, Result,
    runtime::{Command, RunAs},
};
use zeroize::Zeroizing;

const BOOT: &str = include_str!("scripts/boot.sh");
const COMMON: &str = include_str!("scripts/common.sh");
const EXEC: &str = include_str!("scripts/exec.sh");
const KEEPER: &str = include_str!("scripts/keeper.sh");
const PAIR: &str = include_str!("scripts/pair.sh");
const SESSION: &str = include_str!("scripts/session.sh");
const DISPOSE: &str = include_str!("scripts/dispose.sh");

/// What a shell is started with, and what it is told first.
pub(super) struct Script {
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// The script and the variables, with secrets: the beginning of its standard input.
    pub(super) input: Zeroizing<String>,
}

/// A script in the making.
pub(super) struct Builder {
    /// The first line of what is seen of the process, by which it is found again.
    title: String,
    arguments: Vec<String>,
    functions: String,
    variables: BTreeMap<String, Zeroizing<String>>,
}

impl Builder {
    /// A script whose process is called `title`, with these first arguments.
    pub(super) fn new(title: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            title: title.to_owned(),
            arguments: arguments.into_iter().collect(),
            functions: String::new(),
            variables: BTreeMap::new(),
        }
    }

    /// Adds a function that runs a command, and the variables of that command.
    pub(super) fn command(mut self, function: &str, command: &Command) -> Result<Self> {
        if command.run_as != RunAs::Runner || command.directory.is_some() || command.stdin.is_some() {
            return Err(Error::input(format!(
                "{} cannot have another user, another directory or an input of its own in the target's container",
                command.program()
            ))
            .remedy("Have the blueprint run it beside the target by `in: runner`."));
        }
        let plain = command.env.iter().map(|(name, value)| (name, value.as_str()));
        let secret = command.secret_env.iter().map(|(name, value)| (name, value.expose()));
        for (name, value) in plain.chain(secret) {
            if !is_variable(name) {
                return Err(Error::input(format!("a shell has no variable of the name {name}")).remedy(
                    "Use letters, digits and underscores, and not `ss_` at the beginning; or write `in: runner`.",
                ));
            }
            self.variables.insert(name.clone(), Zeroizing::new(value.to_owned()));
        }
        let range = self.add(&command.argv);
        self.function(function, &positions(range))
    }

    /// Adds a function that prints lines.
    pub(super) fn lines(mut self, function: &str, lines: &[String]) -> Result<Self> {
        if let Some(line) = lines.iter().find(|line| line.contains('\n')) {
            return Err(Error::input(format!("`{line}` is more than one line"))
                .remedy("Write each line for a session by itself."));
        }
        let range = self.add(lines);
        self.function(function, &format!("printf '%s\\n' {}", positions(range)))
    }

    /// Adds the function that sets `ss_until`: the line by which a client says that it has let go, or nothing.
    pub(super) fn until(mut self, pattern: Option<&str>) -> Result<Self> {
        let value = match pattern {
            Some(pattern) => positions(self.add(&[extended(pattern)?])),
            None => String::new(),
        };
        self.function("ss_pattern", &format!("ss_until={value}"))
    }

    /// Adds a function of the script's own.
    pub(super) fn function(mut self, name: &str, body: &str) -> Result<Self> {
        writeln!(self.functions, "{name}() {{ {body}; }}")
            .map_err(|cause| Error::failed("a script cannot be written").because(cause))?;
        Ok(self)
    }

    fn add(&mut self, arguments: &[String]) -> Range<usize> {
        let start = self.arguments.len() + 1;
        self.arguments.extend_from_slice(arguments);
        start..start + arguments.len()
    }

    /// A command that is run to its end: all arguments.
    pub(super) fn exec(self) -> Script {
        self.finish(&[EXEC])
    }

    /// A hold of commands. It has `ss_acquire`, `ss_confirm` and `ss_release`.
    pub(super) fn pair(self) -> Script {
        self.finish(&[KEEPER, PAIR])
    }

    /// A hold of a client. It has `ss_client`, `ss_lines` and `ss_pattern`.
    pub(super) fn session(self, survives_client: bool) -> Script {
        let survives = if survives_client { "ss_survives=yes\n" } else { "ss_survives=\n" };
        self.finish(&[KEEPER, survives, SESSION])
    }

    /// Ends a keeper, and lets go by `ss_release`.
    pub(super) fn dispose(self) -> Script {
        self.finish(&[DISPOSE])
    }

    fn finish(self, parts: &[&str]) -> Script {
        let mut input = Zeroizing::new(String::from(COMMON));
        input.push_str(&self.functions);
        for part in parts {
            input.push_str(part);
        }
        input.push_str(".\n");
        input.push_str(&self.variables.len().to_string());
        input.push('\n');
        for (name, value) in &self.variables {
            let lines = value.split('\n').count();
            input.push_str(&format!("{name} {lines}\n"));
            input.push_str(value);
            input.push('\n');
        }
        let boot = format!(": {}\n{BOOT}", self.title);
        let mut argv = vec!["sh".to_owned(), "-c".to_owned(), boot, "standstill".to_owned()];
        argv.extend(self.arguments);
        Script { argv, input }
    }
}

/// `"${3}" "${4}"`.
fn positions(range: Range<usize>) -> String {
    range.map(|position| format!("\"${{{position}}}\"")).collect::<Vec<_>>().join(" ")
}

/// A pattern as an extended regular expression of POSIX, which `grep -E` knows: one that means the same in both.
fn extended(pattern: &str) -> Result<String> {
    let differs = ["(?", "[[", "&&", "--", "~~", "\n"].iter().any(|what| pattern.contains(what));
    let (mut same, mut in_brackets) = (!pattern.is_empty() && !differs, false);
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        same &= match character {
            '\\' => !in_brackets && escaped.is_some_and(|escaped| escaped.is_ascii_punctuation()),
            // Two of them: a lazy repetition.
            '*' | '+' | '?' | '}' => in_brackets || !matches!(characters.peek(), Some('?' | '+' | '*')),
            _ => true,
        };
        in_brackets = character == '[' || (in_brackets && character != ']');
    }
    if same {
        return Ok(pattern.to_owned());
    }
    let message = format!("`releaseUntil: {pattern}` cannot be watched for by the `grep -E` of a container");
    Err(Error::input(message).remedy(
        "Use only letters, `.`, `[…]`, `(…|…)`, `*`, `+`, `?`, `^`, `$` and backslashes before punctuation; or write \
         `in: runner`.",
    ))
}

fn is_variable(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let rest = characters.all(|character| character.is_ascii_alphanumeric() || character == '_');
    first && rest && !name.starts_with("ss_")
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
