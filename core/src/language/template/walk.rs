//! The walk over a template's syntax tree that finds what it uses and what is wrong with it.

use std::{collections::HashSet, ops::Range};

use minijinja::machinery::{
    Span,
    ast::{BinOpKind, Call, CallArg, CallType, Expr, Filter, ForLoop, IfExpr, Stmt, Test},
};

use super::{
    analysis::{Fault, Gives, Reference},
    environment::{FILTERS, FUNCTIONS, TESTS},
    guard::guards,
    infer::{infer, path_of},
    parse::range,
};
use crate::language::suggest;

/// What was found so far, and where the walk is.
#[derive(Default)]
pub(super) struct Walk<'a> {
    pub references: Vec<Reference>,
    pub faults: Vec<Fault>,
    pub writes: Vec<(Gives, Range<usize>)>,
    /// Variables of the template's own, by block.
    locals: Vec<HashSet<&'a str>>,
    /// Paths that are known to be there, because an `if` has asked.
    guarded: Vec<Vec<String>>,
}

impl<'a> Walk<'a> {
    pub(super) fn statements(&mut self, statements: &[Stmt<'a>]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt<'a>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(emit) => {
                self.expression(&emit.expr);
                self.writes.push((self.given_by(&emit.expr), whole(&emit.expr)));
            }
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(each) => self.for_loop(each),
            Stmt::IfCond(choice) => {
                self.expression(&choice.expr);
                self.given(guards(&choice.expr, true), |walk| walk.statements(&choice.true_body));
                self.given(guards(&choice.expr, false), |walk| walk.statements(&choice.false_body));
            }
            Stmt::WithBlock(with) => {
                with.assignments.iter().for_each(|(_, value)| self.expression(value));
                self.block(|walk| {
                    with.assignments.iter().for_each(|(target, _)| walk.assign(target));
                    walk.statements(&with.body);
                });
            }
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.assign(&set.target);
            }
            Stmt::SetBlock(set) => {
                self.block(|walk| walk.statements(&set.body));
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.assign(&set.target);
            }
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter);
                self.block(|walk| walk.statements(&block.body));
            }
            Stmt::AutoEscape(block) => {
                let remedy = "Remove `autoescape`: nothing is escaped in a blueprint.";
                self.fault("unknown-statement", "there is no `autoescape` here", remedy, block.span());
                self.statements(&block.body);
            }
            Stmt::Do(call) => self.call(&call.call, call.span()),
        }
    }

    fn for_loop(&mut self, each: &ForLoop<'a>) {
        self.expression(&each.iter);
        self.block(|walk| {
            walk.assign(&each.target);
            walk.assign_name("loop");
            each.filter_expr.iter().for_each(|filter| walk.expression(filter));
            walk.statements(&each.body);
        });
        self.block(|walk| walk.statements(&each.else_body));
    }

    pub(super) fn expression(&mut self, expression: &Expr<'a>) {
        match expression {
            Expr::Const(_) => {}
            Expr::Var(_) | Expr::GetAttr(_) => self.path(expression, false),
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => {
                self.expression(&operation.left);
                let known = match operation.op {
                    BinOpKind::ScAnd => guards(&operation.left, true),
                    BinOpKind::ScOr => guards(&operation.left, false),
                    _ => Vec::new(),
                };
                self.given(known, |walk| walk.expression(&operation.right));
            }
            Expr::Compare(comparison) => {
                self.expression(&comparison.expr);
                comparison.ops.iter().for_each(|operand| self.expression(&operand.expr));
            }
            Expr::IfExpr(choice) => self.choice(choice),
            Expr::Filter(filter) => self.filter(filter, expression.span()),
            Expr::Test(test) => self.test(test, expression.span()),
            Expr::GetItem(item) => self.item(&item.expr, &item.subscript_expr),
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expression(bound);
                }
            }
            Expr::Call(call) => self.call(call, expression.span()),
            Expr::List(list) => list.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.expression(item)),
        }
    }

    /// What an expression gives; nothing is known of what a variable of the template's own gives.
    fn given_by(&self, expression: &Expr<'a>) -> Gives {
        match infer(expression) {
            Gives::Path(path) if self.is_local(&path) => Gives::Unknown,
            gives => gives,
        }
    }

    fn is_local(&self, path: &[String]) -> bool {
        path.first().is_some_and(|first| self.locals.iter().any(|block| block.contains(first.as_str())))
    }

    /// A variable, or attributes of something.
    fn path(&mut self, expression: &Expr<'a>, guarded: bool) {
        let Some(path) = path_of(expression) else {
            if let Expr::GetAttr(attribute) = expression {
                self.expression(&attribute.expr);
            }
            return;
        };
        if !self.is_local(&path) {
            let guarded = guarded || self.guarded.iter().any(|known| path.starts_with(known));
            self.references.push(Reference { path, span: whole(expression), guarded });
        }
    }

    /// An expression that may be undefined.
    fn tolerant(&mut self, expression: &Expr<'a>) {
        match expression {
            Expr::Var(_) | Expr::GetAttr(_) => self.path(expression, true),
            other => self.expression(other),
        }
    }

    fn choice(&mut self, choice: &IfExpr<'a>) {
        self.expression(&choice.test_expr);
        self.given(guards(&choice.test_expr, true), |walk| walk.expression(&choice.true_expr));
        if let Some(otherwise) = &choice.false_expr {
            self.given(guards(&choice.test_expr, false), |walk| walk.expression(otherwise));
        } else {
            let remedy = "Add `else` and the value to use then.";
            self.fault(
                "if-without-else",
                "there is no value when this `if` does not hold",
                remedy,
                choice.test_expr.span(),
            );
        }
    }

    fn filter(&mut self, filter: &Filter<'a>, span: Span) {
        if !FILTERS.contains(&filter.name) {
            self.unknown("unknown-filter", "filter", filter.name, &FILTERS, span);
        }
        if let Some(value) = &filter.expr {
            if filter.name == "default" { self.tolerant(value) } else { self.expression(value) }
        }
        self.arguments(&filter.args);
        // Some filters apply another filter or a test, which they are given by name.
        let (position, what, code, names) = match filter.name {
            "map" => (0, "filter", "unknown-filter", FILTERS.as_slice()),
            "select" | "reject" => (0, "test", "unknown-test", TESTS.as_slice()),
            "selectattr" | "rejectattr" => (1, "test", "unknown-test", TESTS.as_slice()),
            _ => return,
        };
        let applied = filter.args.iter().filter_map(|argument| match argument {
            CallArg::Pos(Expr::Const(constant)) => {
                Some((constant.value.as_str()?.to_owned(), constant.span()))
            }
            _ => None,
        });
        if let Some((name, span)) = applied.into_iter().nth(position)
            && !names.contains(&name.as_str())
        {
            self.unknown(code, what, &name, names, span);
        }
    }

    fn test(&mut self, test: &Test<'a>, span: Span) {
        if !TESTS.contains(&test.name) {
            self.unknown("unknown-test", "test", test.name, &TESTS, span);
        }
        if matches!(test.name, "defined" | "undefined") {
            self.tolerant(&test.expr);
        } else {
            self.expression(&test.expr);
        }
        self.arguments(&test.args);
    }

    fn item(&mut self, base: &Expr<'a>, subscript: &Expr<'a>) {
        let name = match subscript {
            Expr::Const(constant) => constant.value.as_str(),
            _ => None,
        };
        match (name, path_of(base)) {
            // It is refused below; what it stands for is used all the same.
            (Some(name), Some(mut path)) if !self.is_local(&path) => {
                path.push(name.to_owned());
                let span = whole(base).start..range(subscript.span()).end;
                self.references.push(Reference { path, span, guarded: false });
            }
            _ => self.expression(base),
        }
        match name {
            Some(name) => {
                let message = format!("the subscript `[\"{name}\"]` hides from lint what is used");
                let remedy = format!("Write `.{name}` instead.");
                self.fault("string-subscript", &message, &remedy, subscript.span());
            }
            None => self.expression(subscript),
        }
    }

    fn call(&mut self, call: &Call<'a>, span: Span) {
        match call.identify_call() {
            CallType::Function(name) if FUNCTIONS.contains(&name) => {}
            CallType::Function(name) => self.unknown("unknown-function", "function", name, &FUNCTIONS, span),
            CallType::Method(value, name) => {
                self.expression(value);
                let message = format!("there is no method `{name}`: values have none");
                let remedy = match suggest::nearest(name, FILTERS) {
                    Some(filter) => format!("Use the filter: `… | {filter}`."),
                    None => "Use a filter.".to_owned(),
                };
                self.fault("unknown-function", &message, &remedy, span);
            }
            CallType::Object(value) => {
                self.expression(value);
                self.fault("unknown-function", "this cannot be called", "Use a filter.", span);
            }
        }
        self.arguments(&call.args);
    }

    fn arguments(&mut self, arguments: &[CallArg<'a>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    fn assign(&mut self, target: &Expr<'a>) {
        match target {
            Expr::Var(variable) => self.assign_name(variable.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item)),
            _ => {}
        }
    }

    fn assign_name(&mut self, name: &'a str) {
        if self.locals.is_empty() {
            self.locals.push(HashSet::new());
        }
        if let Some(block) = self.locals.last_mut() {
            block.insert(name);
        }
    }

    fn block(&mut self, walk: impl FnOnce(&mut Self)) {
        self.locals.push(HashSet::new());
        walk(self);
        self.locals.pop();
    }

    fn given(&mut self, known: Vec<Vec<String>>, walk: impl FnOnce(&mut Self)) {
        let before = self.guarded.len();
        self.guarded.extend(known);
        walk(self);
        self.guarded.truncate(before);
    }

    fn unknown(&mut self, code: &'static str, what: &str, name: &str, names: &[&str], span: Span) {
        let remedy = suggest::remedy(name, what, names.iter().copied());
        self.fault(code, &format!("there is no {what} `{name}`"), &remedy, span);
    }

    fn fault(&mut self, code: &'static str, message: &str, remedy: &str, span: Span) {
        let (message, remedy) = (message.to_owned(), remedy.to_owned());
        self.faults.push(Fault { code, message, remedy, span: range(span) });
    }
}

/// The bytes of an expression from its first name on: the engine's span of `a.b.c` begins at its last but one dot.
fn whole(expression: &Expr<'_>) -> Range<usize> {
    let mut first = expression;
    while let Expr::GetAttr(attribute) = first {
        first = &attribute.expr;
    }
    let span = range(expression.span());
    range(first.span()).start.min(span.start)..span.end
}
