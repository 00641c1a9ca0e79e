//! What is known of a value that a template names.

use serde_json::Value;

use crate::{
    hook::OutputType,
    language::{model::ParameterType, shape::Type, template::kind_of},
};

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Any,
    /// Its type.
    Is(Type),
    /// A list; each item is a map with these fields (any, where none are given).
    Items(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// Files that a hook gathered.
    Files,
}

impl Kind {
    pub(super) const TEXT: Self = Self::Is(Type::Text);
    pub(super) const INTEGER: Self = Self::Is(Type::Integer);
    pub(super) const BOOLEAN: Self = Self::Is(Type::Boolean);

    /// Its type, if that is known.
    pub(super) const fn ty(self) -> Option<Type> {
        match self {
            Self::Any => None,
            Self::Is(ty) => Some(ty),
            Self::Items(_) | Self::Texts => Some(Type::List),
            Self::Files => Some(Type::Map),
        }
    }
}

impl From<OutputType> for Kind {
    fn from(ty: OutputType) -> Self {
        match ty {
            OutputType::Text => Self::TEXT,
            OutputType::Integer => Self::INTEGER,
            OutputType::Boolean => Self::Is(Type::Boolean),
            OutputType::List(fields) => Self::Items(fields),
            OutputType::Files => Self::Files,
            OutputType::Any => Self::Any,
        }
    }
}

impl From<ParameterType> for Kind {
    fn from(ty: ParameterType) -> Self {
        match ty {
            ParameterType::Integer => Self::INTEGER,
            ParameterType::Boolean => Self::Is(Type::Boolean),
            ParameterType::List => Self::Texts,
            ParameterType::String | ParameterType::Path | ParameterType::Duration | ParameterType::Secret => {
                Self::TEXT
            }
        }
    }
}

/// Why a value is not one of a parameter's type, if it is not: what it is, and what is needed.
pub(super) fn misfit(value: &Value, ty: ParameterType) -> Option<(&'static str, &'static str)> {
    let (fits, needed) = match ty {
        ParameterType::Integer => (value.is_i64() || value.is_u64(), "a whole number"),
        ParameterType::Boolean => (value.is_boolean(), "true or false"),
        ParameterType::List => (value.is_array(), "a list of texts"),
        ParameterType::Duration => (value.is_string(), "a duration such as 10s"),
        ParameterType::String | ParameterType::Path | ParameterType::Secret => (value.is_string(), "text"),
    };
    (!fits).then(|| (kind_of(value), needed))
}
