//! Groups: what is asked of each member.

use std::collections::BTreeMap;

use standstill_core::{
    Error, Result,
    hook::Hooks,
    journal::RunRequest,
    language::{Severity, as_error_of, read_group},
    plan::{Given, Values, bind_member},
    point::RecoveryPoint,
};

use crate::{
    blueprint::{Text, find_from, load, mistakes},
    commands::request,
};

/// What is asked of a group that is backed up: the values of its own text, and those that were given over them.
pub fn to_back_up(
    text: &Text,
    action: &str,
    name: Option<&str>,
    given: &BTreeMap<String, Given>,
    hooks: &dyn Hooks,
) -> Result<RunRequest> {
    let wrong: Vec<_> = mistakes(text, hooks).into_iter().map(|(fault, _)| fault).collect();
    if wrong.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(as_error_of("group", &text.origin, &wrong));
    }
    let group = read_group(&text.origin, &text.text)?;
    let application = name.unwrap_or(&group.metadata.name);
    let names: Vec<&str> = group.spec.members.iter().map(|member| member.name.as_str()).collect();
    let mut given = by_member(given, &names)?;
    let members = group.spec.members.iter().map(|member| {
        let own = find_from(text, &member.blueprint)?;
        let mut values: BTreeMap<String, Given> = member
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), Given::Value(value.clone())))
            .collect();
        values.extend(given.remove(&member.name).unwrap_or_default());
        one(&own, action, application, &member.name, &values, hooks)
    });
    let members = members.collect::<Result<Vec<_>>>()?;
    Ok(RunRequest { members, ..request(text, action, application, Values::default()) })
}

/// What is asked of a group whose recovery point is restored or verified: with the blueprints and values that it
/// embeds, and those that were given over them.
pub fn on_point(
    point: &RecoveryPoint,
    action: &str,
    given: &BTreeMap<String, Given>,
    hooks: &dyn Hooks,
) -> Result<RunRequest> {
    let names: Vec<&str> = point.members.iter().map(|member| member.name.as_str()).collect();
    let mut given = by_member(given, &names)?;
    let members = names.iter().map(|name| {
        let given = given.remove(*name).unwrap_or_default();
        member_on_point(point, name, None, action, &given, hooks)
    });
    let members = members.collect::<Result<Vec<_>>>()?;
    let text = Text { origin: format!("recovery-point:{}", point.id), text: point.blueprint_text.clone() };
    let whole = request(&text, action, &point.name, Values::default());
    Ok(RunRequest { members, point: Some(point.id.clone()), ..whole })
}

/// What is asked of one member of a group whose recovery point is restored or verified.
pub fn member_on_point(
    point: &RecoveryPoint,
    member: &str,
    blueprint: Option<Text>,
    action: &str,
    given: &BTreeMap<String, Given>,
    hooks: &dyn Hooks,
) -> Result<RunRequest> {
    let own = point.member(member)?;
    let text = blueprint.unwrap_or_else(|| Text {
        origin: format!("recovery-point:{}:{member}", point.id),
        text: own.blueprint_text.clone(),
    });
    let blueprint = load(&text, hooks)?;
    let values = with_embedded(&own, given, |name| blueprint.spec.parameters.contains_key(name));
    let request = one(&text, action, &point.name, member, &values, hooks)?;
    Ok(RunRequest { point: Some(point.id.clone()), ..request })
}

/// The values that a recovery point embeds, as far as they are known, and those that were given over them.
pub fn with_embedded(
    point: &RecoveryPoint,
    given: &BTreeMap<String, Given>,
    is_known: impl Fn(&str) -> bool,
) -> BTreeMap<String, Given> {
    let embedded = point.parameters.iter().filter(|(name, _)| is_known(name));
    let mut values: BTreeMap<String, Given> =
        embedded.map(|(name, value)| (name.clone(), Given::Value(value.clone()))).collect();
    values.extend(given.clone());
    values
}

fn one(
    text: &Text,
    action: &str,
    application: &str,
    member: &str,
    given: &BTreeMap<String, Given>,
    hooks: &dyn Hooks,
) -> Result<RunRequest> {
    let blueprint = load(text, hooks)?;
    let values = bind_member(&blueprint, given, Some(member))
        .map_err(|error| error.during(&format!("the member {member}")))?;
    Ok(RunRequest { member: Some(member.to_owned()), ..request(text, action, application, values) })
}

/// The values by the member that they are of: `MEMBER.NAME`.
fn by_member(
    given: &BTreeMap<String, Given>,
    members: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, Given>>> {
    let mut by_member: BTreeMap<String, BTreeMap<String, Given>> = BTreeMap::new();
    for (key, value) in given {
        let (member, name) =
            key.split_once('.').filter(|(member, _)| members.contains(member)).ok_or_else(|| {
                Error::input(format!("`{key}` is no parameter of a member of the group"))
                    .remedy(format!("Write MEMBER.NAME; the members are: {}.", members.join(", ")))
            })?;
        by_member.entry(member.to_owned()).or_default().insert(name.to_owned(), value.clone());
    }
    Ok(by_member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_the_member_before_the_dot() {
        let given = |key: &str| BTreeMap::from([(key.to_owned(), Given::Text("x".into()))]);
        let split = by_member(&given("index.file"), &["orders", "index"]).unwrap();
        assert_eq!(split["index"]["file"], Given::Text("x".into()));
        for wrong in ["file", "shard.file"] {
            let error = by_member(&given(wrong), &["orders", "index"]).unwrap_err();
            assert!(error.remedy_text().unwrap().contains("orders, index"));
        }
    }
}
