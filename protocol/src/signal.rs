//! Signals and their validation.

use serde::{Deserialize, Serialize};

use crate::{
    Text,
    error::ErrorCode,
    limits::{DATA_BYTES, TYPE_BYTES},
};

/// `type` and `data`, both optional. A signal with neither is a *ping*: it conveys only its sender.
///
/// The contents are opaque to Signalbox, which checks only their length and characters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signal<'a> {
    /// At most 128 bytes of `A-Z a-z 0-9 - . _ ~`. An empty type is the same as none.
    #[serde(rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// At most 8192 bytes of UTF-8.
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}

impl<'a> Signal<'a> {
    /// A signal with this type and this data.
    pub fn new(
        signal_type: Option<impl Into<Text<'a>>>,
        data: Option<impl Into<Text<'a>>>,
    ) -> Self {
        Self { signal_type: signal_type.map(Into::into), data: data.map(Into::into) }
    }

    /// Bytes of type and data.
    pub fn bytes(&self) -> usize {
        let len = |text: &Option<Text<'_>>| text.as_deref().map_or(0, str::len);
        len(&self.signal_type) + len(&self.data)
    }

    /// Checks lengths and characters.
    ///
    /// # Errors
    /// The first rule that the signal breaks, in the order of [`InvalidSignal`]'s variants.
    pub fn check(&self) -> Result<(), InvalidSignal> {
        if let Some(signal_type) = self.signal_type.as_deref() {
            if signal_type.len() > TYPE_BYTES {
                return Err(InvalidSignal::TypeTooLong(signal_type.len()));
            }
            let allowed =
                |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
            if !signal_type.bytes().all(allowed) {
                return Err(InvalidSignal::TypeCharacters);
            }
        }
        match self.data.as_deref() {
            Some(data) if data.len() > DATA_BYTES => Err(InvalidSignal::DataTooLong(data.len())),
            _ => Ok(()),
        }
    }

    /// The same signal, without a borrow of its frame.
    pub fn into_owned(self) -> Signal<'static> {
        Signal {
            signal_type: self.signal_type.map(Text::into_owned),
            data: self.data.map(Text::into_owned),
        }
    }
}

/// The signal is not valid. This is a fault of its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignal {
    /// `type` is longer than [`TYPE_BYTES`].
    #[error("signal type has {0} bytes, at most {TYPE_BYTES} are allowed")]
    TypeTooLong(usize),
    /// `type` has a character that is not allowed.
    #[error("signal type may hold only A-Z, a-z, 0-9, '-', '.', '_' and '~'")]
    TypeCharacters,
    /// `data` is longer than [`DATA_BYTES`].
    #[error("signal data has {0} bytes, at most {DATA_BYTES} are allowed")]
    DataTooLong(usize),
}

impl InvalidSignal {
    /// The error code for the sender.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TypeTooLong(_) => ErrorCode::TypeTooLong,
            Self::TypeCharacters => ErrorCode::InvalidType,
            Self::DataTooLong(_) => ErrorCode::DataTooLong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signal_type: Option<&str>, data: Option<&str>) -> Result<(), InvalidSignal> {
        Signal::new(signal_type, data).check()
    }

    #[test]
    fn limits_are_inclusive_and_in_bytes() {
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(Some(""), Some("")), Ok(()));
        assert_eq!(check(Some(&"t".repeat(128)), Some(&"d".repeat(8192))), Ok(()));
        assert_eq!(check(Some("aZ09-._~"), None), Ok(()));
        assert_eq!(check(Some(&"t".repeat(129)), None), Err(InvalidSignal::TypeTooLong(129)));
        assert_eq!(check(None, Some(&"d".repeat(8193))), Err(InvalidSignal::DataTooLong(8193)));
        // 4097 two-byte characters are 8194 bytes.
        assert_eq!(check(None, Some(&"é".repeat(4097))), Err(InvalidSignal::DataTooLong(8194)));
    }

    #[test]
    fn types_have_an_alphabet() {
        for bad in ["a b", "a,b", "é", "a\n", "a/b", "a\0"] {
            assert_eq!(check(Some(bad), None), Err(InvalidSignal::TypeCharacters));
        }
    }
}
