//! Format of the fields of a log line. It escapes them, as any field may contain text of a peer.
//!
//! The default format of the library writes a field that is logged by its `Display` (`%error`) as it is,
//! and escapes neither line ends nor direction marks.

use signalbox_protocol::Printable;
use tracing_subscriber::{
    field::MakeExt as _,
    fmt::{FormatFields, format},
};

/// The format of fields in text. JSON needs none: its strings are exact.
pub(crate) fn escaped() -> impl for<'writer> FormatFields<'writer> + 'static {
    let fields = format::debug_fn(|writer, field, value| {
        let value = format_args!("{value:?}");
        let value = Printable(value);
        match field.name() {
            "message" => write!(writer, "{value}"),
            // Records of the `log` crate repeat the start of the line in these fields.
            name if name.starts_with("log.") => Ok(()),
            name if writer.has_ansi_escapes() => write!(writer, "\x1b[3m{name}\x1b[0m={value}"),
            name => write!(writer, "{name}={value}"),
        }
    });
    fields.delimited(" ")
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use parking_lot::Mutex;

    /// Clears the screen, sets the clipboard, forges a line, turns the rest of the line around.
    const ATTACK: &str = "\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\r\nINFO forged\u{9b}31m\u{202e}\u{2028}";

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(ansi: bool, log: impl FnOnce()) -> String {
        let written = Log::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(ansi)
            .with_target(false)
            .fmt_fields(super::escaped())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(written.0.lock().clone()).unwrap()
    }

    #[test]
    fn a_peer_cannot_act_on_the_terminal_by_any_field() {
        let line = logged(false, || {
            let error = std::io::Error::other(ATTACK);
            let span = tracing::info_span!("link", shown = %ATTACK, later = tracing::field::Empty);
            span.record("later", tracing::field::display(ATTACK));
            let _in_span = span.enter();
            let source: &(dyn std::error::Error + 'static) = &error;
            tracing::info!(display = %ATTACK, debug = ?ATTACK, text = ATTACK, %error, source, "{ATTACK}");
        });
        let (line, rest) = line.split_once('\n').unwrap();
        assert_eq!(rest, "", "it is one line");
        assert!(
            !line.contains(|c: char| c.is_control() || "\u{202e}\u{2028}".contains(c)),
            "{line:?}"
        );
        for field in
            ["link{shown=", " later=", " display=", " debug=", " text=", " error=", " source="]
        {
            let (_, value) =
                line.split_once(field).unwrap_or_else(|| panic!("no {field} in {line}"));
            assert!(value.trim_start_matches('"').starts_with(r"\u{1b}[2J\u{1b}]52;"), "{value}");
        }
    }

    #[test]
    fn fields_look_as_they_always_do() {
        let log = || tracing::info!(address = %"[::1]:4433", name = "a b", count = 3, "listening");
        assert!(
            logged(false, log)
                .ends_with(" INFO listening address=[::1]:4433 name=\"a b\" count=3\n")
        );
        assert!(logged(true, log).contains("listening \u{1b}[3maddress\u{1b}[0m=[::1]:4433"));
    }
}
