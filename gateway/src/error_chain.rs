//! The text of an error with its causes.

use std::{error::Error, fmt};

/// Displays an error followed by its causes: `cannot connect: connection refused`.
pub(crate) fn with_causes(error: &dyn Error) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}
