//! Contacts from files: taken in without being held in memory, looked at before anything is
//! done, and brought in batch by batch through the same merge as everything else.
//!
//! **No row twice, none lost**: a batch's contacts, its refused rows and the position of the
//! import commit in one transaction, under the lease of the job that works on it.

mod folder;
mod mapping;
mod read;
mod rejected;
mod routes;
mod row;
mod run;
mod store;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Contacts;
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    error::{Error, Result},
    jobs::{Jobs, NewJob},
};

pub use folder::MAX_FILE;
pub use mapping::{Column, Target};
pub use routes::{download, router, take, upload_router};

/// Files that are taken in at once; each is written to disk as it comes.
const UPLOADS: usize = 4;
/// Rows shown before anything is done.
pub const PREVIEW: usize = 5;
/// How often is looked for files and rejected rows that are old.
const SWEEP: Duration = Duration::from_hours(1);
/// Most tags that are given to everybody of a file.
const MAX_TAGS: usize = 20;

/// How far an import is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = ImportStatus)]
pub enum Status {
    /// The file is here; nothing was done with it.
    Uploaded,
    /// A dry run is on its way.
    Checking,
    /// A dry run counted what would happen.
    Checked,
    Running,
    Done,
    /// Somebody stopped it; what was brought in by then stays.
    Cancelled,
    Failed,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Checking => "checking",
            Self::Checked => "checked",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether something is being done with it.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Checking | Self::Running)
    }

    /// Whether it has come to its end.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// An operator's word on where the consent that a file tells of was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentWord {
    /// "paper forms, fair of May 2026". Not empty.
    pub source: String,
    /// What the people were shown.
    #[serde(default)]
    pub wording: String,
    /// All of the file agreed, also those whose row says nothing about it.
    #[serde(default)]
    pub everybody: bool,
}

/// How a file is read, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ImportSettings)]
pub struct Settings {
    /// UTF-8, UTF-16LE, UTF-16BE or windows-1252.
    pub encoding: String,
    /// Between cells: , ; | or a tab.
    #[schema(value_type = String)]
    pub delimiter: char,
    /// Whether the first row names the columns.
    pub header: bool,
    #[schema(inline)]
    pub columns: Vec<Column>,
    /// Given to everybody of the file.
    pub tags: Vec<String>,
    /// Of those whose row names none.
    pub source: String,
    #[schema(inline)]
    pub consent: Option<ConsentWord>,
}

/// What is to be changed of [`Settings`]; what is left out stays. Another encoding, delimiter or
/// header makes the columns anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ImportChange)]
pub struct Change {
    /// By the column's name: email, first_name, last_name, name, company, phone, source, tags,
    /// consent, skip or attribute:NAME.
    pub columns: Option<BTreeMap<String, String>>,
    pub encoding: Option<String>,
    /// One of , ; | and a tab.
    pub delimiter: Option<String>,
    pub header: Option<bool>,
    pub tags: Option<Vec<String>>,
    pub source: Option<String>,
    /// An empty source takes the word back.
    #[schema(inline)]
    pub consent: Option<ConsentWord>,
}

/// Rows by what became of them, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ImportCounts)]
pub struct Counts {
    /// Contacts that were not known.
    pub created: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub rejected: i64,
}

impl Counts {
    pub fn rows(&self) -> i64 {
        self.created + self.updated + self.unchanged + self.rejected
    }
}

/// An import, as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ContactImport)]
pub struct Import {
    pub id: i64,
    /// What the file was called.
    pub name: String,
    #[schema(inline)]
    pub status: Status,
    /// Of the file, in bytes.
    pub size: i64,
    #[schema(inline)]
    pub settings: Settings,
    /// Bytes of the file that are done, of the dry run or the import.
    pub done_bytes: i64,
    #[schema(inline)]
    pub counts: Counts,
    /// What the last dry run counted; it changes nothing. Of the first 3.5 million people it is
    /// known whether they come again further down in the file.
    #[schema(inline)]
    pub checked: Option<Counts>,
    /// Rows that were refused and can be downloaded; at most 10 000 and 32 MiB, for 30 days.
    pub rejected_kept: i64,
    /// Why it stands still, in words.
    pub note: String,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The first rows as they are read, without the header; only of one import, and while its
    /// file is here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preview: Vec<Vec<String>>,
}

impl Import {
    /// How much is done, in percent.
    pub fn percent(&self) -> i64 {
        if self.status == Status::Done {
            return 100;
        }
        self.done_bytes.saturating_mul(100).checked_div(self.size).unwrap_or(0).clamp(0, 100)
    }
}

/// Files of contacts and what is done with them. Cheap to clone.
#[derive(Clone)]
pub struct Imports {
    app: App,
    contacts: Contacts,
    uploads: Arc<Semaphore>,
}

impl Imports {
    /// Registers the work on imports with the queue.
    pub fn start(app: App, contacts: Contacts) -> Self {
        let imports = Self { app, contacts, uploads: Arc::new(Semaphore::new(UPLOADS)) };
        run::register(&imports);
        let (own, shutdown) = (imports.clone(), imports.app.shutdown.clone());
        imports.app.tasks.spawn(async move {
            let mut timer = tokio::time::interval(SWEEP);
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                if let Err(error) = own.sweep().await {
                    tracing::warn!(%error, "old imports were not looked after");
                }
            }
        });
        imports
    }

    fn path(&self, file: &str) -> PathBuf {
        folder::of(&self.app.config.data_dir).join(file)
    }

    /// The newest 100.
    pub async fn list(&self, organization: OrganizationId) -> Result<Vec<Import>> {
        Ok(store::list(&self.app.db, organization).await?)
    }

    /// One, with its first rows.
    pub async fn find(&self, organization: OrganizationId, id: i64) -> Result<Import> {
        let kept = store::find(&self.app.db, organization, id).await?;
        let kept = kept.ok_or(Error::NotFound("import"))?;
        let mut import = kept.import;
        if let Some(file) = kept.file.filter(|_| !import.status.is_over()) {
            let path = self.path(&file);
            let settings = import.settings.clone();
            let rows = tokio::task::spawn_blocking(move || {
                let (encoding, header) = (read::encoding(&settings.encoding)?, settings.header);
                let rows = read::first(&path, encoding, settings.delimiter, PREVIEW + 1)?;
                Ok::<_, Error>(rows.into_iter().skip(usize::from(header)).take(PREVIEW).collect())
            });
            // Another replica has the file, or it cannot be read as it is wished: no preview.
            import.preview = rows.await.ok().and_then(Result::ok).unwrap_or_default();
        }
        Ok(import)
    }

    /// Changes how the file is read and what its columns are; what was counted before is void.
    pub async fn change(
        &self,
        organization: OrganizationId,
        id: i64,
        change: Change,
    ) -> Result<Import> {
        if change == Change::default() {
            return Err(Error::invalid(
                "say what is to be changed: columns, encoding, delimiter, header, tags, source \
                 or consent",
            ));
        }
        let kept = store::find(&self.app.db, organization, id).await?;
        let kept = kept.ok_or(Error::NotFound("import"))?;
        let file = kept.file.ok_or_else(|| over(&kept.import))?;
        let path = self.path(&file);
        let before = kept.import.settings;
        let settings = tokio::task::spawn_blocking(move || changed(&path, before, change));
        let settings = settings.await.map_err(|error| Error::Internal(error.into()))??;
        if !store::set_settings(&self.app.db, id, &settings, clock::now()).await? {
            let now = self.find(organization, id).await?;
            return Err(over(&now));
        }
        self.find(organization, id).await
    }

    /// Begins a dry run, or the import itself.
    pub async fn begin(&self, caller: &Caller, id: i64, dry_run: bool) -> Result<Import> {
        let organization = caller.organization;
        let import = self.find(organization, id).await?;
        let mapped = |target: &Target| import.settings.columns.iter().any(|it| it.to == *target);
        if !mapped(&Target::Email) && !mapped(&Target::Phone) {
            return Err(Error::invalid(
                "no column is the e-mail address or the telephone number; say which one is, as in \
                 {\"columns\": {\"Address\": \"email\"}}",
            ));
        }
        let mut tx = self.app.db.begin().await?;
        let status = if dry_run { Status::Checking } else { Status::Running };
        if !store::begin(&mut tx, id, status, clock::now()).await? {
            return Err(over(&import));
        }
        let job = NewJob::new(run::KIND, json!({ "import": id, "dry_run": dry_run }));
        // Each start of Lux that was killed in it is one, and each goes on where it was.
        let job = NewJob { max_attempts: 1000, ..job };
        Jobs::enqueue_in(&mut tx, job).await?;
        if !dry_run {
            let detail = json!({ "bytes": import.size, "tags": import.settings.tags,
                "source": import.settings.source, "consent": import.settings.consent });
            let subject = format!("import {id}");
            audit::write(&mut tx, organization, caller, "contacts.import", &subject, &detail)
                .await?;
        }
        tx.commit().await?;
        self.app.jobs.wake();
        self.find(organization, id).await
    }

    /// Stops it. What a running import brought in by then stays; a dry run can be begun again.
    pub async fn cancel(&self, caller: &Caller, id: i64) -> Result<Import> {
        let import = self.find(caller.organization, id).await?;
        let mut tx = self.app.db.begin().await?;
        if !store::cancel(&mut tx, id, clock::now()).await? {
            return Err(over(&import));
        }
        let detail = json!({ "rows": import.counts.rows() });
        let subject = format!("import {id}");
        audit::write(
            &mut tx,
            caller.organization,
            caller,
            "contacts.import.cancel",
            &subject,
            &detail,
        )
        .await?;
        tx.commit().await?;
        self.remove_file(id).await?;
        self.find(caller.organization, id).await
    }

    /// Removes an import's file, if it is here.
    async fn remove_file(&self, id: i64) -> Result<()> {
        if let Some(file) = store::forget_file(&self.app.db, id).await? {
            folder::remove(&self.path(&file)).await;
        }
        Ok(())
    }
}

/// Why nothing more can be done with it.
fn over(import: &Import) -> Error {
    Error::Conflict(match import.status {
        Status::Checking => "a dry run is on its way; wait for its end, or cancel it".to_owned(),
        Status::Running => "the import runs already; wait for its end, or cancel it".to_owned(),
        status => format!("the import is {}; bring the file once more", status.as_str()),
    })
}

fn changed(path: &std::path::Path, before: Settings, change: Change) -> Result<Settings> {
    let mut settings = before;
    let anew = change.encoding.is_some() || change.delimiter.is_some() || change.header.is_some();
    if let Some(name) = change.encoding {
        read::encoding(&name)?.name().clone_into(&mut settings.encoding);
    }
    if let Some(delimiter) = change.delimiter {
        let delimiter = if delimiter == "\\t" || delimiter == "tab" { "\t" } else { &delimiter };
        let known = read::DELIMITERS.iter().find(|known| delimiter == known.to_string());
        settings.delimiter = *known
            .ok_or_else(|| Error::invalid("delimiter is one of , ; | and a tab (\"\\t\")"))?;
    }
    settings.header = change.header.unwrap_or(settings.header);
    if anew {
        let encoding = read::encoding(&settings.encoding)?;
        let first = read::first(path, encoding, settings.delimiter, 1)?;
        let first = first.first().cloned().unwrap_or_default();
        settings.columns = mapping::columns(&first, settings.header);
    }
    for (name, to) in change.columns.unwrap_or_default() {
        let column = settings.columns.iter_mut().find(|column| column.name == name);
        let column = column.ok_or_else(|| {
            Error::invalid(format!(
                "the file has no column {:?}; its columns are listed in settings.columns",
                name.chars().take(100).collect::<String>()
            ))
        })?;
        column.to = to.parse()?;
    }
    once(&settings.columns)?;
    if let Some(tags) = change.tags {
        settings.tags = checked_tags(&tags)?;
    }
    if let Some(source) = change.source {
        settings.source = short("source", &source)?;
    }
    if let Some(word) = change.consent {
        let source = short("consent.source", &word.source)?;
        if word.wording.chars().count() > 2000 {
            return Err(Error::invalid("consent.wording has at most 2000 characters"));
        }
        settings.consent = (!source.is_empty()).then_some(ConsentWord { source, ..word });
    }
    Ok(settings)
}

/// A field of a contact has one column, and so has an attribute; tags may have several.
fn once(columns: &[Column]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        let before = columns.iter().take(index).find(|before| before.to == column.to);
        if let Some(before) = before.filter(|it| !matches!(it.to, Target::Skip | Target::Tags)) {
            return Err(Error::invalid(format!(
                "both {:?} and {:?} are to become {}; leave one of them out (skip)",
                before.name, column.name, column.to
            )));
        }
    }
    Ok(())
}

fn checked_tags(tags: &[String]) -> Result<Vec<String>> {
    if tags.len() > MAX_TAGS {
        return Err(Error::invalid(format!("tags has at most {MAX_TAGS} entries")));
    }
    let tags = tags.iter().map(|tag| short("each of tags", tag));
    let mut tags: Vec<String> = tags.collect::<Result<_>>()?;
    tags.retain(|tag| !tag.is_empty());
    tags.sort();
    tags.dedup();
    Ok(tags)
}

fn short(what: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} is a line of at most 200 characters")));
    }
    Ok(text.to_owned())
}
