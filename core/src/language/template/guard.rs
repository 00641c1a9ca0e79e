//! What a condition says about what is there.

use minijinja::machinery::ast::{BinOpKind, Expr, UnaryOpKind};

use super::infer::path_of;

/// The paths that are certainly defined when the condition holds (or, with `holds` false, when it does not).
pub(super) fn guards(condition: &Expr<'_>, holds: bool) -> Vec<Vec<String>> {
    match condition {
        Expr::Test(test) => match (test.name, holds) {
            ("defined", true) | ("undefined", false) => path_of(&test.expr).into_iter().collect(),
            _ => Vec::new(),
        },
        Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => {
            guards(&operation.expr, !holds)
        }
        Expr::BinOp(operation) => match (operation.op, holds) {
            (BinOpKind::ScAnd, true) | (BinOpKind::ScOr, false) => {
                let mut both = guards(&operation.left, holds);
                both.extend(guards(&operation.right, holds));
                both
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
