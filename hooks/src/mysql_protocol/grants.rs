//! What a user must be allowed to do, and the statement that allows it.

use std::collections::BTreeSet;

use standstill_core::{Error, Result};

use super::connect::{LOOKUP, Session, column};

/// Refuses a user that lacks a privilege, naming each that is missing and the statement that gives it.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`].
pub(crate) async fn check(session: &Session, needs: &[(&str, &str)]) -> Result<()> {
    let rows = session.rows(LOOKUP, "look at the user's grants", "SHOW GRANTS", Vec::new()).await?;
    let grants: Vec<String> = rows.iter().map(|row| column(row, 0)).collect::<Result<_>>()?;
    let has = everywhere(&grants);
    if has.contains("ALL PRIVILEGES") {
        return Ok(());
    }
    let lacks: Vec<_> = needs.iter().filter(|(privilege, _)| !has.contains(*privilege)).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let user: String = column(&session.one(LOOKUP, "ask for the user", "SELECT CURRENT_USER()").await?, 0)?;
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let named: Vec<_> = lacks.iter().map(|(privilege, why)| format!("{privilege} ({why})")).collect();
    let privileges: Vec<_> = lacks.iter().map(|(privilege, _)| *privilege).collect();
    Err(Error::input(format!("user {user} lacks {} at {}", named.join(", "), session.place())).remedy(
        format!("As an administrator, run: GRANT {} ON *.* TO '{name}'@'{host}';", privileges.join(", ")),
    ))
}

/// The privileges on everything, out of the lines of `SHOW GRANTS`: the user's own and those of its active roles.
fn everywhere(grants: &[String]) -> BTreeSet<String> {
    let lists = grants.iter().filter_map(|line| line.strip_prefix("GRANT ")?.split_once(" ON *.* TO "));
    lists.flat_map(|(list, _)| list.split(',')).map(|privilege| privilege.trim().to_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_granted_on_everything_counts() {
        let grants = [
            "GRANT `keeper` TO `backup`@`%`".to_owned(),
            "GRANT SELECT, BINLOG MONITOR ON *.* TO `backup`@`%` IDENTIFIED BY PASSWORD '*AA'".to_owned(),
            "GRANT RELOAD ON *.* TO `keeper`".to_owned(),
            // MySQL puts no space between those that are no keywords.
            "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `backup`@`%`".to_owned(),
            "GRANT PROCESS ON `app`.* TO `backup`@`%`".to_owned(),
        ];
        let has = everywhere(&grants);
        assert_eq!(
            has.iter().map(String::as_str).collect::<Vec<_>>(),
            ["BACKUP_ADMIN", "BINLOG MONITOR", "CLONE_ADMIN", "RELOAD", "SELECT"]
        );
    }
}
