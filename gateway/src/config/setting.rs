//! Declaration of settings: name, type, default, accepted values and meaning, all in one place.
//!
//! The macros make a struct for serde and, from the same lines, the [`Setting`]s that checks, error
//! texts and the default configuration file read. So none of them can differ from the struct.

use std::fmt;

/// A table of the file as it was declared.
pub(super) struct Table {
    /// Its documentation, line by line.
    pub(super) doc: &'static [&'static str],
    pub(super) settings: &'static [Setting],
}

/// A setting as it was declared.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Its documentation, line by line.
    pub(super) doc: &'static [&'static str],
    pub(super) form: Form,
    /// A value in TOML for a setting that has no default.
    pub(super) example: &'static str,
}

/// The values that a setting accepts.
pub(super) enum Form {
    Number(Number),
    Boolean,
    /// A value described by a phrase that follows "must be".
    Text(&'static str),
    /// A list, and each of its items, described by such phrases.
    List {
        list: &'static str,
        item: &'static str,
    },
    /// A table with settings of its own.
    Table(&'static Table),
    /// A list of such tables.
    Tables(&'static Table),
}

impl Form {
    pub(super) fn is_table(&self) -> bool {
        matches!(self, Self::Table(_) | Self::Tables(_))
    }

    /// The phrase that follows "must be"; none for tables, which are described by their header.
    pub(super) fn description(&self) -> Option<String> {
        match self {
            Self::Number(number) => Some(number.to_string()),
            Self::Boolean => Some("true or false, without quotes".into()),
            Self::Text(text) => Some((*text).into()),
            Self::List { list, .. } => Some((*list).into()),
            Self::Table(_) | Self::Tables(_) => None,
        }
    }
}

pub(super) const FILE: Form = Form::Text("the path of a file, in quotes");
pub(super) const ADDRESS: Form =
    Form::Text("an IP address and a port, in quotes, such as \"0.0.0.0:4433\" or \"[::]:4433\"");

/// A whole number within bounds.
pub(super) struct Number {
    /// The things that are counted; empty if the name says it.
    unit: &'static str,
    min: u64,
    max: u64,
    /// The meaning of zero, if it is special.
    zero: &'static str,
}

/// The bound of a number that may be as large as its type allows.
pub(super) const UNBOUNDED: u64 = u64::MAX;

pub(super) const fn number(unit: &'static str, min: u64, max: u64) -> Form {
    number_or_zero(unit, min, max, "")
}

/// A number whose zero means something else than none.
pub(super) const fn number_or_zero(
    unit: &'static str,
    min: u64,
    max: u64,
    zero: &'static str,
) -> Form {
    Form::Number(Number { unit, min, max, zero })
}

impl Number {
    pub(super) fn accepts(&self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")?;
        if !self.unit.is_empty() {
            write!(f, " of {}", self.unit)?;
        }
        match self.max {
            UNBOUNDED if self.min == 0 => {}
            UNBOUNDED => write!(f, ", at least {}", self.min)?,
            max => write!(f, " from {} to {max}", self.min)?,
        }
        if !self.zero.is_empty() {
            write!(f, "; 0 means {}", self.zero)?;
        }
        Ok(())
    }
}

/// Declares a table in which every setting has a default.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $Type:ty = $default:expr, $form:expr $(, example $example:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Section {
            $( $(#[doc = $doc])+ pub $name: $Type, )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        impl $Section {
            pub(in crate::config) const TABLE: $crate::config::setting::Table = $crate::config::setting::Table {
                doc: &[$($about),+],
                settings: &[
                    $( $crate::config::setting::Setting {
                        name: stringify!($name),
                        doc: &[$($doc),+],
                        form: $form,
                        example: concat!($($example)?),
                    }, )+
                ],
            };
        }
    };
}

/// Declares a table whose settings have no defaults, but may have attributes for serde.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        #[derive($($derived:path),+)]
        pub struct $Table:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $name:ident: $Type:ty, $form:expr, example $example:literal;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive($($derived),+, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $Table {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)+)])?
                pub $name: $Type,
            )+
        }

        impl $Table {
            pub(in crate::config) const TABLE: $crate::config::setting::Table = $crate::config::setting::Table {
                doc: &[$($about),+],
                settings: &[
                    $( $crate::config::setting::Setting {
                        name: stringify!($name),
                        doc: &[$($doc),+],
                        form: $form,
                        example: $example,
                    }, )+
                ],
            };
        }
    };
}

pub(super) use {section, table};
