//! What was looked at for an answer: the steps that were told while it was made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::going::Step;

/// Steps of one answer that are kept, and characters of one's arguments.
const MOST: usize = 40;
const LONGEST: usize = 2000;

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = ChatStep)]
pub struct Looked {
    /// A tool's name: "search_logs"; or what the advisor did: "diagnose".
    pub name: String,
    /// As the tool was given them.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// What came of it, in one line.
    pub summary: String,
    /// Log sources that it found something in, and "error_log".
    pub sources: Vec<String>,
    pub items: u64,
    pub milliseconds: u64,
    pub failed: bool,
    /// False while it goes on.
    pub ended: bool,
}

/// Takes a step that was told into the trail.
pub(super) fn follow(trail: &mut Vec<Looked>, step: &Step) {
    if step.name != "tool" {
        return;
    }
    let data = &step.data;
    let name = data["name"].as_str().unwrap_or_default();
    if data["state"] == "started" {
        if trail.len() < MOST {
            let long = data["arguments"].to_string().len() > LONGEST;
            let arguments = if long { Value::Null } else { data["arguments"].clone() };
            trail.push(Looked { name: name.to_owned(), arguments, ..Looked::default() });
        }
        return;
    }
    let Some(begun) = trail.iter_mut().rev().find(|one| !one.ended && one.name == name) else {
        return;
    };
    let sources = data["sources"].as_array().into_iter().flatten();
    data["summary"].as_str().unwrap_or_default().clone_into(&mut begun.summary);
    begun.sources = sources.filter_map(|one| Some(one.as_str()?.to_owned())).collect();
    begun.items = data["items"].as_u64().unwrap_or_default();
    begun.milliseconds = data["milliseconds"].as_u64().unwrap_or_default();
    begun.failed = data["failed"] == true;
    begun.ended = true;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Looked, Step, follow};

    #[test]
    fn a_step_begins_and_ends() {
        let mut trail = Vec::new();
        let mut tell = |data| follow(&mut trail, &Step { name: "tool", data });
        tell(json!({ "state": "started", "name": "health", "arguments": {} }));
        tell(json!({ "state": "started", "name": "search_logs", "arguments": { "text": "x" } }));
        tell(json!({ "state": "finished", "name": "search_logs", "summary": "2 records",
                     "sources": ["app"], "items": 2, "milliseconds": 7 }));
        let searched = Looked {
            name: "search_logs".to_owned(),
            arguments: json!({ "text": "x" }),
            summary: "2 records".to_owned(),
            sources: vec!["app".to_owned()],
            items: 2,
            milliseconds: 7,
            failed: false,
            ended: true,
        };
        assert_eq!(trail[1], searched);
        assert!(!trail[0].ended);
    }
}
