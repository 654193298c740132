//! What to write into an application: an SDK, three lines.

/// What an application is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Flask,
    Django,
    Fastapi,
    Node,
    Browser,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Flask, Self::Django, Self::Fastapi, Self::Node, Self::Browser];

    /// Name, what to install, where the lines go, the lines; `{dsn}` stands for the DSN.
    pub const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
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
