//! What the user may do, asked before anything is done.

use std::collections::BTreeSet;

use bson::{RawDocument, doc};
use standstill_core::{Error, Result};

use super::session::{LOOKUP, Session};

/// On what an action is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum On<'a> {
    /// The whole server.
    Cluster,
    /// One collection.
    Collection(&'a str, &'a str),
    /// All collections of a database.
    Database(&'a str),
}

impl std::fmt::Display for On<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster => formatter.write_str("{cluster: true}"),
            Self::Collection(database, name) => {
                write!(formatter, "{{db: \"{database}\", collection: \"{name}\"}}")
            }
            Self::Database(database) => write!(formatter, "{{db: \"{database}\", collection: \"\"}}"),
        }
    }
}

/// One privilege: a resource and what may be done with it.
#[derive(Debug)]
struct Privilege {
    /// `None` for the cluster; names that are empty mean all.
    resource: Option<(String, String)>,
    /// Whether it is on everything there is.
    any: bool,
    actions: BTreeSet<String>,
}

/// All privileges of the user.
#[derive(Debug)]
pub(super) struct Privileges {
    /// `None` where nobody logged in, or the server does not tell: then it asks for no privileges, or refuses by itself.
    list: Option<Vec<Privilege>>,
    user: String,
    place: String,
}

impl Privileges {
    /// Asks the server (`connectionStatus`, which every user may give).
    pub async fn of(session: &Session) -> Result<Self> {
        let command = doc! {"connectionStatus": 1, "showPrivileges": true};
        let said = session.run("admin", LOOKUP, "look up privileges (connectionStatus)", command).await?;
        Ok(Self::read(&said, session.place()))
    }

    fn read(said: &RawDocument, place: &str) -> Self {
        let place = place.to_owned();
        let info = said.get_document("authInfo").ok();
        let users = info.and_then(|info| info.get_array("authenticatedUsers").ok());
        let first = users.and_then(|users| users.into_iter().next()?.ok()?.as_document());
        let user = first.map(|user| user.get_str("user").unwrap_or_default().to_owned());
        let all = |field: &str| info.and_then(|info| info.get_array(field).ok()).into_iter().flatten();
        let list: Vec<Privilege> = all("authenticatedUserPrivileges")
            .filter_map(|privilege| one(privilege.ok()?.as_document()?))
            .collect();
        // Roles without any privilege: other servers of the protocol do not say what is in them.
        let told = !list.is_empty() || all("authenticatedUserRoles").next().is_none();
        let list = (user.is_some() && told).then_some(list);
        Self { list, user: user.unwrap_or_default(), place }
    }

    fn has(&self, action: &str, on: On<'_>) -> bool {
        let Some(list) = &self.list else { return true };
        list.iter().filter(|privilege| privilege.actions.contains(action)).any(|privilege| {
            let names =
                privilege.resource.as_ref().map(|(database, name)| (database.as_str(), name.as_str()));
            match (on, names) {
                _ if privilege.any => true,
                (On::Cluster, None) => true,
                (On::Collection(database, name), Some((given, collection))) => {
                    (given.is_empty() || given == database) && (collection.is_empty() || collection == name)
                }
                (On::Database(database), Some((given, collection))) => {
                    (given.is_empty() || given == database) && collection.is_empty()
                }
                _ => false,
            }
        })
    }

    /// Refuses a user that lacks a privilege, and names it.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`].
    pub fn need(&self, action: &str, on: On<'_>, what_for: &str) -> Result<()> {
        if self.has(action, on) {
            return Ok(());
        }
        Err(Error::input(format!("user {} may not {what_for} at {}: it lacks `{action}`", self.user, self.place))
            .remedy(format!(
                "Grant a role of the user's the privilege {{resource: {on}, actions: [\"{action}\"]}} with db.grantPrivilegesToRole(…); the blueprint's page has them all."
            )))
    }
}

fn one(privilege: &RawDocument) -> Option<Privilege> {
    let resource = privilege.get_document("resource").ok()?;
    let is = |field: &str| resource.get_bool(field).unwrap_or(false);
    let names = match (resource.get_str("db"), resource.get_str("collection")) {
        (Ok(database), Ok(name)) => Some((database.to_owned(), name.to_owned())),
        _ if is("cluster") || is("anyResource") => None,
        _ => return None,
    };
    let actions = privilege.get_array("actions").ok()?.into_iter();
    let actions = actions.filter_map(|action| Some(action.ok()?.as_str()?.to_owned())).collect();
    Some(Privilege { resource: names, any: is("anyResource"), actions })
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf};

    use super::*;

    fn privileges(list: Vec<Document>) -> Privileges {
        let said = doc! {"authInfo": {
            "authenticatedUsers": [{"user": "backup", "db": "admin"}],
            "authenticatedUserPrivileges": list,
        }};
        Privileges::read(&RawDocumentBuf::try_from(&said).unwrap(), "here")
    }

    #[test]
    fn a_privilege_counts_where_it_is_for() {
        let given = privileges(vec![
            doc! {"resource": {"cluster": true}, "actions": ["fsync"]},
            doc! {"resource": {"db": "local", "collection": "standstill"}, "actions": ["find"]},
            doc! {"resource": {"db": "", "collection": ""}, "actions": ["listIndexes"]},
        ]);
        assert!(given.has("fsync", On::Cluster) && !given.has("unlock", On::Cluster));
        assert!(given.has("find", On::Collection("local", "standstill")));
        assert!(
            !given.has("find", On::Collection("local", "other")) && !given.has("find", On::Database("local"))
        );
        assert!(given.has("listIndexes", On::Database("shop")) && !given.has("listIndexes", On::Cluster));
        let error = given.need("unlock", On::Cluster, "let writes go on").unwrap_err();
        assert!(error.to_string().contains("it lacks `unlock`"), "{error}");
        assert!(error.remedy_text().unwrap().contains("{cluster: true}"));
    }

    #[test]
    fn the_super_user_may_everything_and_without_users_everybody() {
        let root = privileges(vec![doc! {"resource": {"anyResource": true}, "actions": ["fsync", "find"]}]);
        assert!(root.has("fsync", On::Cluster) && root.has("find", On::Database("shop")));
        let nobody = doc! {"authInfo": {"authenticatedUsers": [], "authenticatedUserPrivileges": []}};
        let nobody = Privileges::read(&RawDocumentBuf::try_from(&nobody).unwrap(), "here");
        assert!(nobody.has("fsync", On::Cluster));
    }

    #[test]
    fn a_user_without_roles_may_nothing_and_of_roles_that_are_not_explained_nothing_is_known() {
        let of = |roles: Vec<Document>| {
            let said = doc! {"authInfo": {
                "authenticatedUsers": [{"user": "backup", "db": "admin"}],
                "authenticatedUserRoles": roles,
                "authenticatedUserPrivileges": [],
            }};
            Privileges::read(&RawDocumentBuf::try_from(&said).unwrap(), "here")
        };
        assert!(!of(vec![]).has("find", On::Database("shop")));
        assert!(of(vec![doc! {"role": "own", "db": "admin"}]).has("find", On::Database("shop")));
    }
}
