//! The table of the matrix: what breaks, how a user meets it, what Lux may look at, and
//! what may be said after it is mended.

use super::neighbour::Manner;

/// A fault that can be switched on and off while everything runs.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Which instance; its name is that of the `[[apps]]` entry.
    pub(crate) app: &'static str,
    pub(crate) method: &'static str,
    /// With a query, if the user's request has one.
    pub(crate) path: &'static str,
    /// What a user's request carries and a stranger's does not.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Size of the user's request, in bytes.
    pub(crate) body: usize,
    /// What the errors name as their endpoint, if not the path.
    endpoint: Option<&'static str>,
    pub(crate) told: Told,
    /// The user's request fails by its status, each time.
    pub(crate) plain: bool,
    pub(crate) fault: Fault,
    /// `[[probes]]` entries without their names and `app`.
    pub(crate) probes: &'static str,
    pub(crate) mended: Mended,
    /// What the reason of an open verdict must speak of.
    pub(crate) speaks_of: &'static str,
}

/// Who reports the error: the application before it answers, or the user's browser, which
/// is all there is where no application runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Application,
    Browser,
}

/// What may be said once the fault is gone. While it is there, nothing may be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mended {
    /// It must be resolved by the next repair.
    Resolved,
    /// As above, by one of the next few: a deploy comes between.
    Eventually,
    /// Nothing that Lux may do can prove it.
    Inconclusive,
    /// Either: what can be seen from outside is thin.
    Either,
}

pub(crate) enum Fault {
    /// A file of the application, below its folder; `None` is a missing file.
    File {
        path: &'static str,
        good: &'static str,
        bad: Option<&'static str>,
    },
    /// A file of bytes that are no UTF-8.
    Bytes {
        path: &'static str,
        good: &'static str,
        bad: &'static [u8],
    },
    /// The mode of a folder.
    Mode {
        path: &'static str,
        good: u32,
        bad: u32,
    },
    /// Statements for the application's database.
    Sql {
        good: &'static str,
        bad: &'static str,
    },
    /// Somebody holds this table in a transaction that does not end.
    HeldTable(&'static str),
    /// The other database is stopped.
    ClusterDown,
    Neighbour {
        name: &'static str,
        good: Manner,
        bad: Manner,
    },
    /// A TLS neighbour has a certificate that has expired.
    Expired(&'static str),
    /// gunicorn is stopped.
    Stopped,
    /// The program is deployed with this change.
    Deployed {
        from: &'static str,
        to: &'static str,
    },
    /// A deploy forgets this module.
    Forgotten(&'static str),
    /// gunicorn is started without this variable.
    Variable {
        name: &'static str,
        value: &'static str,
    },
    /// nginx sends the application's visitors to a port where nothing listens.
    Upstream,
    /// nginx lets in no request larger than 1 KiB.
    BodyLimit,
    /// Somebody holds the lock that all requests need.
    HeldFile(&'static str),
    /// The file system of the spool is full.
    Full,
    /// A unit of systemd is inactive, and so what it serves.
    Unit {
        unit: &'static str,
        neighbour: &'static str,
    },
    /// The application misbehaves by itself.
    Switch(&'static str),
}

impl Kind {
    const fn new(name: &'static str, path: &'static str, fault: Fault) -> Self {
        Self {
            name,
            app: "market",
            method: "GET",
            path,
            headers: &[],
            body: 0,
            endpoint: None,
            told: Told::Application,
            plain: true,
            fault,
            probes: "",
            mended: Mended::Resolved,
            speaks_of: "",
        }
    }

    const fn post(mut self, probes: &'static str) -> Self {
        self.method = "POST";
        self.probes = probes;
        self
    }

    const fn of(mut self, app: &'static str) -> Self {
        self.app = app;
        self
    }

    const fn by_browser(mut self) -> Self {
        self.told = Told::Browser;
        self
    }

    const fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    /// It does not show in the status of each answer.
    const fn veiled(mut self) -> Self {
        self.plain = false;
        self
    }

    const fn mended(mut self, mended: Mended) -> Self {
        self.mended = mended;
        self
    }

    const fn inconclusive(mut self, speaks_of: &'static str) -> Self {
        self.mended = Mended::Inconclusive;
        self.speaks_of = speaks_of;
        self
    }

    /// What its errors name as their endpoint.
    pub(crate) fn endpoint(&self) -> &'static str {
        self.endpoint.unwrap_or_else(|| self.path.split('?').next().unwrap_or(self.path))
    }
}

const fn data(path: &'static str, good: &'static str, bad: &'static str) -> Fault {
    Fault::File { path, good, bad: Some(bad) }
}

const fn missing(path: &'static str, good: &'static str) -> Fault {
    Fault::File { path, good, bad: None }
}

const fn neighbour(name: &'static str, good: Manner, bad: Manner) -> Fault {
    Fault::Neighbour { name, good, bad }
}

const fn sql(good: &'static str, bad: &'static str) -> Fault {
    Fault::Sql { good, bad }
}

const JSON: Manner = Manner::Answers(200, "{}");
const KEY: Manner = Manner::Models("sk-market");
const OTHER_KEY: Manner = Manner::Models("sk-rotated");

/// Repaired first and alone, by the id of an error.
pub(crate) const BY_ERROR: &str = "key_error";
/// Repaired next and alone, by the id of its group.
pub(crate) const BY_GROUP: &str = "missing_template";

#[rustfmt::skip]
pub(crate) const KINDS: &[Kind] = &[
    // What is in the data.
    Kind::new(BY_ERROR, "/price/apple", data("data/prices.json", r#"{"apple": 3}"#, r#"{"plum": 2}"#)),
    Kind::new("type_error", "/total", data("data/cart.json", "[1, 2]", r#"[1, "2"]"#)),
    Kind::new("attribute_error", "/profile", data("data/profile.json", r#"{"city": "Rome"}"#, r#"{"city": null}"#)),
    Kind::new("zero_division", "/share", data("data/members.json", "4", "0")),
    Kind::new("index_error", "/winner", data("data/entries.json", r#"["ann"]"#, "[]")),
    Kind::new("value_error", "/quantity", data("data/quantity.json", r#""12""#, r#""a dozen""#)),
    Kind::new("broken_json", "/menu", data("data/menu.json", r#"["soup"]"#, r#"["soup""#)),
    Kind::new("broken_encoding", "/motto", Fault::Bytes { path: "data/motto.txt", good: "café", bad: b"caf\xe9" }),
    Kind::new("endless_recursion", "/lineage", data("data/parents.json", r#"{"ann": "bob", "bob": null}"#, r#"{"ann": "bob", "bob": "ann"}"#)),
    // What is on the disk.
    Kind::new(BY_GROUP, "/basket", missing("templates/basket.html", "<h1>Basket</h1>")),
    Kind::new("undefined_in_template", "/invoice", data("data/order.json", r#"{"sum": {"net": 3}}"#, "{}")),
    Kind::new("missing_file", "/terms", missing("data/terms.txt", "be kind")),
    Kind::new("static_file_missing", "/static/market.css", missing("static/market.css", "body {}")).by_browser(),
    Kind::new("folder_not_writable", "/thumbnail", Fault::Mode { path: "thumbnails", good: 0o755, bad: 0o555 }),
    Kind::new("uploads_not_writable", "/avatar", Fault::Mode { path: "avatars", good: 0o755, bad: 0o555 })
        .post("kind = 'http'\nmethod = 'POST'\npath = '/avatar'\nbody = 'png'\nexpect = { status = 200, contains = 'true' }"),
    Kind::new("disk_full", "/spool", Fault::Full),
    Kind::new("disk_full_of_a_post", "/statement", Fault::Full)
        .post("kind = 'disk'\ntarget = '{home}/spool'\nexpect = { min_free_bytes = 524288 }"),
    // Its databases.
    Kind::new("postgres_down", "/orders", Fault::ClusterDown),
    Kind::new("postgres_down_of_a_post", "/orders", Fault::ClusterDown)
        .post("kind = 'database'\nurl = '{down}'"),
    Kind::new("wrong_password", "/ledger", sql("alter role clerk password 'right'", "alter role clerk password 'other'")),
    Kind::new("wrong_password_of_a_post", "/ledger", sql("alter role teller password 'right'", "alter role teller password 'other'"))
        .post("kind = 'database'\nurl_file = '{root}/teller.url'"),
    Kind::new("missing_table", "/items", sql("alter table if exists item_old rename to item", "alter table if exists item rename to item_old")),
    Kind::new("missing_table_of_a_post", "/items", sql("alter table if exists crate_old rename to crate", "alter table if exists crate rename to crate_old"))
        .post("kind = 'database'\nurl = '{market}'\ntables = ['crate']"),
    Kind::new("missing_column", "/colours", sql("alter table paint add column if not exists colour text", "alter table paint drop column if exists colour")),
    Kind::new("table_not_permitted", "/audit", sql("grant select on audit to guest", "revoke select on audit from guest")),
    Kind::new("too_many_connections", "/stats", sql("alter role crowd connection limit -1", "alter role crowd connection limit 0")),
    Kind::new("lock_wait", "/balance", Fault::HeldTable("balance")),
    // Its neighbours.
    Kind::new("neighbour_refuses", "/stock", neighbour("stock", JSON, Manner::Down)),
    Kind::new("neighbour_hangs", "/rates", neighbour("rates", JSON, Manner::Hangs)),
    Kind::new("neighbour_fails", "/shipping", neighbour("shipping", JSON, Manner::Answers(500, "{}"))),
    Kind::new("neighbour_sends_html", "/weather", neighbour("weather", JSON, Manner::Answers(200, "<html>we are moving</html>"))),
    Kind::new("neighbour_limits_rate", "/quotes", neighbour("quotes", JSON, Manner::Answers(429, "{}"))),
    Kind::new("redis_down", "/session", neighbour("redis", Manner::Redis, Manner::Down)),
    Kind::new("redis_down_of_a_post", "/session", neighbour("sessions", Manner::Redis, Manner::Down))
        .post("kind = 'tcp'\ntarget = '127.0.0.1:{sessions}'"),
    Kind::new("key_refused", "/advice", neighbour("advice", KEY, OTHER_KEY)),
    Kind::new("key_refused_of_a_post", "/advice", neighbour("oracle", KEY, OTHER_KEY))
        .post("kind = 'api-key'\ntarget = 'http://127.0.0.1:{oracle}/v1'\nkey_file = '{root}/oracle.key'"),
    Kind::new("certificate_expired", "/accounts", Fault::Expired("bank")),
    Kind::new("certificate_expired_of_a_post", "/transfer", Fault::Expired("vault"))
        .post("kind = 'tls'\ntarget = '127.0.0.1:{vault}'\nca_file = '{root}/ca.pem'"),
    Kind::new("unit_inactive", "/jobs", Fault::Unit { unit: "queue.service", neighbour: "queue" })
        .post("kind = 'unit'\ntarget = 'queue.service'"),
    Kind { probes: "kind = 'http'\npath = '/timetable'\nexpect = { status = 200, max_ms = 600 }", ..Kind::new("too_slow", "/timetable", neighbour("timetable", JSON, Manner::Slow(1500, "{}"))) }.veiled(),
    // How it is served.
    Kind::new("gunicorn_stopped", "/", Fault::Stopped).of("kiosk").by_browser(),
    Kind::new("syntax_error", "/", Fault::Deployed { from: "def front():", to: "def front()" }).of("bakery").by_browser(),
    Kind::new("missing_module", "/", Fault::Forgotten("tariffs.py")).of("florist").by_browser(),
    Kind::new("wrong_upstream_port", "/", Fault::Upstream).of("gallery").by_browser(),
    Kind::new("worker_timeout", "/report", Fault::HeldFile("data/report.lock")).of("reports").by_browser(),
    Kind::new("missing_variable", "/pay", Fault::Variable { name: "PAYMENT_KEY", value: "pk-1" }).of("billing")
        .post("kind = 'config'\ntarget = '{home}/gunicorn.pid'\nvariables = ['PAYMENT_KEY']"),
    Kind { body: 4096, ..Kind::new("body_too_large", "/upload", Fault::BodyLimit) }.by_browser()
        .post("kind = 'http'\nmethod = 'POST'\npath = '/upload'\nbody = '{4096}'\nexpect = { status = 200 }"),
    Kind::new("down_while_verified", "/winner", data("data/entries.json", r#"["ann"]"#, "[]")).of("depot").mended(Mended::Eventually),
    // A route that changes data, with a probe of the operator's.
    Kind::new("checkout", "/checkout", data("data/tax.json", r#"{"rate": 7}"#, "{}"))
        .post("kind = 'http'\nmethod = 'POST'\npath = '/checkout'\nbody = '{\"dry_run\": true}'\nexpect = { status = 200, json = { '/ok' = true } }"),
    // Failures that look like answers.
    Kind::new("soft_page", "/catalogue", data("data/catalogue.json", r#"{"title": "Apples"}"#, "{}")).veiled(),
    Kind::new("soft_json", "/wishlist", data("data/wishes.json", r#"{"ann": ["a pear"]}"#, "{}")).veiled(),
    Kind::new("soft_json_of_a_post", "/redeem", data("data/points.json", r#"{"ann": 7}"#, "{}")).veiled()
        .post("kind = 'http'\nmethod = 'POST'\npath = '/redeem'\nbody = '{}'\nexpect = { status = 200, json = { '/success' = true } }"),
    Kind::new("soft_empty", "/offers", data("data/offers.json", r#"{"today": ["plums"]}"#, "{}")).veiled().mended(Mended::Either),
    // Failures that come and go.
    Kind::new("flaps_at_random", "/flap/random", Fault::Switch("random")).veiled().mended(Mended::Either),
    Kind::new("flaps_alternately", "/flap/alternate", Fault::Switch("alternate")).veiled().mended(Mended::Either),
    Kind::new("flaps_periodically", "/flap/periodic", Fault::Switch("periodic")).veiled().mended(Mended::Either),
    Kind::new("flaps_slowly", "/flap/slowly", Fault::Switch("slowly")).veiled().mended(Mended::Either),
    Kind::new("one_worker_of_two", "/flap/worker", Fault::Switch("worker")).veiled().mended(Mended::Either),
    // Failures that a stranger does not see.
    Kind::new("one_users_data", "/account", data("data/accounts.json", r#"{"guest": 1, "bob": 2}"#, r#"{"guest": 1}"#))
        .with(&[("X-User", "bob")]).mended(Mended::Either),
    Kind::new("one_query", "/search?q=pears", data("data/index.json", r#"{"all": [], "pears": []}"#, r#"{"all": []}"#)).mended(Mended::Either),
    Kind { endpoint: Some("/item/<number>"), ..Kind::new("one_item", "/item/7", data("data/numbers.json", r#"{"7": "pear"}"#, "{}")) }
        .mended(Mended::Either),
    Kind::new("not_for_bots", "/phone", data("data/phones.json", r#"{"latest": "p1"}"#, "{}")).mended(Mended::Either),
    // What Lux must not or cannot ask for.
    Kind::new("post_without_probe", "/subscribe", data("data/lists.json", r#"{"news": 1}"#, "{}")).post("").inconclusive("probe"),
    Kind::new("get_that_changes_data", "/logout", data("data/farewells.json", r#"{"en": "bye"}"#, "{}")).inconclusive("probe"),
    Kind::new("sign_in_401", "/members", data("data/roster.json", r#"{"count": 1}"#, "{}"))
        .with(&[("Authorization", "Bearer member")]).inconclusive("401"),
    Kind::new("sign_in_redirect", "/dashboard", data("data/tiles.json", r#"{"first": 1}"#, "{}"))
        .with(&[("X-User", "ann")]).inconclusive(""),
    Kind::new("forbidden_403", "/vip", data("data/vips.json", r#"{"ann": 1}"#, "{}"))
        .with(&[("X-User", "ann")]).inconclusive("403"),
];
