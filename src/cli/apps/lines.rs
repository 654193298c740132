//! What to write into an application, printed.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::apps::{sdk::Kind, store::Listed};

/// Prints the DSN, the lines for `kind` or for all, and what to do next.
pub(super) fn print(
    out: &mut impl Write,
    app: &Listed,
    dsn: &str,
    kind: Option<Kind>,
) -> io::Result<()> {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let code = AnsiColor::Cyan.on_default();
    let (name, id) = (&app.name, app.id);
    let at = app.base_url.as_deref().map(|url| format!(", {url}")).unwrap_or_default();
    writeln!(out, "{bold}{name}{bold:#} is application {id}{at}. Its DSN:\n")?;
    writeln!(out, "    {bold}{dsn}{bold:#}\n")?;
    for kind in Kind::ALL.into_iter().filter(|it| kind.is_none_or(|wanted| wanted == *it)) {
        let (title, install, place, lines) = kind.parts();
        writeln!(out, "{bold}{title}{bold:#}  {code}{install}{code:#}  {dim}{place}:{dim:#}")?;
        for line in lines.lines() {
            writeln!(out, "    {code}{}{code:#}", line.replace("{dsn}", dsn))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "An SDK that is there already only needs the DSN (or SENTRY_DSN).\n")?;
    writeln!(out, "{bold}Next{bold:#}  {code}lux apps test {name}{code:#}   sends one test error")?;
    writeln!(out, "      {code}lux errors{code:#}  {dim}shows what was captured{dim:#}")
}
