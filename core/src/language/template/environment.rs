//! The template engine as blueprints may use it: strict, without escaping, bounded, and with a fixed list of
//! filters, tests and functions, so that a blueprint means the same with every version of the engine.

use std::sync::LazyLock;

use minijinja::{
    Environment, Error, ErrorKind, Output, State, UndefinedBehavior, filters, functions,
    syntax::SyntaxConfig,
    tests,
    value::{Serde, Value, ValueKind},
};

/// How many steps of the engine one template may take: far more than any honest one needs, and over within a
/// fraction of a second.
const FUEL: u64 = 100_000;

/// How deeply templates and values may nest.
const DEPTH: usize = 64;

/// The filters that templates may use, sorted.
pub const FILTERS: [&str; 31] = [
    "abs",
    "bool",
    "default",
    "first",
    "float",
    "fromjson",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "tojson",
    "trim",
    "unique",
    "upper",
];

/// The tests that templates may use after `is`, sorted.
pub const TESTS: [&str; 25] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

/// The functions that templates may call.
pub const FUNCTIONS: [&str; 1] = ["range"];

/// The one engine.
pub(super) fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(build);
    &ENVIRONMENT
}

/// The syntax: the usual delimiters, and a text's last line break is kept, as it is where there is no template.
pub(super) fn syntax() -> SyntaxConfig {
    // The builder refuses nothing but delimiters, and none are set.
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

fn build() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Debug mode puts the values of variables into messages.
    environment.set_debug(false);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    environment.set_syntax(syntax());
    environment.set_formatter(write_plainly);
    environment.add_function("range", functions::range);
    add_filters(&mut environment);
    add_tests(&mut environment);
    environment
}

fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("abs", filters::abs);
    environment.add_filter("bool", filters::bool);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("float", filters::float);
    environment.add_filter("fromjson", from_json);
    environment.add_filter("int", filters::int);
    environment.add_filter("items", filters::items);
    environment.add_filter("join", filters::join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lines", filters::lines);
    environment.add_filter("list", filters::list);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("map", filters::map);
    environment.add_filter("max", filters::max);
    environment.add_filter("min", filters::min);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("rejectattr", filters::rejectattr);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("reverse", filters::reverse);
    environment.add_filter("round", filters::round);
    environment.add_filter("select", filters::select);
    environment.add_filter("selectattr", filters::selectattr);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("split", filters::split);
    environment.add_filter("string", filters::string);
    environment.add_filter("tojson", to_json_text);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("unique", filters::unique);
    environment.add_filter("upper", filters::upper);
}

fn add_tests(environment: &mut Environment<'static>) {
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("divisibleby", tests::is_divisibleby);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("eq", tests::is_eq);
    environment.add_test("even", tests::is_even);
    environment.add_test("false", tests::is_false);
    environment.add_test("float", tests::is_float);
    environment.add_test("ge", tests::is_ge);
    environment.add_test("gt", tests::is_gt);
    environment.add_test("in", tests::is_in);
    environment.add_test("integer", tests::is_integer);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("le", tests::is_le);
    environment.add_test("lt", tests::is_lt);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("ne", tests::is_ne);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("string", tests::is_string);
    environment.add_test("true", tests::is_true);
    environment.add_test("undefined", tests::is_undefined);
}

/// The filter `fromjson`: reads a JSON text, such as a command's output.
fn from_json(text: &str) -> Result<Value, Error> {
    serde_json::from_str::<serde_json::Value>(text)
        .map(|value| Value::from(Serde(value)))
        .map_err(|cause| Error::new(ErrorKind::InvalidOperation, format!("the text is not JSON: {cause}")))
}

/// The filter `tojson`, without the escapes for HTML that the engine's own one makes.
fn to_json_text(value: &Value) -> Result<String, Error> {
    let value = to_json(value)?;
    serde_json::to_string(&value).map_err(|cause| Error::new(ErrorKind::InvalidOperation, cause.to_string()))
}

/// Writes a value into a text: only what has one obvious spelling.
fn write_plainly(output: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool | ValueKind::Number | ValueKind::String => Ok(write!(output, "{value}")?),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        other => Err(Error::new(ErrorKind::InvalidOperation, unspellable(other))),
    }
}

/// Why a value cannot stand in a text.
fn unspellable(kind: ValueKind) -> String {
    let (what, instead) = match kind {
        ValueKind::Seq | ValueKind::Iterable => ("a list", "use the filter `join` or `tojson`"),
        ValueKind::Map => ("a map", "name one of its entries, or use the filter `tojson`"),
        ValueKind::None => ("null", "use the filter `default(…, true)`"),
        _ => ("a function", "call it"),
    };
    format!("{what} cannot stand in a text; {instead}")
}

/// A value of the engine as JSON.
///
/// # Errors
/// When it is or holds something undefined, or something that JSON has no word for.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    to_json_within(value, DEPTH)
}

fn to_json_within(value: &Value, depth: usize) -> Result<serde_json::Value, Error> {
    let refuse = |what: &str| Error::new(ErrorKind::InvalidOperation, what.to_owned());
    let deeper = depth.checked_sub(1).ok_or_else(|| refuse("the value is nested too deeply"))?;
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(serde_json::Value::Null),
        ValueKind::Bool => Ok(value.is_true().into()),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().into()),
        ValueKind::Number => match serde_json::to_value(value) {
            Ok(number @ serde_json::Value::Number(_)) => Ok(number),
            _ => Err(refuse("the number is too large or not a number")),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| to_json_within(&item, deeper)).collect()
        }
        ValueKind::Map => {
            let mut map = serde_json::Map::new();
            for key in value.try_iter()? {
                let name = key.as_str().ok_or_else(|| refuse("a key of a map must be text"))?;
                map.insert(name.to_owned(), to_json_within(&value.get_item(&key)?, deeper)?);
            }
            Ok(map.into())
        }
        ValueKind::Invalid => Err(Error::from(ErrorKind::BadSerialization)),
        _ => Err(refuse("a function is not a value; call it")),
    }
}

#[cfg(test)]
mod list_tests {
    use super::*;

    #[test]
    fn every_listed_filter_test_and_function_is_there() {
        let environment = environment();
        for filter in FILTERS {
            let error = environment.render_named_str("t", &format!("{{{{ 1 | {filter} }}}}"), ());
            let unknown = error.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter);
            assert!(!unknown, "the filter {filter} is listed and not there");
        }
        for test in TESTS {
            let error = environment.render_named_str("t", &format!("{{{{ 1 is {test} }}}}"), ());
            let unknown = error.is_err_and(|error| error.kind() == ErrorKind::UnknownTest);
            assert!(!unknown, "the test {test} is listed and not there");
        }
        let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        assert_eq!(globals, FUNCTIONS);
        assert!(FILTERS.is_sorted() && TESTS.is_sorted());
    }
}
