//! The runner's side of a keeper.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Acquired, Hold, Receipt},
    point::{Evidence, Outputs},
    runtime::{KeeperProgram, KeeperSpec},
    secret::Secret,
    units::{milliseconds, show_duration},
};
use zeroize::Zeroizing;

use super::{
    dispose::dispose,
    protocol::{Order, OrderKind, PairProgram, Program, Reply, Said, SessionProgram, Start},
    record::{KeeperRecord, begin_attempt},
};
use crate::{
    Expectation,
    helpers::start_keeper,
    process::{
        launcher::{Launcher, Pipe, blocking, no_streams},
        lines::{LineWriter, Lines, NoLine},
    },
};

/// What a keeper needs for its own work, beyond the deadline of a command.
const MARGIN: Duration = Duration::from_secs(15);

/// A hold that a keeper keeps.
pub(crate) struct KeptHold {
    launcher: Arc<Launcher>,
    record: KeeperRecord,
    secrets: BTreeMap<String, Secret>,
    lease: Duration,
    timeout: Duration,
    /// Closed to make the keeper let go.
    input: Option<LineWriter>,
    replies: Lines,
    last_id: u64,
    acquired: Said,
    judge: Judge,
    receipt: Option<Receipt>,
    /// Why nothing is held any more although it was not released.
    lapsed: Option<String>,
}

/// How an answer to `confirm` is judged.
enum Judge {
    /// The keeper did not have to let go, and nothing more is asked.
    Keeper,
    /// The client said the line that was waited for; the keeper has compared it.
    Client,
    /// By an expression over `result`.
    Expression(Expectation, String),
}

/// Starts a keeper and has it acquire. Another attempt by the same record may follow once what the earlier one may have
/// acquired was disposed of.
///
/// `helpers`: the socket of the container that it is started in, where there is one that outlives this one.
pub(crate) async fn keep(
    launcher: &Arc<Launcher>,
    helpers: Option<&Path>,
    spec: &KeeperSpec,
    record: KeeperRecord,
    expectation: &Expectation,
) -> Result<Acquired> {
    let directory = begin_attempt(&record.directory).map_err(|cause| not_started(spec, cause))?;
    let (input, replies) = match helpers.map(Path::to_owned) {
        Some(socket) => blocking(move || start_keeper(&socket)).await?,
        None => start(launcher, spec)?,
    };
    let mut hold = kept(launcher, spec, record, expectation, input, replies);
    let since = Instant::now();
    let start = start_line(launcher, spec, &directory)?;
    hold.send(&start).await?;
    // One deadline each for starting and for acquiring: both have the step's.
    let said = hold.answer(0, spec.timeout.saturating_mul(2) + MARGIN, true).await.map_err(|error| {
        if error.remedy_text().is_some() {
            return error;
        }
        error.remedy("Run the step's command by hand, as this user: what it says is what it says here.")
    })?;
    let outputs = Outputs::from([
        ("exitCode".to_owned(), json!(said.exit_code.unwrap_or(0))),
        ("stdout".to_owned(), json!(said.stdout)),
    ]);
    hold.acquired = said;
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

fn not_started(spec: &KeeperSpec, cause: io::Error) -> Error {
    Error::failed(format!("cannot start the keeper of {}", spec.name))
        .remedy("Check that this user may start more processes, and that the state directory can be written.")
        .because(cause)
}

/// Starts the keeper process. Nothing of the runner's environment goes to it.
fn start(launcher: &Launcher, spec: &KeeperSpec) -> Result<(LineWriter, Lines)> {
    let pipes = || Ok((Pipe::to_child()?, Pipe::from_child()?));
    let (input, output) = pipes().map_err(no_streams("the keeper"))?;
    let started = spawn(launcher, input.theirs, output.theirs)
        .and_then(|()| Ok((LineWriter::new(input.ours)?, Lines::follow(output.ours)?)));
    started.map_err(|cause| not_started(spec, cause))
}

fn kept(
    launcher: &Arc<Launcher>,
    spec: &KeeperSpec,
    record: KeeperRecord,
    expectation: &Expectation,
    input: LineWriter,
    replies: Lines,
) -> KeptHold {
    let judge = match &spec.program {
        KeeperProgram::Pair { confirm: Some((_, expression)), .. } => {
            Judge::Expression(Arc::clone(expectation), expression.clone())
        }
        KeeperProgram::Session { confirm: Some(_), .. } => Judge::Client,
        KeeperProgram::Pair { confirm: None, .. } | KeeperProgram::Session { confirm: None, .. } => {
            Judge::Keeper
        }
    };
    let (KeeperProgram::Pair { release, .. } | KeeperProgram::Session { client: release, .. }) =
        &spec.program;
    KeptHold {
        launcher: Arc::clone(launcher),
        secrets: release.secret_env.clone(),
        record,
        lease: spec.lease,
        timeout: spec.timeout,
        input: Some(input),
        replies,
        last_id: 0,
        acquired: Said::default(),
        judge,
        receipt: None,
        lapsed: None,
    }
}

fn spawn(launcher: &Launcher, input: OwnedFd, output: OwnedFd) -> io::Result<()> {
    let Some((program, arguments)) = launcher.agent().split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program for the keeper is known"));
    };
    let mut keeper = Command::new(program)
        .args(arguments)
        .arg("keep")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::null())
        .spawn()?;
    // Its end is taken note of, so that it does not stay a zombie.
    std::thread::Builder::new().name("keeper".to_owned()).spawn(move || keeper.wait()).map(drop)
}

/// The first line to the keeper, whose own directory is given.
fn start_line(launcher: &Launcher, spec: &KeeperSpec, directory: &Path) -> Result<Zeroizing<String>> {
    let program = match &spec.program {
        KeeperProgram::Pair { acquire, confirm, release } => Program::Pair(PairProgram {
            acquire: launcher.prepare(acquire)?,
            confirm: confirm.as_ref().map(|(command, _)| launcher.prepare(command)).transpose()?,
            release: launcher.prepare(release)?,
        }),
        KeeperProgram::Session {
            client,
            send,
            until,
            keep_alive,
            confirm,
            release,
            release_until,
            survives_client,
        } => Program::Session(SessionProgram {
            client: launcher.prepare(client)?,
            send: send.clone(),
            until: until.clone(),
            keep_alive: keep_alive.clone(),
            confirm: confirm.clone(),
            release: release.clone(),
            release_until: release_until.clone(),
            survives_client: *survives_client,
        }),
    };
    let start = Start {
        lease_milliseconds: milliseconds(spec.lease).max(1),
        timeout_milliseconds: milliseconds(spec.timeout).max(1),
        directory: directory.to_owned(),
        agent_arguments: launcher.agent().iter().skip(1).cloned().collect(),
        program,
    };
    let line = serde_json::to_string(&start)
        .map_err(|cause| Error::failed("the keeper's orders cannot be written").because(cause))?;
    Ok(Zeroizing::new(line))
}

impl KeptHold {
    async fn send(&mut self, line: &str) -> Result<()> {
        let name = &self.record.name;
        let gone = || Error::lapsed(format!("the keeper of {name} is gone"));
        let Some(input) = &mut self.input else { return Err(gone()) };
        input.write(line, self.lease).await.map_err(|cause| gone().because(cause))
    }

    async fn order(&mut self, order: OrderKind) -> Result<u64> {
        self.last_id += 1;
        let line = serde_json::to_string(&Order { id: self.last_id, order })
            .map_err(|cause| Error::failed("an order to a keeper cannot be written").because(cause))?;
        self.send(&line).await?;
        Ok(self.last_id)
    }

    /// Waits for the answer to one order; `renewing` keeps the lease meanwhile.
    async fn answer(&mut self, id: u64, within: Duration, renewing: bool) -> Result<Said> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let look = if renewing { left.min(self.lease / 3) } else { left };
            match self.replies.next(look).await {
                Ok(line) => match serde_json::from_str::<Reply>(&line) {
                    Ok(reply) if reply.id == id => {
                        return reply
                            .outcome
                            .map_err(|failure| Error::from(&failure).during(&self.record.name));
                    }
                    // An answer that came too late for whoever asked.
                    Ok(_) | Err(_) => {}
                },
                Err(NoLine::TooLate) if !left.is_zero() && renewing => {
                    self.order(OrderKind::Renew).await?;
                }
                Err(NoLine::TooLate) => {
                    return Err(Error::temporary(format!(
                        "the keeper of {} did not answer within {}",
                        self.record.name,
                        show_duration(within)
                    )));
                }
                Err(NoLine::EndOfFile) => {
                    return Err(Error::lapsed(format!("the keeper of {} is gone", self.record.name)));
                }
            }
        }
    }

    fn lapsed(&self) -> Option<Error> {
        self.lapsed.as_ref().map(|why| Error::lapsed(why.clone()))
    }

    async fn ask_for_proof(&mut self) -> Result<Evidence> {
        let id = self.order(OrderKind::Confirm).await?;
        let said = self.answer(id, self.timeout + MARGIN, true).await?;
        let name = &self.record.name;
        match &self.judge {
            Judge::Keeper => {
                Ok(Evidence::of("keeper", "held without a gap").and("acquired", self.acquired.stdout.trim()))
            }
            Judge::Client => Ok(Evidence::of("said", said.stdout)),
            Judge::Expression(expectation, expression) => {
                let result =
                    json!({"exitCode": said.exit_code, "stdout": said.stdout, "stderr": said.stderr});
                if expectation(expression, &result)? {
                    Ok(Evidence::of("exitCode", said.exit_code).and("stdout", said.stdout.trim()))
                } else {
                    Err(Error::lapsed(format!("{name} is not held: `{expression}` is false for {result}"))
                        .remedy("Find out who or what ended it, and run the backup again."))
                }
            }
        }
    }

    /// The keeper is gone: nothing is held any more, or it is let go from here.
    async fn release_without_keeper(&mut self) -> Error {
        self.input = None;
        match dispose(&self.launcher, &self.record, &self.secrets).await {
            Ok(_) => {
                let why = format!("the keeper of {} ended before it was told to let go", self.record.name);
                self.lapsed = Some(why.clone());
                Error::lapsed(why)
            }
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Hold for KeptHold {
    async fn renew(&mut self) -> Result<()> {
        if let Some(lapsed) = self.lapsed() {
            return Err(lapsed);
        }
        let id = self.order(OrderKind::Renew).await?;
        self.answer(id, (self.lease / 3).max(Duration::from_millis(500)), false).await.map(drop)
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        if let Some(lapsed) = self.lapsed() {
            return Err(lapsed);
        }
        // Whatever keeps it from being proven means that it is not proven.
        self.ask_for_proof().await.map_err(|error| {
            let known = error.remedy_text().is_some();
            let error = error.of_kind(ErrorKind::HoldLapsed);
            if known { error } else { error.remedy("Find out what let it go, then run the backup again.") }
        })
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        if let Some(lapsed) = self.lapsed() {
            return Err(lapsed);
        }
        let answer = match self.order(OrderKind::Release).await {
            // A session may end its client first and then tell a new one.
            Ok(id) => self.answer(id, self.timeout.saturating_mul(2) + MARGIN, true).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(said) => {
                let evidence = Evidence::of(
                    "released",
                    said.exit_code.map_or(json!(true), |status| json!({"exitCode": status})),
                );
                let receipt = Receipt {
                    evidence,
                    outputs: Outputs::new(),
                    facts: Vec::new(),
                    released: Instant::now(),
                    froze: None,
                };
                self.receipt = Some(receipt.clone());
                Ok(receipt)
            }
            Err(error) if error.kind() == ErrorKind::HoldLapsed => Err(self.release_without_keeper().await),
            Err(error) => Err(error),
        }
    }
}

impl Drop for KeptHold {
    fn drop(&mut self) {
        if self.receipt.is_none() && self.lapsed.is_none() && self.input.is_some() {
            tracing::error!(
                step = self.record.name,
                "a hold was given up without being released; its keeper lets go now"
            );
        }
    }
}
