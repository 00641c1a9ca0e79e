//! Lint says something sensible about any text.

use proptest::prelude::*;

use super::*;

/// Every diagnostic lies inside the text and can be shown.
fn is_sound(text: &str) -> Result<(), TestCaseError> {
    let faults = match Source::parse("b.yaml", text) {
        Ok(source) => lint(&source, &FakeHooks::new()),
        Err(faults) => faults,
    };
    for fault in &faults {
        let at =
            fault.position.ok_or_else(|| TestCaseError::fail(format!("{} has no position", fault.code)))?;
        prop_assert!(at.offset <= text.len());
        prop_assert!(!fault.message.is_empty() && !fault.remedy.is_empty(), "{fault:?}");
        prop_assert!(fault.render_in("b.yaml", text).contains("help: "));
    }
    prop_assert!(faults.iter().map(|fault| fault.position.map(|at| at.offset)).is_sorted());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_blueprint_with_a_line_missing_never_makes_it_panic(line in 0_usize..80) {
        for text in [POSTGRESQL, OWN] {
            let kept: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != line).map(|(_, line)| line).collect();
            is_sound(&kept.join("\n"))?;
        }
    }

    #[test]
    fn a_blueprint_with_a_part_replaced_never_makes_it_panic(
        start in any::<prop::sample::Index>(),
        length in 0_usize..12,
        with in "(\\{\\{|\\}\\}|[a-z.]{0,6}|5|\\[|\\]|\\{|\\}|: |'|\"|\\n|\\PC){0,3}",
    ) {
        for text in [POSTGRESQL, OWN] {
            let start = text.floor_char_boundary(start.index(text.len()));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            is_sound(&format!("{}{with}{}", &text[..start], &text[end..]))?;
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,64}") {
        is_sound(&text)?;
    }
}
