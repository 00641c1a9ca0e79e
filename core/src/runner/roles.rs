//! Which of several places is the target, where their databases differ by their role; and whether it still is, right
//! before anything is held.
//!
//! ```text
//!   plan ──▶ the role that it asks for ─┐
//!   runtime ──▶ peers ──probe──▶ roles ─┴▶ choose: exactly one
//! ```

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    target::{Target, render_arguments},
    world::{Host, World},
};
use crate::{
    Error, Result,
    hook::{Connection, Hook, HookContext, Hooks},
    journal::Failure,
    language::Phase,
    plan::Plan,
    point::RunId,
    runtime::{Peer, Runtime},
};

/// How long one database may take to say what it is.
const ANSWER: Duration = Duration::from_secs(20);

/// The role that a plan asks of its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRole {
    /// In the hook's word.
    pub role: String,
    hook: String,
    connection: String,
}

/// What the database at one place is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceRole {
    /// The place, as the runtime calls it.
    pub place: String,
    /// Its role, in the hook's word.
    pub role: Option<String>,
    /// Why it is not known.
    pub error: Option<Failure>,
}

/// The role that a plan asks of its database in `preflight`; `None` where any will do, or where it is not known before
/// the run.
pub fn asked_role(plan: &Plan, hooks: &dyn Hooks) -> Option<AskedRole> {
    let scope = plan.static_scope();
    let preflight = plan.steps.iter().filter(|step| step.phase == Phase::Preflight);
    preflight.filter_map(|step| step.step.hook.as_ref()).find_map(|step| {
        let (hook, verb) = step.verb.split_once('/')?;
        let arguments = render_arguments(&step.with, &plan.blueprint, &scope).ok()?;
        let role = hooks.get(hook)?.asked_role(verb, &arguments)?;
        Some(AskedRole { role, hook: hook.to_owned(), connection: step.connection.clone()? })
    })
}

/// Asks the database at each of the runtime's peers what it is; reads only. A plan that asks for no role asks nobody.
///
/// # Errors
/// When there is no way to ask: a secret that cannot be read, peers that cannot be looked up. A database that does not
/// answer is no error: that is said in its place.
pub async fn roles(host: &Host, plan: &Plan, run: &RunId) -> Result<Vec<PlaceRole>> {
    let Some(asked) = asked_role(plan, host.hooks.as_ref()) else { return Ok(Vec::new()) };
    let connection = Target::connection_of(plan, &asked.connection, host.secrets.as_ref())?;
    let question = Question::new(host, plan, run, &asked, connection)?;
    Ok(question.ask_all(&host.runtime.peers().await?).await)
}

/// The one place whose database has the role.
///
/// # Errors
/// When none has it, or several, or when one of them did not say; it names each and what it is.
pub fn choose<'a>(role: &str, found: &'a [PlaceRole]) -> Result<&'a PlaceRole> {
    let all = described(found);
    if let Some(failure) = found.iter().find_map(|place| place.error.as_ref()) {
        return Err(Error::new(
            failure.kind,
            format!("it is not known which of them is the one {role}: {all}"),
        )
        .remedy(failure.remedy.clone().unwrap_or_else(|| NAME_IT.to_owned())));
    }
    let fitting: Vec<&PlaceRole> = found.iter().filter(|place| place.role.as_deref() == Some(role)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::input(format!("none of them is a {role}: {all}"))
            .remedy("Ask for another role, or wait until there is one: a failover may be under way.")),
        several => {
            Err(Error::input(format!("{} of them are a {role}, not one: {all}", several.len()))
                .remedy(NAME_IT))
        }
    }
}

/// What helps where a role does not decide.
const NAME_IT: &str = "Find out which of them is meant, and name it: `--set target.workload=pod/NAME`.";

/// Each place and what it is, in words.
pub fn described(found: &[PlaceRole]) -> String {
    let one = |place: &PlaceRole| match (&place.role, &place.error) {
        (_, Some(failure)) => format!("{} does not say ({})", place.place, failure.message),
        (Some(role), None) => format!("{} is a {role}", place.place),
        (None, None) => format!("{} has no role", place.place),
    };
    if found.is_empty() {
        "nobody answers".into()
    } else {
        found.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Asks again, right before anything is held: whether the target still has the role that is asked for, and nobody else.
///
/// # Errors
/// [`crate::ErrorKind::Failed`] when it has another one now, or another has it too; also when it cannot be asked.
pub(super) async fn recheck(world: &Arc<World>) -> Result<()> {
    let (plan, host) = (&world.plan, &world.host);
    let Some(asked) = asked_role(plan, host.hooks.as_ref()) else { return Ok(()) };
    let connection = world.target().connection(&asked.connection)?.clone();
    let question = Question::new(host, plan, &world.run, &asked, connection)?;
    let peers = host.runtime.peers().await?;
    let found = if peers.is_empty() {
        let runtime = Arc::clone(&host.runtime);
        vec![question.ask("the target".to_owned(), runtime).await]
    } else {
        question.ask_all(&peers).await
    };
    let chosen = choose(&asked.role, &found);
    let is_target = |place: &PlaceRole| {
        peers.is_empty() || peers.iter().any(|peer| peer.is_target && peer.name == place.place)
    };
    if chosen.is_ok_and(is_target) {
        return Ok(());
    }
    let (role, now) = (&asked.role, described(&found));
    let text =
        format!("the target was the one {role} when the run began, and that is no longer certain: {now}");
    Err(Error::failed(text).remedy("Run it again when the failover is over; nothing was held."))
}

/// What is asked of each place.
struct Question {
    hook: Arc<dyn Hook>,
    context: HookContext,
}

impl Question {
    fn new(host: &Host, plan: &Plan, run: &RunId, asked: &AskedRole, connection: Connection) -> Result<Self> {
        let hook = host.hooks.get(&asked.hook);
        let hook = hook.ok_or_else(|| Error::input(format!("there is no hook `{}`", asked.hook)))?;
        let context = HookContext {
            run: run.clone(),
            connection: Some(connection),
            service: None,
            volume: None,
            volumes: std::collections::BTreeMap::new(),
            runtime: Arc::clone(&host.runtime),
            lease: plan.limits.lease,
            scratch: std::env::temp_dir(),
            point: None,
            cancel: CancellationToken::new(),
        };
        Ok(Self { hook, context })
    }

    /// Asks them all at the same time; the answers are in their order.
    async fn ask_all(&self, peers: &[Peer]) -> Vec<PlaceRole> {
        let mut asking = JoinSet::new();
        for (index, peer) in peers.iter().enumerate() {
            let question = self.at(Arc::clone(&peer.runtime));
            let name = peer.name.clone();
            asking.spawn(async move { (index, question.answer(name).await) });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn ask(&self, place: String, runtime: Arc<dyn Runtime>) -> PlaceRole {
        self.at(runtime).answer(place).await
    }

    fn at(&self, runtime: Arc<dyn Runtime>) -> Self {
        Self { hook: Arc::clone(&self.hook), context: HookContext { runtime, ..self.context.clone() } }
    }

    async fn answer(self, place: String) -> PlaceRole {
        let answer = match timeout(ANSWER, self.hook.probe(&self.context)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Error::temporary("it does not answer")
                .remedy("Look at its log; a backup needs a database that answers.")),
        };
        match answer {
            Ok(probe) => PlaceRole { place, role: probe.role, error: None },
            Err(error) => PlaceRole { place, role: None, error: Some(Failure::from(&error)) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn place(place: &str, role: Option<&str>) -> PlaceRole {
        let error = role.is_none().then(|| Failure {
            kind: ErrorKind::Temporary,
            message: "it does not answer".into(),
            remedy: None,
        });
        PlaceRole { place: place.into(), role: role.map(str::to_owned), error }
    }

    #[test]
    fn the_only_one_of_a_role_is_chosen() {
        let found = [place("a", Some("replica")), place("b", Some("primary")), place("c", Some("replica"))];
        assert_eq!(choose("primary", &found).unwrap().place, "b");
    }

    #[test]
    fn none_and_several_of_a_role_are_refused_and_each_is_named_with_what_it_is() {
        let found = [place("a", Some("primary")), place("b", Some("primary"))];
        let error = choose("primary", &found).unwrap_err();
        assert_eq!(error.to_string(), "2 of them are a primary, not one: a is a primary, b is a primary");
        assert_eq!(error.kind(), ErrorKind::Input);
        let error = choose("replica", &found).unwrap_err();
        assert_eq!(error.to_string(), "none of them is a replica: a is a primary, b is a primary");
        assert_eq!(
            choose("primary", &[]).unwrap_err().to_string(),
            "none of them is a primary: nobody answers"
        );
    }

    #[test]
    fn one_that_does_not_say_what_it_is_might_be_a_second_one() {
        let found = [place("a", Some("primary")), place("b", None)];
        let error = choose("primary", &found).unwrap_err();
        assert!(
            error.to_string().ends_with("a is a primary, b does not say (it does not answer)"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Temporary);
    }
}
