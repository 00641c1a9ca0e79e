//! "Did you mean …?"

/// The name that was most likely meant, if one is near enough.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(wrong);
    let limit = wanted.chars().count() / 3;
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A remedy: the name that was most likely meant, or else all there are.
pub fn remedy<'a>(wrong: &str, what: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let names = all;
    match nearest(wrong, names.iter().copied()) {
        Some(name) => format!("Did you mean `{name}`?"),
        None if names.is_empty() => format!("There is no {what} here."),
        None => format!("Use one of: {}.", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised_and_a_stranger_is_not() {
        let names = ["parameters", "programs", "backup-mode"];
        assert_eq!(nearest("paramters", names), Some("parameters"));
        assert_eq!(nearest("backupMode", names), Some("backup-mode"));
        assert_eq!(nearest("elephant", names), None);
        assert_eq!(remedy("x", "volume", []), "There is no volume here.");
    }
}
