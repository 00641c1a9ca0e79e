//! From text to the engine's syntax tree, within bounds, with every error placed.

use std::ops::Range;

use minijinja::{
    Error,
    machinery::{Span, ast, parse, parse_expr, tokenize},
    syntax::SyntaxConfig,
};

use super::environment::syntax;

/// How many words and signs the templates of one text may have. The engine parses and compiles chains of operators
/// recursively and without a limit of its own, so that a long enough one would overflow the stack.
const MAXIMUM_TOKENS: usize = 1_000;

/// Why a text is no template or no expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxFault {
    /// What is wrong.
    pub message: String,
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
}

/// Parses a text with templates in it.
pub(super) fn parse_template(text: &str) -> Result<ast::Stmt<'_>, SyntaxFault> {
    bound(text, false, syntax())?;
    parse(text, "template", syntax()).map_err(|error| fault(text, &error))
}

/// Parses an expression.
pub(super) fn parse_expression(text: &str) -> Result<ast::Expr<'_>, SyntaxFault> {
    bound(text, true, SyntaxConfig::default())?;
    parse_expr(text).map_err(|error| fault(text, &error))
}

/// The statements of a parsed template.
pub(super) fn statements<'t, 's>(template: &'t ast::Stmt<'s>) -> &'t [ast::Stmt<'s>] {
    match template {
        ast::Stmt::Template(template) => &template.children,
        other => std::slice::from_ref(other),
    }
}

/// The expression of a text that is exactly one `{{ … }}`, as its place in the text. A block scalar's last line
/// break does not count.
pub(super) fn sole_expression(text: &str, template: &ast::Stmt<'_>) -> Option<Range<usize>> {
    let only = text.trim_end_matches('\n');
    let inner = only.strip_prefix("{{")?.strip_suffix("}}")?;
    let [ast::Stmt::EmitExpr(_), rest @ ..] = statements(template) else { return None };
    let blank = |statement: &ast::Stmt<'_>| matches!(statement, ast::Stmt::EmitRaw(raw) if raw.raw.trim_matches('\n').is_empty());
    if !rest.iter().all(blank) {
        return None;
    }
    let start = 2 + usize::from(inner.starts_with(['-', '+']));
    let end = only.len() - 2 - usize::from(inner.ends_with(['-', '+']));
    (start <= end).then_some(start..end)
}

/// The bytes of the text that a node spans.
pub(super) fn range(span: Span) -> Range<usize> {
    let start = span.start_offset as usize;
    start..(span.end_offset as usize).max(start)
}

fn bound(text: &str, is_expression: bool, syntax: SyntaxConfig) -> Result<(), SyntaxFault> {
    match tokenize(text, is_expression, syntax).nth(MAXIMUM_TOKENS) {
        // An error here is met again, with its place, by the parser.
        None | Some(Err(_)) => Ok(()),
        Some(Ok((_, span))) => Err(SyntaxFault {
            message: format!("a template has more than {MAXIMUM_TOKENS} words and signs"),
            span: range(span),
        }),
    }
}

fn fault(text: &str, error: &Error) -> SyntaxFault {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let end = text.len();
    let span = error.range().unwrap_or(0..end);
    // The engine's spans may reach beyond the end, or stop inside a character.
    let start = text.floor_char_boundary(span.start.min(end));
    SyntaxFault { message, span: start..text.ceil_char_boundary(span.end.clamp(start, end)) }
}
