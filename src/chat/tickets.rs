//! "Create a ticket for error 12" and "how does the project stand?", read from the operator's words.

use std::fmt::Write;

use super::{
    Chat, Question,
    answer::Answer,
    tools::{User, open, ticket_button},
};
use crate::error::{Error, Result};

/// Errors that are offered where none was named.
const OFFERED: usize = 3;
/// Tickets of a project that are named.
const NAMED: usize = 8;

impl Chat {
    /// Opens the ticket that the operator's words ask for; who may not is told so.
    pub(super) async fn ticket(&self, question: &Question) -> Result<Answer> {
        if !question.role.may_operate() {
            return Ok(Answer::of("Tickets are opened for operators and administrators only."));
        }
        let open_errors = self.open_errors(question).await?;
        let group = match (number(&question.message), open_errors.as_slice()) {
            (Some(group), _) => group,
            (None, [only]) => only.group_id,
            (None, []) => return Ok(Answer::of("There is no open error to open a ticket for.")),
            (None, several) => {
                let mut answer = Answer::of("Which error is the ticket for?\n");
                for one in several.iter().take(OFFERED) {
                    // Writing to a String cannot fail.
                    let _ =
                        write!(answer.text, "\n- error {}: {}", one.group_id, shown(&one.title));
                    answer.proposals.push(ticket_button(one.group_id));
                }
                return Ok(answer);
            }
        };
        let user = User {
            organization: question.owner.organization,
            role: question.role,
            name: question.owner.author.clone(),
            app: question.app.clone(),
            wants_repair: false,
            wants_marketing: false,
            wants_ticket: true,
        };
        let ticket = match self.tools.ticket_for(&user, group).await {
            Ok(ticket) => ticket,
            Err(Error::Conflict(why) | Error::Invalid(why) | Error::Unavailable(why)) => {
                return Ok(Answer::of(format!("No ticket was opened: {why}.")));
            }
            Err(Error::NotFound(_)) => {
                return Ok(Answer::of(format!("There is no error {group}.")));
            }
            Err(error) => return Err(error),
        };
        let key = ticket.key.as_deref().map(|key| format!(" {}", shown(key))).unwrap_or_default();
        let mut answer = Answer::of(format!(
            "**The ticket{key} for error {group} in {}: {}.** It is told what changes, and closed \
             with the evidence.",
            ticket.label(),
            ticket.word().to_lowercase()
        ));
        answer.proposals.push(open(&format!("Open error {group}"), &format!("/errors/{group}")));
        Ok(answer)
    }

    /// How the project stands that tickets go to.
    pub(super) async fn project(&self, question: &Question) -> Result<Answer> {
        let status = match self.tools.tickets().project_status(question.owner.organization).await {
            Ok(status) => status,
            Err(Error::Conflict(why) | Error::Invalid(why) | Error::Unavailable(why)) => {
                return Ok(Answer::of(format!("The tracker cannot be asked: {why}.")));
            }
            Err(error) => return Err(error),
        };
        let mut answer = Answer::default();
        let done = status.done.map(|done| format!(", {done} are done")).unwrap_or_default();
        let _ = writeln!(
            answer.text,
            "**{}: {} open tickets{done}.**",
            shown(&status.name),
            status.open
        );
        if let Some(health) = &status.health {
            let _ = writeln!(answer.text, "\nIts own word: {}.", shown(&health.replace('_', " ")));
        }
        if !status.recent.is_empty() {
            answer.text.push_str("\nThe newest:\n");
        }
        for ticket in status.recent.iter().take(NAMED) {
            let line = format!("{} {}", ticket.key, ticket.title);
            let number = answer.cite("tracker", 0, &line);
            let _ = writeln!(answer.text, "- {} [{number}]", shown(&line));
        }
        Ok(answer)
    }
}

/// The error that is named: "error 12", "#12".
fn number(message: &str) -> Option<i64> {
    let mut words = message.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    words.next()?.parse().ok()
}

/// A text of others in an answer's Markdown.
fn shown(text: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '`' | '*' | '[' | ']' | '<' | '>' | '_');
    text.chars().filter(|c| plain(*c)).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn an_error_is_named_by_its_number() {
        assert_eq!(number("create a ticket for error 12"), Some(12));
        assert_eq!(number("open a ticket for #7, please"), Some(7));
        assert_eq!(number("open a ticket"), None);
        assert_eq!(number("open a ticket for 99999999999999999999"), None);
    }
}
