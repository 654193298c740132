//! Tables on their way in: bringing the file, saying what its columns are, a dry run, the import.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Extension,
    extract::{RawForm, Request},
    response::Response,
};
use url::form_urlencoded;

use super::{Page, Shell, Told, filters, html, see_other, told};
use crate::{
    contacts::import::{
        self, Change, Column, ConsentWord, Counts, Import, Imports, Status, Target,
    },
    error::{Error, Result as Deed},
    http::{Operator, Path, Reader, Result},
};

/// What a column can become, for the form: the value, and its words.
const TARGETS: [(&str, &str); 10] = [
    ("email", "E-mail"),
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("name", "First and last name"),
    ("company", "Company"),
    ("phone", "Telephone"),
    ("source", "Source"),
    ("tags", "Tags"),
    ("consent", "Consent (yes or no)"),
    ("skip", "Leave out"),
];

#[derive(Template)]
#[template(path = "contacts/imports.html")]
struct List {
    shell: Shell,
    imports: Vec<Import>,
}

/// How an import stands: its words, and how they look.
fn standing(import: &Import) -> (&'static str, &'static str) {
    match import.status {
        Status::Uploaded => ("Waits for you", "warn"),
        Status::Checking => ("Dry run", "live"),
        Status::Checked => ("Checked", "warn"),
        Status::Running => ("Running", "live"),
        Status::Done => ("Done", "ok"),
        Status::Cancelled => ("Cancelled", ""),
        Status::Failed => ("Failed", "bad"),
    }
}

impl List {
    fn standing(import: &Import) -> (&'static str, &'static str) {
        standing(import)
    }
}

pub(super) async fn list(
    page: Page<Reader>,
    Extension(imports): Extension<Imports>,
) -> Result<Response> {
    let imports = imports.list(page.caller.organization).await?;
    html(&List { imports, shell: page.shell })
}

pub(super) async fn upload(
    page: Page<Operator>,
    Extension(imports): Extension<Imports>,
    request: Request,
) -> Result<Response> {
    match import::take(&imports, &page.caller, "", request).await {
        Ok(import) => {
            let told = Told::done("The file is here; say what its columns are");
            Ok(see_other(&format!("/contacts/import/{}", import.id), &told))
        }
        Err(problem) if problem.status < 500 && problem.status != 403 => {
            Ok(see_other("/contacts/import", &Told::bad(problem.detail)))
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "contacts/import.html", blocks = ["part"])]
struct Show {
    shell: Shell,
    import: Import,
}

impl Show {
    fn standing(&self) -> (&'static str, &'static str) {
        standing(&self.import)
    }

    fn is_open(&self) -> bool {
        matches!(self.import.status, Status::Uploaded | Status::Checked)
    }

    /// Rows by what became of them, or would; with the words for the first.
    fn counts(&self) -> Option<(Counts, &'static str)> {
        match self.import.status {
            Status::Uploaded | Status::Checking => None,
            Status::Checked => self.import.checked.map(|counts| (counts, "would be ")),
            _ => Some((self.import.counts, "")),
        }
    }

    fn rejected_href(&self) -> String {
        format!("/api/contacts/imports/{}/rejected", self.import.id)
    }

    fn targets() -> [(&'static str, &'static str); 10] {
        TARGETS
    }

    fn is(column: &Column, target: &str) -> bool {
        column.to.to_string() == target
    }

    /// The attribute that a column becomes; for the others, what it would be called.
    fn attribute(column: &Column) -> Option<&str> {
        match &column.to {
            Target::Attribute(name) => Some(name),
            _ => None,
        }
    }

    /// What the column has in the first rows.
    fn sample(&self, column: &Column) -> String {
        let columns = &self.import.settings.columns;
        let index = columns.iter().position(|it| it.name == column.name).unwrap_or(usize::MAX);
        let cells = self.import.preview.iter().filter_map(|row| row.get(index));
        let mut cells = cells.map(String::as_str).filter(|cell| !cell.is_empty());
        cells.next().unwrap_or_default().chars().take(60).collect()
    }

    /// The operator's word on consent: where it was given, what was shown, whether by everybody.
    fn given(&self) -> (&str, &str, bool) {
        let word = self.import.settings.consent.as_ref();
        word.map_or(("", "", false), |word| (&word.source, &word.wording, word.everybody))
    }

    fn has_address(&self) -> bool {
        let columns = &self.import.settings.columns;
        columns.iter().any(|column| matches!(column.to, Target::Email | Target::Phone))
    }

    fn delimiter(&self, delimiter: &str) -> bool {
        let own = self.import.settings.delimiter;
        own.to_string() == delimiter || (own == '\t' && delimiter == "tab")
    }
}

pub(super) async fn show(
    page: Page<Reader>,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let import = imports.find(page.caller.organization, id).await?;
    html(&Show { import, shell: page.shell })
}

/// How far it is, for a page that is open.
pub(super) async fn progress(
    page: Page<Reader>,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let import = imports.find(page.caller.organization, id).await?;
    html(&Show { import, shell: page.shell }.as_part())
}

/// What the form of an import says.
#[derive(Default)]
struct Form {
    deed: String,
    columns: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let value = value.replace('\0', "").trim().to_owned();
            if name == "do" {
                form.deed = value;
            } else if let Some(column) = name.strip_prefix("col:") {
                form.columns.insert(column.to_owned(), value);
            } else {
                form.fields.insert(name.into_owned(), value);
            }
        }
        form
    }

    fn field(&self, name: &str) -> String {
        self.fields.get(name).cloned().unwrap_or_default()
    }

    /// How the file is read: only where that is said to be another way.
    fn reading(&self, before: &Import) -> Option<Change> {
        let settings = &before.settings;
        let delimiter = match self.field("delimiter").as_str() {
            "" => settings.delimiter,
            "tab" => '\t',
            other => other.chars().next().unwrap_or(','),
        };
        let encoding = self.field("encoding");
        let header = self.field("header") == "yes";
        let change = Change {
            delimiter: (delimiter != settings.delimiter).then(|| delimiter.to_string()),
            encoding: (!encoding.is_empty() && encoding != settings.encoding).then_some(encoding),
            header: (header != settings.header).then_some(header),
            ..Change::default()
        };
        (change != Change::default()).then_some(change)
    }

    fn mapping(&self) -> Change {
        let tags = self.field("tags");
        let tags = tags.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
        Change {
            columns: Some(self.columns.clone()),
            tags: Some(tags.collect()),
            source: Some(self.field("source")),
            consent: Some(ConsentWord {
                source: self.field("consent_source"),
                wording: self.field("consent_wording"),
                everybody: self.field("everybody") == "yes",
            }),
            ..Change::default()
        }
    }
}

pub(super) async fn change(
    page: Page<Operator>,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
    RawForm(body): RawForm,
) -> Result<Response> {
    let form = Form::read(&body);
    let import = imports.find(page.caller.organization, id).await?;
    let done = act(&imports, &page, &import, &form).await;
    let told = told(done, str::to_owned)?;
    Ok(see_other(&format!("/contacts/import/{id}"), &told))
}

async fn act(
    imports: &Imports,
    page: &Page<Operator>,
    import: &Import,
    form: &Form,
) -> Deed<&'static str> {
    let organization = page.caller.organization;
    if form.deed == "cancel" {
        imports.cancel(&page.caller, import.id).await?;
        return Ok("It is stopped; what was brought in by then stays");
    }
    if let Some(change) = form.reading(import) {
        imports.change(organization, import.id, change).await?;
        return Ok("The file is read anew; look at its columns");
    }
    if !form.columns.is_empty() {
        imports.change(organization, import.id, form.mapping()).await?;
    }
    match form.deed.as_str() {
        "check" => {
            imports.begin(&page.caller, import.id, true).await?;
            Ok("The dry run is on its way; nothing is changed by it")
        }
        "start" => {
            imports.begin(&page.caller, import.id, false).await?;
            Ok("The import is on its way; you can leave this page")
        }
        "save" => Ok("The columns are noted"),
        _ => Err(Error::invalid("choose what to do with the file")),
    }
}
