//! Lux's own log: on stderr, a line an event.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{Config, LogFormat},
    errors,
};

/// Sets the log up, readable or JSON.
pub fn log_to_stderr(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // The first logs whole answers and refusals, whatever stands in them; the second tells at each
    // start that the tables are there already.
    let filter = ["async_openai=off", "sqlx::postgres::notice=warn"]
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let coloured = io::stderr().is_terminal();
    let shown = fmt::layer().with_ansi(coloured);
    let shown = shown.with_writer(move || OneLine { to: io::stderr(), coloured });
    let shown = match config.log_format {
        LogFormat::Text => shown.boxed(),
        LogFormat::Json => shown.json().flatten_event(true).boxed(),
    };
    // A second call (in tests) finds the first one's subscriber in place.
    let set =
        tracing_subscriber::registry().with(filter).with(shown).with(errors::own::Watch).try_init();
    if let Err(error) = set {
        tracing::debug!(%error, "logging was set up before");
    }
}

/// Writes events whose texts came from elsewhere (a server's answer, the name of a file) so that
/// each stays one line: who writes a line break into an error would write the next event.
struct OneLine<W> {
    to: W,
    /// The escape characters are the formatter's own; those of texts it writes as `\x1b`.
    coloured: bool,
}

impl<W: Write> Write for OneLine<W> {
    /// One event, whole: so the formatter gives them.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.to.write_all(harmless(event, self.coloured).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// An event with its control characters escaped, but for the line break at its end.
fn harmless(event: &[u8], coloured: bool) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(event);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    // Besides the control characters, what ends a line for some readers.
    let harmful = |c: char| {
        (c.is_control() && !(coloured && c == '\u{1b}')) || matches!(c, '\u{2028}' | '\u{2029}')
    };
    if !line.contains(harmful) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in line.chars() {
        if harmful(c) {
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::{OneLine, harmless};

    /// What was written, write by write.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_write() {
        let written = Written::default();
        let to = written.clone();
        let shown = tracing_subscriber::fmt().with_ansi(false).without_time();
        let shown = shown.with_writer(move || OneLine { to: to.clone(), coloured: false });
        tracing::subscriber::with_default(shown.finish(), || {
            let error = "refused\n INFO lux: forged";
            tracing::warn!(%error, "no mail was\nsent");
        });
        let said = written.0.lock().unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].ends_with("error=refused\\n INFO lux: forged\n"), "{said:?}");
        assert_eq!(said[0].lines().count(), 1, "{said:?}");
    }

    #[test]
    fn an_event_is_a_line() {
        let plain = "INFO lux: all is well: \u{e4}\n";
        assert_eq!(harmless(plain.as_bytes(), false), plain);
        let hostile = "WARN lux: it said: no\r\nINFO lux: yes\u{1b}[2J\u{85}\u{2028}\0\n";
        let said = harmless(hostile.as_bytes(), false);
        assert_eq!(
            said,
            "WARN lux: it said: no\\r\\nINFO lux: yes\\u{1b}[2J\\u{85}\\u{2028}\\u{0}\n"
        );
        // Colours of its own stay.
        assert_eq!(harmless(b"\x1b[32mINFO\x1b[0m a\nb\n", true), "\x1b[32mINFO\x1b[0m a\\nb\n");
    }
}
