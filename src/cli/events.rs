//! Reading a server's event stream.

use futures_util::StreamExt;

/// One event: its name and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// The longest event that is read, in bytes.
const MAX_EVENT: usize = 4 << 20;

/// Calls `each` with every event until the stream ends or `each` has enough.
pub(super) async fn read(
    response: reqwest::Response,
    mut each: impl FnMut(Event) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut chunks = response.bytes_stream();
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        buffer.extend_from_slice(&chunk?);
        while let Some(end) = memchr::memmem::find(&buffer, b"\n\n") {
            let event = parse(&String::from_utf8_lossy(&buffer[..end]));
            buffer.drain(..end + 2);
            if let Some(event) = event
                && !each(event)?
            {
                return Ok(());
            }
        }
        anyhow::ensure!(buffer.len() <= MAX_EVENT, "the server sent an endless event");
    }
    Ok(())
}

/// Comments (heartbeats) and empty events are nothing.
fn parse(text: &str) -> Option<Event> {
    let mut event = Event { name: "message".to_owned(), data: String::new() };
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    (!event.data.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn events_are_read() {
        let event = parse("event: delta\ndata: {\"text\":\ndata: \"a\"}\nid: 3").unwrap();
        assert_eq!((event.name.as_str(), event.data.as_str()), ("delta", "{\"text\":\n\"a\"}"));
        assert_eq!(parse(": heartbeat"), None);
    }
}
