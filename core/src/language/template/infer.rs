//! What type of value an expression gives, as far as it shows.

use minijinja::{
    machinery::ast::{BinOpKind, Expr, UnaryOpKind},
    value::ValueKind,
};

use super::analysis::Gives;

/// What an expression gives.
pub(super) fn infer(expression: &Expr<'_>) -> Gives {
    match expression {
        Expr::Var(_) | Expr::GetAttr(_) => path_of(expression).map_or(Gives::Unknown, Gives::Path),
        Expr::Const(constant) => of_constant(&constant.value),
        Expr::Compare(_) | Expr::Test(_) => Gives::Boolean,
        Expr::UnaryOp(operation) => match operation.op {
            UnaryOpKind::Not => Gives::Boolean,
            UnaryOpKind::Neg => infer(&operation.expr),
        },
        Expr::BinOp(operation) => {
            of_operation(operation.op, || infer(&operation.left), || infer(&operation.right))
        }
        Expr::IfExpr(choice) => {
            let one = infer(&choice.true_expr);
            let other = choice.false_expr.as_ref().map(infer);
            if other.as_ref() == Some(&one) { one } else { Gives::Unknown }
        }
        Expr::Filter(filter) => of_filter(filter.name),
        Expr::List(_) | Expr::Tuple(_) => Gives::List,
        Expr::Map(_) => Gives::Map,
        Expr::Slice(_) | Expr::GetItem(_) | Expr::Call(_) => Gives::Unknown,
    }
}

/// The dotted path that an expression is, if it is nothing but one.
pub(super) fn path_of(expression: &Expr<'_>) -> Option<Vec<String>> {
    match expression {
        Expr::Var(variable) => Some(vec![variable.id.to_owned()]),
        Expr::GetAttr(attribute) => {
            let mut path = path_of(&attribute.expr)?;
            path.push(attribute.name.to_owned());
            Some(path)
        }
        _ => None,
    }
}

fn of_constant(value: &minijinja::Value) -> Gives {
    match value.kind() {
        ValueKind::Bool => Gives::Boolean,
        ValueKind::Number if value.is_integer() => Gives::Integer,
        ValueKind::Number => Gives::Number,
        ValueKind::String => Gives::Text,
        ValueKind::Seq => Gives::List,
        ValueKind::Map => Gives::Map,
        _ => Gives::Unknown,
    }
}

fn of_operation(operator: BinOpKind, left: impl Fn() -> Gives, right: impl Fn() -> Gives) -> Gives {
    match operator {
        BinOpKind::Eq
        | BinOpKind::Ne
        | BinOpKind::Lt
        | BinOpKind::Lte
        | BinOpKind::Gt
        | BinOpKind::Gte
        | BinOpKind::In => Gives::Boolean,
        BinOpKind::Concat => Gives::Text,
        BinOpKind::ScAnd | BinOpKind::ScOr => {
            if left() == Gives::Boolean && right() == Gives::Boolean {
                Gives::Boolean
            } else {
                Gives::Unknown
            }
        }
        BinOpKind::Add | BinOpKind::Sub | BinOpKind::Mul | BinOpKind::FloorDiv | BinOpKind::Rem => {
            if left() == Gives::Integer && right() == Gives::Integer {
                Gives::Integer
            } else {
                Gives::Unknown
            }
        }
        BinOpKind::Div | BinOpKind::Pow => Gives::Unknown,
    }
}

fn of_filter(name: &str) -> Gives {
    match name {
        "join" | "lower" | "replace" | "string" | "tojson" | "trim" | "upper" => Gives::Text,
        "int" | "length" => Gives::Integer,
        "float" => Gives::Number,
        "bool" => Gives::Boolean,
        "items" | "lines" | "list" | "map" | "reject" | "rejectattr" | "select" | "selectattr" | "sort"
        | "split" | "unique" => Gives::List,
        _ => Gives::Unknown,
    }
}
