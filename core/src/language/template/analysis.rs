//! What can be known of a template without rendering it.

use std::ops::Range;

use serde_json::Value;

use super::{
    infer::infer,
    is_template,
    parse::{SyntaxFault, parse_expression, parse_template, sole_expression, statements},
    walk::Walk,
};

/// What a template uses, what is wrong with it whatever the scope, and what it gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// What it uses of its scope, in order. Variables of its own (`for`, `set`) are none of it.
    pub references: Vec<Reference>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What it gives.
    pub gives: Gives,
    /// What it writes into its text, each with the bytes of the text where that is written. None where it is sole.
    pub writes: Vec<(Gives, Range<usize>)>,
    /// Whether it is exactly one `{{ … }}` (or an expression), so that it keeps the type of its value.
    pub sole: bool,
}

/// A dotted path that a template uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its names: `["steps", "dump", "bytes"]`.
    pub path: Vec<String>,
    /// The bytes of the text where it is written.
    pub span: Range<usize>,
    /// Whether the template copes with its not being there: `is defined`, `default`, or inside an `if` that asks.
    pub guarded: bool,
}

/// Something that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A short word for it.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
}

/// What a template gives, as far as it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gives {
    /// Whatever is at this path of the scope.
    Path(Vec<String>),
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// A map.
    Map,
    /// It does not show.
    Unknown,
}

/// Analyses a text that may have templates in it.
pub fn analyse_template(text: &str) -> Analysis {
    if !is_template(text) {
        return Analysis {
            references: vec![],
            faults: vec![],
            gives: Gives::Text,
            writes: vec![],
            sole: false,
        };
    }
    let template = match parse_template(text) {
        Ok(template) => template,
        Err(fault) => return broken("invalid-template", "Templates are written `{{ params.name }}`.", fault),
    };
    let sole = sole_expression(text, &template).is_some();
    let mut walk = Walk::default();
    walk.statements(statements(&template));
    let gives = match statements(&template).first() {
        Some(minijinja::machinery::ast::Stmt::EmitExpr(emit)) if sole => infer(&emit.expr),
        _ => Gives::Text,
    };
    let writes = if sole { Vec::new() } else { walk.writes };
    Analysis { references: walk.references, faults: walk.faults, gives, writes, sole }
}

/// Analyses an expression.
pub fn analyse_expression(text: &str) -> Analysis {
    if text.contains("{{") {
        let message = "this is an expression, and needs no braces".to_owned();
        let remedy = "Remove `{{` and `}}`.";
        return broken("invalid-expression", remedy, SyntaxFault { message, span: 0..text.len() });
    }
    match parse_expression(text) {
        Ok(expression) => {
            let mut walk = Walk::default();
            walk.expression(&expression);
            let gives = infer(&expression);
            Analysis { references: walk.references, faults: walk.faults, gives, writes: vec![], sole: true }
        }
        Err(fault) => {
            let remedy = "Expressions are written without braces, such as `result.exitCode == 0`.";
            broken("invalid-expression", remedy, fault)
        }
    }
}

/// The dotted paths that the templates in a value use, through lists and maps; each once, in order of appearance.
pub fn references(value: &Value) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    collect(value, &mut paths);
    paths
}

/// The dotted path that a value is, if it is exactly one `{{ … }}` with nothing but a path in it.
///
/// Where an optional parameter may be left out, this is what is looked at: `{{ params.level | default(3) }}` is no
/// mere path, and always has a value.
pub fn sole_path(value: &Value) -> Option<Vec<String>> {
    match analyse_template(value.as_str()?) {
        Analysis { gives: Gives::Path(path), sole: true, .. } => Some(path),
        _ => None,
    }
}

/// The dotted paths that an expression uses; each once, in order of appearance.
pub fn references_of_expression(expression: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    add(analyse_expression(expression), &mut paths);
    paths
}

fn collect(value: &Value, paths: &mut Vec<Vec<String>>) {
    match value {
        Value::String(text) => add(analyse_template(text), paths),
        Value::Array(list) => list.iter().for_each(|item| collect(item, paths)),
        Value::Object(map) => map.values().for_each(|item| collect(item, paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn add(analysis: Analysis, paths: &mut Vec<Vec<String>>) {
    for reference in analysis.references {
        if !paths.contains(&reference.path) {
            paths.push(reference.path);
        }
    }
}

fn broken(code: &'static str, remedy: &str, fault: SyntaxFault) -> Analysis {
    let SyntaxFault { message, span } = fault;
    let fault = Fault { code, message, remedy: remedy.to_owned(), span };
    Analysis { references: vec![], faults: vec![fault], gives: Gives::Unknown, writes: vec![], sole: false }
}
