//! Items of a board. A project is a board's id; what a ticket says is an update of its item, and
//! our key ends its name.

use serde_json::{Value, json};

use super::{
    NewTicket, Project, ProjectStatus, RECENT, Recent, State, Ticket, no_project, number, odd,
    rows, text, time, word,
};
use crate::integrations::{Connection, Trouble, call::Call};

/// The longest name of an item, in characters.
const MAX_NAME: usize = 255;

/// Labels of a status column that mean done, and those that mean open, best first. In small letters.
const DONE: [&str; 5] = ["done", "fixed", "resolved", "closed", "complete"];
const OPEN: [&str; 7] =
    ["to do", "not started", "new", "open", "reopened", "stuck", "working on it"];

fn query(text: &str, variables: &Value) -> Call {
    Call::post("/v2", json!({"query": text, "variables": variables})).harmless()
}

/// A mutation: doing it twice is not as good as once.
fn mutation(text: &str, variables: &Value) -> Call {
    Call::post("/v2", json!({"query": text, "variables": variables}))
}

fn checked<'a>(connection: &Connection, board: &'a str) -> Result<&'a str, Trouble> {
    if board.is_empty() || !board.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_project(connection, board, "name it by the board's id, a number"));
    }
    Ok(board)
}

fn ticket(item: &Value) -> Option<Ticket> {
    let id = word(item, "/id")?;
    Some(Ticket { key: format!("item {id}"), id, url: word(item, "/url")? })
}

fn no_board(connection: &Connection, board: &str) -> Trouble {
    let label = connection.kind().label;
    Trouble::NotFound { label, why: format!("there is no board {board}, or Lux may not see it") }
}

fn is_done(label: &str) -> bool {
    DONE.contains(&label.trim().to_lowercase().as_str())
}

pub(super) async fn projects(connection: &Connection) -> Result<Vec<Project>, Trouble> {
    let text = "query { boards(limit: 100, state: active, order_by: used_at) { id name url } }";
    let found = connection.json(query(text, &json!({}))).await?;
    Ok(rows(&found, "/data/boards")
        .filter_map(|it| {
            let (id, name) = (word(it, "/id")?, word(it, "/name")?);
            Some(Project { id, name, url: word(it, "/url") })
        })
        .collect())
}

pub(super) async fn project_status(
    connection: &Connection,
    board: &str,
) -> Result<ProjectStatus, Trouble> {
    let board = checked(connection, board)?;
    let text = "query ($b: [ID!]) { boards(ids: $b) { id name url updated_at items_count \
                items_page(limit: 100) { items { id name url updated_at \
                column_values(types: [status]) { text } } } } }";
    let found = connection.json(query(text, &json!({"b": [board]}))).await?;
    let about = found.pointer("/data/boards/0").ok_or_else(|| no_board(connection, board))?;
    let mut done = 0;
    let mut recent = Vec::new();
    for item in rows(about, "/items_page/items") {
        let label = word(item, "/column_values/0/text").unwrap_or_default();
        let state = if is_done(&label) {
            done += 1;
            State::Done
        } else if label.to_lowercase().contains("working") {
            State::InProgress
        } else {
            State::Open
        };
        let Some(Ticket { id, key, url }) = ticket(item) else { continue };
        let name = item["name"].as_str().unwrap_or_default();
        let title = text::plain(name, text::MAX_TITLE);
        recent.push((time(item, "/updated_at"), Recent { id, key, url: Some(url), state, title }));
    }
    recent.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let all = number(about, "/items_count").unwrap_or(recent.len() as u64);
    Ok(ProjectStatus {
        name: word(about, "/name").unwrap_or_else(|| board.to_owned()),
        url: word(about, "/url"),
        open: all.saturating_sub(done),
        done: Some(done),
        health: None,
        updated_at: time(about, "/updated_at"),
        recent: recent.into_iter().map(|(_, recent)| recent).take(RECENT).collect(),
    })
}

pub(super) async fn find(
    connection: &Connection,
    board: &str,
    dedupe_key: &str,
) -> Result<Option<Ticket>, Trouble> {
    let board = checked(connection, board)?;
    let text = "query ($b: [ID!], $k: CompareValue!) { boards(ids: $b) { id items_page(limit: 5, \
                query_params: {rules: [{column_id: \"name\", compare_value: $k, \
                operator: contains_text}]}) { items { id name url } } } }";
    let found = connection.json(query(text, &json!({"b": [board], "k": [dedupe_key]}))).await?;
    if found.pointer("/data/boards/0").is_none() {
        return Err(no_board(connection, board));
    }
    let holds = |item: &&Value| item["name"].as_str().is_some_and(|it| it.contains(dedupe_key));
    Ok(rows(&found, "/data/boards/0/items_page/items").find(holds).and_then(ticket))
}

pub(super) async fn create(
    connection: &Connection,
    board: &str,
    new: &NewTicket,
) -> Result<Ticket, Trouble> {
    let board = checked(connection, board)?;
    let end = format!(" ({})", new.dedupe_key);
    let name = text::line(&new.title, MAX_NAME.saturating_sub(end.len()));
    let text = "mutation ($b: ID!, $n: String!) { create_item(board_id: $b, item_name: $n) \
                { id url } }";
    let variables = json!({"b": board, "n": format!("{name}{end}")});
    let made = connection.json(mutation(text, &variables)).await?;
    let made = made.pointer("/data/create_item").and_then(ticket);
    made.ok_or_else(|| odd(connection, "item"))
}

pub(super) async fn comment(
    connection: &Connection,
    id: &str,
    body: &[text::Block],
) -> Result<(), Trouble> {
    let text = "mutation ($i: ID!, $b: String!) { create_update(item_id: $i, body: $b) { id } }";
    let made = connection.json(mutation(text, &json!({"i": id, "b": text::html(body)}))).await?;
    let made = word(&made, "/data/create_update/id");
    made.map(drop).ok_or_else(|| odd(connection, "update"))
}

/// Whether the item has an update already: the one that says what the ticket is about may be
/// missing if nobody came to write it.
pub(super) async fn has_update(connection: &Connection, id: &str) -> Result<bool, Trouble> {
    let text = "query ($i: [ID!]) { items(ids: $i) { id updates(limit: 1) { id } } }";
    let found = connection.json(query(text, &json!({"i": [id]}))).await?;
    Ok(word(&found, "/data/items/0/updates/0/id").is_some())
}

/// Sets the board's first column of states, where there is one and it has a fitting label.
pub(super) async fn set_open(
    connection: &Connection,
    board: &str,
    id: &str,
    is_open: bool,
) -> Result<(), Trouble> {
    let board = checked(connection, board)?;
    let text = "query ($b: [ID!]) { boards(ids: $b) { id columns(types: [status]) \
                { id settings_str } } }";
    let found = connection.json(query(text, &json!({"b": [board]}))).await?;
    for column in rows(&found, "/data/boards/0/columns") {
        let settings = column["settings_str"].as_str().unwrap_or_default();
        let settings: Value = serde_json::from_str(settings).unwrap_or_default();
        let Some(label) = fitting(&settings, is_open) else { continue };
        let Some(column) = word(column, "/id") else { continue };
        let text = "mutation ($b: ID!, $i: ID, $c: String!, $v: String) \
                    { change_simple_column_value(board_id: $b, item_id: $i, column_id: $c, \
                    value: $v) { id } }";
        let variables = json!({"b": board, "i": id, "c": column, "v": label});
        return connection.json(mutation(text, &variables).harmless()).await.map(drop);
    }
    Ok(())
}

/// The label of a column that says it best.
fn fitting(settings: &Value, is_open: bool) -> Option<String> {
    let labels = settings.get("labels")?;
    let labels: Vec<&str> = match labels {
        Value::Object(map) => map.values().filter_map(Value::as_str).collect(),
        Value::Array(all) => {
            all.iter().filter_map(|label| label.get("label").unwrap_or(label).as_str()).collect()
        }
        _ => return None,
    };
    let wanted: &[&str] = if is_open { &OPEN } else { &DONE };
    let known =
        |word: &&str| labels.iter().find(|label| label.trim().eq_ignore_ascii_case(word)).copied();
    wanted.iter().find_map(known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fitting;

    #[test]
    fn labels_of_a_column_are_read() {
        let usual = json!({"labels": {"0": "Working on it", "1": "Done", "2": "Stuck", "5": ""}});
        assert_eq!(fitting(&usual, false).as_deref(), Some("Done"));
        assert_eq!(fitting(&usual, true).as_deref(), Some("Stuck"));
        let listed = json!({"labels": [{"label": "Fixed "}, {"label": "Open"}]});
        assert_eq!(fitting(&listed, false).as_deref(), Some("Fixed "));
        assert_eq!(fitting(&json!({"labels": {"0": "Müll"}}), false), None);
        assert_eq!(fitting(&json!({}), true), None);
    }
}
