//! `stream`: the output of a command or a hook into an artifact, or an artifact into a command's standard input.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::{
    Performed,
    command::{command, run_as},
    store::artifact,
};
use crate::{
    Error, Result,
    language::{Scope, StreamStep, render_text, render_value},
    point::StoredArtifact,
    repository::{PutStream, StreamSource},
    runner::world::{StepContext, locked},
    runtime::{Command, Consumer, Producer},
};

/// Does the step once, or once for each item.
pub(super) async fn stream(context: &StepContext, step: &StreamStep) -> Result<Performed> {
    let mut performed = Performed::default();
    let mut bytes = 0;
    for (name, scope) in items(context, step)? {
        if let Some(hook) = &step.hook {
            let inner = StepContext { scope: Arc::new(scope), ..context.clone() };
            let producer = super::hook::produce(&inner, hook).await?;
            let name = context.world.plan.qualified(&name);
            let source = Produced::new(producer, hook.verb.clone(), Ends::default());
            let stored = store(context, name, source).await?;
            bytes += stored.bytes;
            performed.artifacts.push(stored);
            continue;
        }
        let mut command = command(context, &scope, &step.command, &step.env, step.place.as_deref())?;
        if step.place.is_none() {
            command.run_as = run_as(context, step.run_as, step.volume.as_deref())?;
        }
        if context.world.plan.commits() {
            let name = context.world.plan.qualified(&name);
            let producer = context.world.host.runtime.producer(&command, &context.cancel).await?;
            let ends = Ends { line: step.last_line.clone(), message: step.last_message.clone() };
            let source = Produced::new(producer, command.program().to_owned(), ends);
            let stored = store(context, name, source).await?;
            bytes += stored.bytes;
            performed.artifacts.push(stored);
        } else {
            bytes += restore(context, &artifact(context, &name)?, &command).await?;
        }
    }
    performed.outputs.insert("bytes".into(), json!(bytes));
    Ok(performed)
}

/// The artifacts to do the step for, each with its scope.
fn items(context: &StepContext, step: &StreamStep) -> Result<Vec<(String, Scope)>> {
    let with_item = |item: Value| {
        let mut scope = (*context.scope).clone();
        scope.insert("item", item);
        scope
    };
    let named = |scope: Scope| Ok((render_text(&step.artifact, &scope)?, scope));
    if let Some(list) = &step.for_each {
        let Value::Array(items) = render_value(&list.0, &context.scope)? else {
            return Err(Error::input(format!("`forEach` of {} is not a list", context.step.id)));
        };
        return items.into_iter().map(|item| named(with_item(item))).collect();
    }
    let below = step.artifact.0.as_str().and_then(|artifact| artifact.strip_suffix('*'));
    match (below, &context.world.plan.point) {
        (Some(prefix), Some(point)) => {
            let all = point.artifacts.iter().map(|artifact| artifact.name.clone());
            let below = all.filter_map(|name| Some((name.strip_prefix(prefix)?.to_owned(), name)));
            Ok(below
                .map(|(short, name)| {
                    let scope = with_item(json!({"name": short, "artifact": name}));
                    (name, scope)
                })
                .collect())
        }
        _ => Ok(vec![named((*context.scope).clone())?]),
    }
}

async fn store(context: &StepContext, name: String, produced: Produced) -> Result<StoredArtifact> {
    let progress = context.world.host.observer.transfer(&name);
    let request = PutStream {
        run: context.world.run.clone(),
        application: context.world.plan.request.application.clone(),
        artifact: name,
    };
    let repository = context.world.repository()?;
    repository.put_stream(request, Box::new(produced), progress, context.cancel.clone()).await
}

/// How a command must end, beside its exit status.
#[derive(Debug, Default)]
struct Ends {
    /// What the last line of its output must begin with.
    line: Option<String>,
    /// What the last line of its standard error must hold.
    message: Option<String>,
}

/// A producer as the repository reads it: what it handed over is counted on this side too.
struct Produced {
    producer: Box<dyn Producer>,
    program: String,
    bytes: u64,
    ends: Ends,
    /// The last bytes that were handed over, where they are needed.
    end: Vec<u8>,
}

/// How many of the last bytes are looked at for the last line.
const END: usize = 4096;

impl Produced {
    fn new(producer: Box<dyn Producer>, program: String, ends: Ends) -> Self {
        Self { producer, program, bytes: 0, ends, end: Vec::new() }
    }

    fn remember(&mut self, bytes: &[u8]) {
        if self.ends.line.is_none() {
            return;
        }
        self.end.extend_from_slice(&bytes[bytes.len().saturating_sub(END)..]);
        let surplus = self.end.len().saturating_sub(END);
        self.end.drain(..surplus);
    }

    fn is_complete(&self) -> Result<()> {
        let output = String::from_utf8_lossy(&self.end);
        if let Some(expected) = &self.ends.line
            && !last_line(&output).starts_with(expected.as_str())
        {
            return Err(self.incomplete("output", expected, ""));
        }
        let Some(expected) = &self.ends.message else { return Ok(()) };
        let said = self.producer.said();
        let last = last_line(&said);
        if last.contains(expected.as_str()) {
            return Ok(());
        }
        Err(self.incomplete("standard error", expected, last))
    }

    fn incomplete(&self, of: &str, expected: &str, last: &str) -> Error {
        let program = &self.program;
        let but = if last.is_empty() { String::new() } else { format!(" but with `{last}`") };
        Error::failed(format!(
            "the {of} of {program} does not end with `{expected}`{but}, so what it gave is not complete"
        ))
        .remedy(format!("Run {program} by hand as the same user to see what is wrong."))
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

impl Read for Produced {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.producer.read(buffer)?;
        self.bytes += count as u64;
        self.remember(&buffer[..count]);
        Ok(count)
    }
}

impl StreamSource for Produced {
    fn finish(&mut self) -> Result<u64> {
        self.producer.finish()?;
        self.is_complete()?;
        Ok(self.bytes)
    }
}

async fn restore(context: &StepContext, artifact: &StoredArtifact, command: &Command) -> Result<u64> {
    locked(&context.world.meter).recovering();
    let consumer = context.world.host.runtime.consumer(command, &context.cancel).await?;
    let consumer = Arc::new(Mutex::new(consumer));
    let sink = Box::new(Consumed(Arc::clone(&consumer)));
    let progress = context.world.host.observer.transfer(&artifact.name);
    let repository = context.world.repository()?;
    let written = repository.get_stream(artifact, sink, progress, context.cancel.clone()).await;
    // The consumer's own last words say more about a broken pipe than the pipe does.
    let finished = tokio::task::spawn_blocking(move || locked(&consumer).finish()).await;
    let finished = finished
        .unwrap_or_else(|cause| Err(Error::failed(format!("{} was lost", command.program())).because(cause)));
    let attempt = format!("restore the artifact {}", artifact.name);
    match (written, finished) {
        (Ok(restored), Ok(())) => {
            locked(&context.world.meter).recovered();
            Ok(restored.bytes)
        }
        (_, Err(error)) | (Err(error), Ok(())) => Err(error.during(&attempt)),
    }
}

struct Consumed(Arc<Mutex<Box<dyn Consumer>>>);

impl Write for Consumed {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        locked(&self.0).write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        locked(&self.0).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(std::io::Cursor<Vec<u8>>, &'static str);

    impl Read for Text {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Producer for Text {
        fn finish(&mut self) -> Result<()> {
            Ok(())
        }

        fn said(&self) -> String {
            self.1.into()
        }
    }

    fn finishes(text: &str, line: Option<&str>) -> Result<u64> {
        ends(text, "", Ends { line: line.map(Into::into), message: None })
    }

    fn ends(text: &str, said: &'static str, ends: Ends) -> Result<u64> {
        let producer = Box::new(Text(std::io::Cursor::new(text.into()), said));
        let mut source = Produced::new(producer, "dump".into(), ends);
        let mut buffer = [0; 7];
        while source.read(&mut buffer).unwrap() > 0 {}
        source.finish()
    }

    #[test]
    fn an_output_without_its_last_line_is_not_complete_whatever_its_status() {
        let rows = "INSERT INTO t VALUES (1);\n".repeat(1000);
        let whole = format!("{rows}-- Dump completed on 2026-01-01 00:00:00\n");
        assert_eq!(finishes(&whole, Some("-- Dump completed")).unwrap(), whole.len() as u64);
        let error = finishes(&rows, Some("-- Dump completed")).unwrap_err();
        assert!(error.to_string().contains("does not end with `-- Dump completed`"), "{error}");
        assert!(finishes("", Some("-- Dump completed")).is_err());
        assert!(finishes(&rows, None).is_ok());
    }

    #[test]
    fn a_program_that_does_not_say_that_it_completed_did_not_whatever_its_status() {
        let says = |said| ends("data", said, Ends { line: None, message: Some("completed OK!".into()) });
        assert_eq!(says("[01] copying\n[00] 2026-01-01 00:00:00 completed OK!\n\n").unwrap(), 4);
        for said in ["", "completed OK!\n[00] the disk is on fire\n"] {
            let error = says(said).unwrap_err();
            assert!(error.to_string().contains("does not end with `completed OK!`"), "{error}");
        }
        assert!(says("x\nout of memory\n").unwrap_err().to_string().contains("but with `out of memory`"));
    }
}
