//! Names of several parts, such as `app.orders`, in which odd parts are quoted.

/// The parts of a name, unquoted; `None` if it is not such a name. A quote within quotes is doubled.
pub(crate) fn parts(text: &str, quote: char) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == quote && quoted && characters.peek() == Some(&quote) {
            characters.next();
            part.push(quote);
        } else if character == quote {
            quoted = !quoted;
        } else if character == '.' && !quoted {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(character);
        }
    }
    parts.push(part);
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// One part as a server takes it.
pub(crate) fn quoted(name: &str, quote: char) -> String {
    let doubled = name.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_and_put_together_with_either_quote() {
        for (quote, name) in
            [('"', r#"app."My ""odd"" schema"."t.1""#), ('`', "app.`My \"odd\" schema`.`t.1`")]
        {
            assert_eq!(parts(name, quote).unwrap(), ["app", r#"My "odd" schema"#, "t.1"]);
            assert_eq!(parts(&quoted("t.1", quote), quote).unwrap(), ["t.1"]);
        }
        assert_eq!(parts("a..b", '"'), None);
        assert_eq!(parts("\"a", '"'), None);
    }
}
