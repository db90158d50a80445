//! The address in a message: `/v2`, and then names and values of which the last says what the message
//! is about.

/// The part of an address that signaling needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    /// The value of the last `session`.
    pub(crate) session: Option<&'a str>,
    /// The value of the last `connection`.
    pub(crate) connection: Option<&'a str>,
    /// The last name.
    pub(crate) subject: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads an address; `None` if it does not begin with `/v2/`, or a name lacks its value.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut uri = Self::default();
        let mut parts = text.strip_prefix("/v2/")?.split('/');
        while let Some(name) = parts.next() {
            let value = parts.next();
            match name {
                "session" => uri.session = value,
                "connection" => uri.connection = value,
                _ => {}
            }
            uri.subject = Some(name);
            if value.is_none() {
                // `…/migrate` has no value.
                break;
            }
        }
        Some(uri)
    }
}
