//! What to write into an application: an SDK, three lines.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::apps::store::Listed;

/// What an application is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Flask,
    Django,
    Fastapi,
    Node,
    Browser,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Flask, Self::Django, Self::Fastapi, Self::Node, Self::Browser];

    /// Name, what to install, where the lines go, the lines.
    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Flask => (
                "Flask",
                "pip install \"sentry-sdk[flask]\"",
                "before the app is made",
                "import sentry_sdk\n\
                 sentry_sdk.init(dsn=\"{dsn}\")\n\
                 app = Flask(__name__)",
            ),
            Self::Django => (
                "Django",
                "pip install \"sentry-sdk[django]\"",
                "at the end of settings.py",
                "import sentry_sdk\n\
                 sentry_sdk.init(dsn=\"{dsn}\")",
            ),
            Self::Fastapi => (
                "FastAPI",
                "pip install \"sentry-sdk[fastapi]\"",
                "before the app is made",
                "import sentry_sdk\n\
                 sentry_sdk.init(dsn=\"{dsn}\")\n\
                 app = FastAPI()",
            ),
            Self::Node => (
                "Node",
                "npm install @sentry/node",
                "first of all; the last line after the routes of Express",
                "const Sentry = require(\"@sentry/node\");\n\
                 Sentry.init({ dsn: \"{dsn}\" });\n\
                 Sentry.setupExpressErrorHandler(app);",
            ),
            Self::Browser => (
                "Browser",
                "npm install @sentry/browser",
                "first in your bundle",
                "import * as Sentry from \"@sentry/browser\";\n\
                 Sentry.init({ dsn: \"{dsn}\" });",
            ),
        }
    }
}

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
