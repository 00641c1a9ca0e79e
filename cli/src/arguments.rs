//! The command line, as it is typed.
#![expect(clippy::doc_markdown, reason = "these comments are help texts and are shown as they stand")]

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Application-consistent database backups: quiesced, captured, let go, restored and verified.
#[derive(Debug, Parser)]
#[command(name = "standstill", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document on standard output.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole story on this machine with a live writer: backup, restore, verify, report
    Demo(Demo),
    /// List the built-in blueprints
    Blueprints,
    /// Find every mistake in blueprints
    Lint {
        /// Files of blueprints or groups, or names of built-in blueprints
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
    },
    /// Show what would run; nothing is touched
    Plan(Plan),
    /// Start a blueprint for an application of your own
    New(New),
    /// Run a blueprint's own tests, and kill and stop its runs
    Test(Test),
    /// Make a repository in an empty place
    Init {
        #[command(flatten)]
        repository: Repository,
    },
    /// Back an application up
    Backup(Backup),
    /// Restore a recovery point
    Restore(Restore),
    /// Restore a recovery point into a scratch place, and check it
    Verify(Restore),
    /// List recovery points
    List {
        #[command(flatten)]
        repository: Repository,
        /// Only those of this application
        #[arg(long, value_name = "APP")]
        name: Option<String>,
    },
    /// Show one recovery point
    Show {
        /// Its id, the beginning of its id, or `latest`
        point: String,
        #[command(flatten)]
        repository: Repository,
        /// The application that `latest` is of
        #[arg(long, value_name = "APP")]
        name: Option<String>,
    },
    /// Remove recovery points by rules; never the newest verified one of an application
    Forget(Forget),
    /// Look for damage in the repository
    Check {
        #[command(flatten)]
        repository: Repository,
        /// Read every byte and compare its hash
        #[arg(long)]
        read_data: bool,
    },
    /// Show how each application stands: newest backup, newest verification
    Status {
        #[command(flatten)]
        repository: Repository,
    },
    /// Let go of whatever dead runs still hold, and remove what they left
    Recover {
        /// Only this run
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// What an earlier recovery could not let go of was let go by hand: do not try it again
        #[arg(long, requires = "run")]
        let_go_by_hand: bool,
        #[command(flatten)]
        repository: OptionalRepository,
        #[command(flatten)]
        place: Place,
    },
    /// List the runs on this machine, or in a namespace
    Runs {
        #[command(flatten)]
        place: Place,
    },
    /// Show the journal of a run
    Logs {
        /// The run's id, or the beginning of it
        run: String,
        #[command(flatten)]
        place: Place,
    },
    /// Print a JSON Schema: of the blueprint language, or of a command's output
    Schema {
        #[arg(value_enum, default_value_t = SchemaOf::Blueprint)]
        of: SchemaOf,
    },
    /// Print a completion script
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Helper processes of a run; not for people
    #[command(hide = true)]
    Agent {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The blueprint language.
    Blueprint,
    /// Groups.
    Group,
    /// Tests of a blueprint.
    Test,
    /// `backup --output json`.
    Backup,
    /// `verify --output json`.
    Verify,
    /// `plan --output json`.
    Plan,
    /// `test --output json`.
    TestReport,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// The database
    #[arg(long, value_enum, default_value_t = DemoDatabase::Sqlite)]
    pub database: DemoDatabase,
    /// Where to work; a temporary directory by default, removed at the end
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// The databases that the demo knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoDatabase {
    /// Needs nothing.
    Sqlite,
    /// Needs PostgreSQL's programs.
    Postgresql,
}

/// Where the repository is, and its password.
#[derive(Debug, Clone, Args)]
pub struct Repository {
    /// The repository: a directory, or s3://BUCKET/PREFIX
    #[arg(long, short, env = "STANDSTILL_REPOSITORY", value_name = "REPOSITORY")]
    pub repository: String,
    #[command(flatten)]
    pub password: Password,
}

/// As [`Repository`], where a command can do without.
#[derive(Debug, Clone, Args)]
pub struct OptionalRepository {
    /// The repository, so that unfinished artifacts are removed from it at once
    #[arg(long, short, env = "STANDSTILL_REPOSITORY", value_name = "REPOSITORY")]
    pub repository: Option<String>,
    #[command(flatten)]
    pub password: Password,
}

/// The repository's password.
#[derive(Debug, Clone, Args)]
pub struct Password {
    /// A file with the repository's password [env: STANDSTILL_PASSWORD_FILE, or STANDSTILL_PASSWORD with the password itself]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// What binds a blueprint to a target.
#[derive(Debug, Clone, Args)]
pub struct Values {
    /// A parameter: NAME=VALUE; for a secret NAME=@FILE or NAME=env:VARIABLE; of a group MEMBER.NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A file of parameters (YAML)
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,
}

/// Where an action runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where")]
pub struct Place {
    /// Where it runs; by default on this machine, and as `kubectl standstill` in the cluster
    #[arg(long, value_enum, default_value_t = On::usual(), hide_default_value = true, value_name = "PLACE")]
    pub on: On,
    /// The context of the kubeconfig; its current one by default
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The target's namespace; that of the context by default
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// Where an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum On {
    /// On this machine.
    Local,
    /// In a pod beside the target.
    Kubernetes,
}

impl On {
    /// Where this program runs things when nothing is said.
    fn usual() -> Self {
        Self::usual_of(std::env::args_os().next().unwrap_or_default().as_ref())
    }

    /// Plugins of `kubectl` are programs whose names begin with `kubectl-`.
    fn usual_of(program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b"kubectl-") { Self::Kubernetes } else { Self::Local }
    }
}

/// How a run in a pod is started.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where")]
pub struct Launch {
    #[command(flatten)]
    pub place: Place,
    /// Standstill's own image, for runs in pods
    #[arg(
        long,
        env = "STANDSTILL_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("standstill.dev/standstill:", env!("CARGO_PKG_VERSION"))
    )]
    pub image: String,
    /// Wait for the end of a run in a pod; this is the default
    #[arg(long, conflicts_with = "detach")]
    pub wait: bool,
    /// Start a run in a pod and leave it alone; `runs` and `logs` show how it stands
    #[arg(long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// A built-in blueprint's name, or the path of a blueprint or a group
    pub blueprint: String,
    #[command(flatten)]
    pub values: Values,
    /// The action
    #[arg(long, default_value = "backup")]
    pub action: String,
    #[command(flatten)]
    pub place: Place,
    /// On Kubernetes: what you need to run it from this machine
    #[arg(long, help_heading = "Where")]
    pub from_here: bool,
}

#[derive(Debug, Args)]
pub struct New {
    /// The application's name; a folder of that name is made
    pub name: String,
    /// How the application is brought to a consistent state
    #[arg(long, value_enum, default_value_t = Pattern::Pair)]
    pub pattern: Pattern,
    /// The folder to write into; NAME by default
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// How an application is brought to a consistent state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pattern {
    /// A command pauses it, and another one lets it go on
    Pair,
    /// A client that is kept open holds a lock
    Session,
    /// A command writes a consistent copy to its standard output
    Dump,
    /// It is stopped, copied and started again
    Stop,
}

#[derive(Debug, Args)]
pub struct Test {
    /// The blueprint's folder, or its file; its tests are in `tests/` beside it
    pub blueprint: String,
    #[command(flatten)]
    pub values: Values,
    /// Only the test of this name
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// At which lines of their journal runs are killed and stopped
    #[arg(long, value_enum, default_value_t = Crashes::Some)]
    pub crashes: Crashes,
    /// Leave the files of the tests where they are, and say where
    #[arg(long)]
    pub keep: bool,
}

/// At which lines of their journal runs are killed and stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Crashes {
    /// At no line
    None,
    /// At those around the holds and the commit
    Some,
    /// At every line
    All,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// A built-in blueprint's name, or the path of a blueprint or a group
    pub blueprint: String,
    #[command(flatten)]
    pub repository: Repository,
    #[command(flatten)]
    pub values: Values,
    /// The application's name; the blueprint's by default
    #[arg(long, value_name = "APP")]
    pub name: Option<String>,
    #[command(flatten)]
    pub launch: Launch,
    /// On Kubernetes: run it from this machine with your own rights, instead of in a pod beside the target
    #[arg(long, conflicts_with_all = ["detach", "wait"], help_heading = "Where")]
    pub from_here: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The recovery point: its id, the beginning of its id, or `latest`
    #[arg(default_value = "latest")]
    pub point: String,
    #[command(flatten)]
    pub repository: Repository,
    #[command(flatten)]
    pub values: Values,
    /// The application that `latest` is of
    #[arg(long, value_name = "APP")]
    pub name: Option<String>,
    /// Another blueprint than the one that the recovery point embeds
    #[arg(long, value_name = "BLUEPRINT")]
    pub blueprint: Option<String>,
    /// Of a group's recovery point: only this member
    #[arg(long, value_name = "MEMBER")]
    pub member: Option<String>,
    #[command(flatten)]
    pub launch: Launch,
}

#[derive(Debug, Args)]
pub struct Forget {
    /// Recovery points to remove, by id; otherwise the rules decide
    pub points: Vec<String>,
    #[command(flatten)]
    pub repository: Repository,
    /// Only those of this application
    #[arg(long, value_name = "APP")]
    pub name: Option<String>,
    #[command(flatten)]
    pub keep: Keep,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove the data that nothing refers to any more
    #[arg(long)]
    pub prune: bool,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Rules")]
#[expect(clippy::struct_field_names, reason = "each is the name of an option")]
pub struct Keep {
    /// Keep the newest N of each application
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_last: u32,
    /// Keep one for each of N hours
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_hourly: u32,
    /// Keep one for each of N days
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_daily: u32,
    /// Keep one for each of N weeks
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_weekly: u32,
    /// Keep one for each of N months
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_monthly: u32,
    /// Keep one for each of N years
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_yearly: u32,
    /// Keep all that are at most this much older than the newest (`36h`, `7d`)
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<String>,
}

/// Reads the command line; ends the process with status 2 and a message when it is wrong.
pub fn parse() -> Arguments {
    Arguments::parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_of_kubectl_works_in_the_cluster() {
        assert_eq!(On::usual_of(Path::new("/usr/local/bin/kubectl-standstill")), On::Kubernetes);
        assert_eq!(On::usual_of(Path::new("/opt/kubectl-tools/standstill")), On::Local);
        assert_eq!(On::usual_of(Path::new("")), On::Local);
    }
}
