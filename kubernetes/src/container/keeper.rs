//! The runner's side of a keeper in the target's container.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use regex::Regex;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Acquired, Hold, Receipt},
    language::{Scope, holds},
    point::{Evidence, Outputs, RunId},
    runtime::{KeeperProgram, KeeperSpec},
    secret::Secret,
    units::show_duration,
};

use super::{
    connection::{Connection, Heard},
    exec::OPEN,
    record::KeeperRecord,
    script::{Builder, Script},
    seen::Seen,
};
use crate::client::Cluster;

mod release;

/// What a keeper needs for its own work, beyond the deadline of a command.
const MARGIN: Duration = Duration::from_secs(15);
/// How long the shell may take to end after its work is done.
const END: Duration = Duration::from_secs(2);
/// How long an answer to a keep-alive line may be under way when something else is asked.
const ANSWER_UNDER_WAY: Duration = Duration::from_millis(250);

/// A hold that a shell in the target's container keeps.
pub(crate) struct KeptInTarget {
    cluster: Cluster,
    record: KeeperRecord,
    secrets: BTreeMap<String, Secret>,
    program: KeeperProgram,
    lease: Duration,
    timeout: Duration,
    /// None once it is closed: then the shell lets go.
    connection: Option<Connection>,
    seen: Seen,
    last_id: u64,
    acquired: String,
    receipt: Option<Receipt>,
    /// Why nothing is held any more although it was not released.
    lapsed: Option<String>,
}

/// Starts a keeper and has it acquire. It is called on the thread that the hold lives on, and has a connection to the
/// API server of its own.
pub(crate) async fn keep(cluster: &Cluster, spec: &KeeperSpec, record: KeeperRecord) -> Result<Acquired> {
    let cluster = cluster.anew().await?;
    let container = record.container(&cluster);
    let word = RunId::generate().to_string();
    let script = script(spec, &record, &word)?;
    let since = Instant::now();
    let connection = Connection::open(&container, &script, OPEN).await?;
    let (KeeperProgram::Pair { release, .. } | KeeperProgram::Session { client: release, .. }) =
        &spec.program;
    let mut hold = KeptInTarget {
        cluster,
        record,
        secrets: release.secret_env.clone(),
        program: spec.program.clone(),
        lease: spec.lease,
        timeout: spec.timeout,
        connection: Some(connection),
        seen: Seen::new(&word, matches!(spec.program, KeeperProgram::Session { .. })),
        last_id: 0,
        acquired: String::new(),
        receipt: None,
        lapsed: None,
    };
    hold.acquired = hold.acquire().await?;
    let outputs =
        Outputs::from([("exitCode".to_owned(), json!(0)), ("stdout".to_owned(), json!(hold.acquired))]);
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

fn script(spec: &KeeperSpec, record: &KeeperRecord, word: &str) -> Result<Script> {
    // A shell counts seconds. Less would be a lease that its renewals do not reach.
    let lease = spec.lease.as_secs().max(1).to_string();
    let title = format!("standstill-keeper {}", record.mark());
    let builder = Builder::new(&title, [word.to_owned(), lease]);
    match &spec.program {
        KeeperProgram::Pair { acquire, confirm, release } => {
            let builder = builder.command("ss_acquire", acquire)?.command("ss_release", release)?;
            let builder = match confirm {
                Some((command, _)) => builder.command("ss_confirm", command)?,
                None => builder.function("ss_confirm", ":")?,
            };
            Ok(builder.pair())
        }
        KeeperProgram::Session { client, release, release_until, survives_client, .. } => {
            let builder = builder.command("ss_client", client)?.lines("ss_lines", release)?;
            Ok(builder.until(release_until.as_deref())?.session(*survives_client))
        }
    }
}

impl KeptInTarget {
    fn gone(&mut self, why: &str) -> Error {
        self.connection = None;
        let words = self.seen.words();
        Error::lapsed(format!("the keeper of {} is gone ({why}){words}", self.record.name))
    }

    async fn order(&mut self, order: &str) -> Result<()> {
        let within = self.lease / 3;
        let Some(connection) = &mut self.connection else { return Err(self.gone("it was given up")) };
        match connection.write(&format!("{order}\n"), within).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.gone(&error.chain())),
        }
    }

    async fn numbered(&mut self, order: &str) -> Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.order(&format!("{order} {id}")).await?;
        Ok(id)
    }

    /// Waits for something to be seen; `renewing` keeps the lease meanwhile.
    async fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        renewing: bool,
        mut ready: impl FnMut(&mut Seen) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        let mut renewed = Instant::now();
        loop {
            if let Some(found) = ready(&mut self.seen) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::temporary(format!(
                    "{}: {what} took longer than {}{}",
                    self.record.name,
                    show_duration(within),
                    self.seen.words()
                )));
            }
            let every = self.lease / 3;
            if renewing && renewed.elapsed() >= every {
                renewed = Instant::now();
                self.numbered("renew").await?;
            }
            let look = if renewing { left.min(every.saturating_sub(renewed.elapsed())) } else { left };
            let Some(connection) = &mut self.connection else { return Err(self.gone("it was given up")) };
            match connection.hear(look).await {
                Some(Heard::Ended(status)) => return Err(self.gone(&format!("exit status {status}"))),
                Some(Heard::Lost(why)) => return Err(self.gone(&why)),
                Some(heard) => self.seen.take_in(&heard),
                None => {}
            }
        }
    }

    async fn acquire(&mut self) -> Result<String> {
        match self.program.clone() {
            KeeperProgram::Pair { acquire, .. } => {
                let status = self
                    .wait("acquiring", self.timeout + MARGIN, true, |seen| seen.done("0"))
                    .await
                    .map_err(not_acquired)?;
                if status != 0 {
                    return Err(Error::failed(format!(
                        "{} ended with exit status {status}{}",
                        acquire.program(),
                        self.words()
                    )));
                }
                Ok(self.seen.output.said())
            }
            KeeperProgram::Session { send, until, .. } => {
                for line in send {
                    self.order(&format!("send {}", one_line(&line)?)).await.map_err(not_acquired)?;
                }
                self.answer(&until, self.timeout + MARGIN).await.map_err(not_acquired)
            }
        }
    }

    /// What a command said, as an ending of a message: its standard error, or else its output.
    fn words(&mut self) -> String {
        let words = self.seen.words();
        let said = self.seen.output.said();
        if words.is_empty() && !said.trim().is_empty() { format!(": {}", said.trim()) } else { words }
    }

    /// Waits for a line of the client that matches.
    async fn answer(&mut self, pattern: &str, within: Duration) -> Result<String> {
        let expression = regex(pattern)?;
        let what = format!("a line that matches `{pattern}`");
        let found = self
            .wait(&what, within, true, |seen| {
                while let Some(line) = seen.lines.pop_front() {
                    if expression.is_match(&line) {
                        return Some(Some(line));
                    }
                }
                seen.is_over().then_some(None)
            })
            .await?;
        found.ok_or_else(|| self.ended())
    }

    fn ended(&mut self) -> Error {
        let words = self.seen.words();
        Error::lapsed(format!("the client of {} ended while it was to hold on{words}", self.record.name))
    }

    async fn ask_for_proof(&mut self) -> Result<Evidence> {
        match self.program.clone() {
            KeeperProgram::Pair { confirm, .. } => {
                self.seen.words();
                self.seen.output.said();
                let id = self.numbered("confirm").await?.to_string();
                let status =
                    self.wait("the proof", self.timeout + MARGIN, true, |seen| seen.done(&id)).await?;
                let Some((_, expression)) = confirm else {
                    return Ok(
                        Evidence::of("keeper", "held without a gap").and("acquired", self.acquired.trim())
                    );
                };
                let (stdout, stderr) = (self.seen.output.said(), self.seen.error.said());
                let result = json!({"exitCode": status, "stdout": stdout, "stderr": stderr});
                let mut scope = Scope::default();
                scope.insert("result", result.clone());
                if holds(&expression, &scope)? {
                    return Ok(Evidence::of("exitCode", status).and("stdout", stdout.trim()));
                }
                let name = &self.record.name;
                Err(Error::lapsed(format!("{name} is not held: `{expression}` is false for {result}")))
            }
            KeeperProgram::Session { confirm: None, .. } => {
                Ok(Evidence::of("keeper", "held without a gap").and("acquired", self.acquired.trim()))
            }
            KeeperProgram::Session { confirm: Some((question, pattern)), keep_alive, .. } => {
                if keep_alive.is_some() {
                    // An answer to an earlier line must not be taken for the answer to this one.
                    let _ = self.wait("silence", ANSWER_UNDER_WAY, false, |_| None::<()>).await;
                }
                self.seen.lines.clear();
                self.order(&format!("send {}", one_line(&question)?)).await?;
                Ok(Evidence::of("said", self.answer(&pattern, self.timeout + MARGIN).await?))
            }
        }
    }

    fn is_lapsed(&self) -> Result<()> {
        self.lapsed.as_ref().map_or(Ok(()), |why| Err(Error::lapsed(why.clone())))
    }
}

/// A keeper that is gone before it acquired is no lapse, but a failure to acquire.
fn not_acquired(error: Error) -> Error {
    let kind = if error.kind() == ErrorKind::HoldLapsed { ErrorKind::Failed } else { error.kind() };
    error.of_kind(kind)
}

pub(super) fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|cause| {
        Error::input(format!("`{pattern}` is not a regular expression"))
            .remedy("Correct the expression of the session step.")
            .because(cause)
    })
}

fn one_line(line: &str) -> Result<&str> {
    if line.contains('\n') {
        return Err(Error::input(format!("`{line}` is more than one line"))
            .remedy("Write each line for a session by itself."));
    }
    Ok(line)
}

#[async_trait]
impl Hold for KeptInTarget {
    async fn renew(&mut self) -> Result<()> {
        self.is_lapsed()?;
        if let KeeperProgram::Session { keep_alive: Some(line), .. } = &self.program {
            let line = format!("send {}", one_line(line)?);
            self.seen.lines.clear();
            self.order(&line).await?;
        }
        let id = self.numbered("renew").await?;
        let within = (self.lease / 3).max(Duration::from_millis(500));
        self.wait("a renewal", within, false, |seen| {
            if seen.is_over() {
                return Some(false);
            }
            seen.renewed(id).then_some(true)
        })
        .await?
        .then_some(())
        .ok_or_else(|| self.ended())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        self.is_lapsed()?;
        // Whatever keeps it from being proven means that it is not proven.
        self.ask_for_proof().await.map_err(|error| error.of_kind(ErrorKind::HoldLapsed))
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        self.is_lapsed()?;
        match self.tell().await {
            Ok(status) => {
                let released = Instant::now();
                self.finish().await;
                let receipt = Receipt {
                    evidence: Evidence::of("released", json!({"exitCode": status})),
                    outputs: Outputs::new(),
                    facts: Vec::new(),
                    released,
                    froze: None,
                };
                self.receipt = Some(receipt.clone());
                Ok(receipt)
            }
            Err(error) if error.kind() == ErrorKind::HoldLapsed => {
                Err(self.release_without_keeper(error).await)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for KeptInTarget {
    fn drop(&mut self) {
        if self.receipt.is_none() && self.lapsed.is_none() && self.connection.is_some() {
            tracing::error!(
                step = self.record.name,
                "a hold was given up without being released; its keeper lets go now"
            );
        }
    }
}
