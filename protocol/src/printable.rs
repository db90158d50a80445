//! Text from a peer in a form that is safe to print.
//!
//! Text from a peer may contain characters that control a terminal: escape sequences that set the
//! clipboard, line ends that forge a line of output, or marks that reverse the direction of the
//! rest of the line. Code that prints such text for people, or logs it, uses [`Printable`]. Output
//! for programs is JSON, whose strings are exact.

use std::fmt::{self, Display, Write};

/// Displays a text with every invisible character as an escape, like `\n` or `\u{1b}`. A backslash
/// is not escaped, so the original cannot be recovered.
///
/// ```
/// # use signalbox_protocol::Printable;
/// assert_eq!(Printable("red: \u{1b}[31m\nbob: hi").to_string(), r"red: \u{1b}[31m\nbob: hi");
/// assert_eq!(Printable("naïve ☕ \\o/").to_string(), "naïve ☕ \\o/");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut shown = text.split_inclusive(is_invisible);
        shown.try_for_each(|part| match part.chars().next_back() {
            Some(last) if is_invisible(last) => {
                self.0.write_str(part.strip_suffix(last).unwrap_or_default())?;
                write!(self.0, "{}", last.escape_debug())
            }
            _ => self.0.write_str(part),
        })
    }
}

/// Whether a character is invisible, or affects the display of the text around it.
///
/// Joiners (U+200C, U+200D) are not escaped: they affect only their neighbours, and Persian and
/// emoji sequences need them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' // soft hyphen
            | '\u{61c}' | '\u{200e}'..='\u{200f}' // direction marks
            | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' // without width
            | '\u{2028}'..='\u{202e}' // line and paragraph separators, embeddings, overrides
            | '\u{2065}'..='\u{206f}' // isolates, and formats that are deprecated
            | '\u{fff9}'..='\u{fffb}' // annotations
            | '\u{e0000}'..='\u{e0fff}' // tags, and what else is never to be shown
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        let controls = ('\0'..'\u{20}').chain('\u{7f}'..='\u{9f}');
        let bidi = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let others =
            "\u{200e}\u{200f}\u{61c}\u{200b}\u{2028}\u{2029}\u{2060}\u{feff}\u{ad}\u{e0041}";
        let attack: String = controls.chain(bidi).chain(others.chars()).collect();
        let shown = Printable(&attack).to_string();
        assert!(shown.is_ascii() && !shown.contains(char::is_control), "{shown:?}");
        assert_eq!(shown.matches('\\').count(), attack.chars().count(), "each is to be seen");
    }

    #[test]
    fn printable_text_is_unchanged() {
        for text in
            ["", "plain", "C:\\new \"quoted\"", "žluťoučký", "日本語", "می‌خواهم", "👩‍💻 e\u{301}"]
        {
            assert_eq!(Printable(text).to_string(), text);
        }
    }

    #[test]
    fn text_written_in_several_pieces_is_escaped() {
        let shown = Printable(format_args!("{}\r{:?}\t{}", "a\nb", "c\nd", '\u{9b}')).to_string();
        assert_eq!(shown, r#"a\nb\r"c\nd"\t\u{9b}"#);
    }
}
