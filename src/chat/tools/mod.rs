//! What a model in the chat, or another agent over MCP, may look at and ask for. Each tool
//! has typed arguments, the caller's own rights, a timeout and a bounded result. What
//! changes anything is a proposal, unless the caller is known to want it.

mod asking;
mod connected;
mod market;
mod reading;
mod tickets;

pub(super) use asking::repair_button;
pub(super) use market::open;
pub(super) use tickets::ticket_button;

use std::{collections::BTreeMap, fmt::Write, sync::OnceLock, time::Duration};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    app::App,
    auth::{OrganizationId, Role},
    diagnose::Diagnoser,
    error::{Error, Result},
    health::Health,
    integrations::ticketing::Tickets,
    llm::Tool,
    marketing::agent::Agents,
    probe::Probes,
    repair::{Repair, action::Actions},
};

/// How long one tool may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest text of one item, and of all of one result, in bytes.
const MOST_TEXT: usize = 2 << 10;
const MOST_RESULT: usize = 16 << 10;

/// Who uses a tool.
#[derive(Clone, Debug)]
pub struct User {
    pub organization: OrganizationId,
    pub role: Role,
    /// As runs and actions remember who asked.
    pub name: String,
    /// Only this monitored application.
    pub app: Option<String>,
    /// They themselves asked for a repair, in words that nobody else can have written.
    pub wants_repair: bool,
    /// They themselves asked for a campaign or for an agent's run.
    pub wants_marketing: bool,
    /// They themselves asked for a ticket.
    pub wants_ticket: bool,
}

/// A tool as a model is told of it.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub parameters: Value,
    /// It may change something; needs an operator.
    pub changes: bool,
    /// As it goes with a request to a model.
    #[serde(skip)]
    pub(super) offered: Tool,
}

/// An untrusted text with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The name of a log source, or "error_log" for captured errors.
    pub source: String,
    /// The line, or the event's id.
    pub line: u64,
    /// In Lux's own words and figures: when, how often, which id.
    pub about: String,
    pub text: String,
}

/// What a tool found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// In Lux's own words and figures: nothing untrusted is in it.
    pub summary: String,
    pub items: Vec<Item>,
    /// What a person may start with one click.
    pub proposals: Vec<Value>,
    /// The run that was started.
    pub run_id: Option<i64>,
}

impl Found {
    fn of(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// Cuts what is too long, and says so.
    fn bounded(mut self) -> Self {
        let mut room = MOST_RESULT;
        let all = self.items.len();
        let mut kept = 0;
        for item in &mut self.items {
            cut(&mut item.text, MOST_TEXT);
            let size = item.text.len() + item.about.len() + item.source.len();
            if size > room {
                break;
            }
            room -= size;
            kept += 1;
        }
        if kept < all {
            self.items.truncate(kept);
            // Writing to a String cannot fail.
            let _ = write!(
                self.summary,
                " Only the first {kept} of {all} are shown: ask for fewer, or more precisely."
            );
        }
        cut(&mut self.summary, MOST_RESULT);
        self
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str(" […]");
    }
}

/// Runs tools. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    pub(crate) app: App,
    pub(crate) actions: Actions,
    pub(crate) agents: Agents,
    pub(crate) diagnoser: Diagnoser,
    pub(crate) health: Health,
    pub(crate) probes: Probes,
    pub(crate) repair: Repair,
    pub(crate) tickets: Tickets,
}

/// (name, whether it may change something, the schema of its arguments)
type Row = (&'static str, bool, fn() -> Value);

const TABLE: &[Row] = &[
    ("list_errors", false, schema::<reading::ListErrors>),
    ("get_error", false, schema::<reading::GetError>),
    ("search_logs", false, schema::<reading::SearchLogs>),
    ("read_log_around", false, schema::<reading::ReadLogAround>),
    ("log_sources", false, schema::<Nothing>),
    ("health", false, schema::<Nothing>),
    ("diagnose", false, schema::<reading::Diagnose>),
    ("list_probes", false, schema::<Nothing>),
    ("run_probe", false, schema::<asking::RunProbe>),
    ("repair_runs", false, schema::<asking::RepairRuns>),
    ("list_actions", false, schema::<asking::ListActions>),
    ("contacts_summary", false, schema::<market::ContactsSummary>),
    ("find_contacts", false, schema::<market::FindContacts>),
    ("list_segments", false, schema::<Nothing>),
    ("agent_report", false, schema::<market::AgentReport>),
    ("project_status", false, schema::<Nothing>),
    ("recent_calls", false, schema::<connected::RecentCalls>),
    ("integration_status", false, schema::<Nothing>),
    ("start_repair", true, schema::<asking::StartRepair>),
    ("propose_action", true, schema::<asking::ProposeAction>),
    ("run_agent", true, schema::<market::RunAgent>),
    ("draft_campaign", true, schema::<market::DraftCampaign>),
    ("create_ticket", true, schema::<tickets::CreateTicket>),
    ("send_message", true, schema::<connected::SendMessage>),
    ("schedule_meeting", true, schema::<connected::ScheduleMeeting>),
];

/// A call, typed.
#[derive(Debug, Deserialize)]
#[serde(tag = "name", content = "arguments", rename_all = "snake_case")]
enum Use {
    ListErrors(reading::ListErrors),
    GetError(reading::GetError),
    SearchLogs(reading::SearchLogs),
    ReadLogAround(reading::ReadLogAround),
    LogSources(Nothing),
    Health(Nothing),
    Diagnose(reading::Diagnose),
    ListProbes(Nothing),
    RunProbe(asking::RunProbe),
    RepairRuns(asking::RepairRuns),
    ListActions(asking::ListActions),
    StartRepair(asking::StartRepair),
    ProposeAction(asking::ProposeAction),
    ContactsSummary(market::ContactsSummary),
    FindContacts(market::FindContacts),
    ListSegments(Nothing),
    AgentReport(market::AgentReport),
    RunAgent(market::RunAgent),
    DraftCampaign(market::DraftCampaign),
    ProjectStatus(Nothing),
    CreateTicket(tickets::CreateTicket),
    RecentCalls(connected::RecentCalls),
    IntegrationStatus(Nothing),
    SendMessage(connected::SendMessage),
    ScheduleMeeting(connected::ScheduleMeeting),
}

impl Use {
    /// A model may leave the arguments out where none is needed.
    fn read(name: &str, arguments: &Value) -> Result<Self> {
        let arguments = if arguments.is_null() { &json!({}) } else { arguments };
        serde_json::from_value(json!({ "name": name, "arguments": arguments }))
            .map_err(|error| Error::Invalid(format!("the arguments do not fit: {error}")))
    }
}

/// Whether a tool of this name would take these arguments; else why not.
pub(super) fn fits(name: &str, arguments: &str) -> Result<()> {
    Use::read(name, &parse(arguments)?).map(drop)
}

/// Arguments as a model wrote them.
pub(super) fn parse(arguments: &str) -> Result<Value> {
    match arguments.trim() {
        "" => Ok(Value::Null),
        text => serde_json::from_str(text)
            .map_err(|error| Error::Invalid(format!("the arguments are no valid JSON: {error}"))),
    }
}

/// No arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// All tools, those that change something last.
pub fn specs() -> &'static [Spec] {
    static SPECS: OnceLock<Vec<Spec>> = OnceLock::new();
    SPECS.get_or_init(|| {
        let texts = texts();
        let spec = |&(name, changes, schema): &Row| {
            let description = texts.get(name).copied().unwrap_or_default();
            let parameters = schema();
            let offered = Tool::new(name, description, &parameters);
            Spec { name, description, parameters, changes, offered }
        };
        TABLE.iter().map(spec).collect()
    })
}

/// What `prompts/tools.toml` says of each tool. It is part of the program, and a test
/// reads it.
fn texts() -> BTreeMap<&'static str, &'static str> {
    #[derive(Deserialize)]
    struct Entry {
        text: String,
    }
    let file = include_str!("../../../prompts/tools.toml");
    let entries: BTreeMap<String, Entry> = toml::from_str(file).unwrap_or_default();
    // Once per process.
    let kept = |text: String| &*Box::leak(text.into_boxed_str());
    entries.into_iter().map(|(name, entry)| (kept(name), kept(entry.text))).collect()
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        object.remove("description");
        object.entry("properties").or_insert_with(|| json!({}));
    }
    schema
}

impl Tools {
    /// The tickets, for what the advisor answers by itself.
    pub(super) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// The tools that a role may use.
    pub fn for_role(role: Role) -> impl Iterator<Item = &'static Spec> {
        specs().iter().filter(move |spec| may(role, spec))
    }

    /// Uses a tool.
    ///
    /// [`Error::Invalid`] tells what is wrong with the arguments (or that there is no such
    /// tool), in words a model can act upon; [`Error::Denied`] that the role is too low.
    pub async fn call(&self, user: &User, name: &str, arguments: &Value) -> Result<Found> {
        let Some(spec) = specs().iter().find(|spec| spec.name == name) else {
            let names: Vec<&str> = Self::for_role(user.role).map(|spec| spec.name).collect();
            return Err(Error::Invalid(format!(
                "there is no such tool; there are {}",
                names.join(", ")
            )));
        };
        if !may(user.role, spec) {
            return Err(Error::Denied(format!(
                "{name} needs the role operator or admin; the caller's is {}",
                user.role
            )));
        }
        metrics::counter!("lux_tool_calls_total", "tool" => spec.name).increment(1);
        let work = self.run(user, spec.name, arguments);
        let Ok(done) = tokio::time::timeout(PATIENCE, work).await else {
            let seconds = PATIENCE.as_secs();
            return Err(Error::Unavailable(format!("{name} did not end within {seconds} s")));
        };
        done.map(Found::bounded)
    }

    async fn run(&self, user: &User, name: &str, arguments: &Value) -> Result<Found> {
        match Use::read(name, arguments)? {
            Use::ListErrors(wanted) => self.list_errors(user, wanted).await,
            Use::GetError(wanted) => self.get_error(user, &wanted).await,
            Use::SearchLogs(wanted) => self.search_logs(user, wanted).await,
            Use::ReadLogAround(wanted) => self.read_log_around(user, wanted).await,
            Use::LogSources(Nothing {}) => self.log_sources(user),
            Use::Health(Nothing {}) => Ok(self.look_at_health().await),
            Use::Diagnose(wanted) => self.run_diagnosis(user, wanted).await,
            Use::ListProbes(Nothing {}) => self.list_probes(user).await,
            Use::RunProbe(wanted) => self.run_probe(user, &wanted).await,
            Use::RepairRuns(wanted) => self.repair_runs(user, &wanted).await,
            Use::ListActions(wanted) => self.list_actions(user, &wanted).await,
            Use::StartRepair(wanted) => self.start_repair(user, wanted).await,
            Use::ProposeAction(wanted) => self.propose_action(user, &wanted).await,
            Use::ContactsSummary(wanted) => self.contacts_summary(user, &wanted).await,
            Use::FindContacts(wanted) => self.find_contacts(user, &wanted).await,
            Use::ListSegments(Nothing {}) => self.list_segments(user).await,
            Use::AgentReport(wanted) => self.agent_report(user, &wanted).await,
            Use::RunAgent(wanted) => self.run_agent(user, &wanted).await,
            Use::DraftCampaign(wanted) => self.draft_campaign(user, wanted).await,
            Use::ProjectStatus(Nothing {}) => self.project_status(user).await,
            Use::CreateTicket(wanted) => self.create_ticket(user, &wanted).await,
            Use::RecentCalls(wanted) => self.recent_calls(user, &wanted).await,
            Use::IntegrationStatus(Nothing {}) => self.integration_status(user).await,
            Use::SendMessage(wanted) => self.send_message(user, wanted).await,
            Use::ScheduleMeeting(wanted) => self.schedule_meeting(user, wanted).await,
        }
    }
}

fn may(role: Role, spec: &Spec) -> bool {
    if spec.changes { role.may_operate() } else { role.may_read() }
}

/// Looking through the window takes the processor, not the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::{specs, texts};

    #[test]
    fn every_tool_says_what_it_does() {
        let texts = texts();
        assert_eq!(texts.len(), specs().len());
        for spec in specs() {
            assert!(spec.description.len() > 20, "{}", spec.name);
            assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
            assert_eq!(spec.parameters["additionalProperties"], false, "{}", spec.name);
        }
    }

    #[test]
    fn what_a_model_is_told_of_the_tools() {
        insta::assert_json_snapshot!(specs());
    }
}
