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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no route")]
    struct Inner(#[source] fmt::Error);

    #[test]
    fn all_causes_are_displayed_in_order() {
        let text = with_causes(&Outer(Inner(fmt::Error))).to_string();
        assert_eq!(text, format!("cannot connect: no route: {}", fmt::Error));
        assert_eq!(with_causes(&fmt::Error).to_string(), fmt::Error.to_string());
    }
}
