//! Reads server-sent events as the server writes them: a name and one line of data each, comments in between.

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// Its name.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: String,
}

/// Takes bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl EventReader {
    /// The events that are whole with these bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            events.extend(self.take_line(&line));
        }
        events
    }

    fn take_line(&mut self, line: &str) -> Option<ServerEvent> {
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut self.name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            data.clone_into(&mut self.data);
        }
        let is_end = line.is_empty() && !self.name.is_empty();
        is_end.then(|| ServerEvent {
            name: std::mem::take(&mut self.name),
            data: std::mem::take(&mut self.data),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_their_bytes_come() {
        let text = "event: part\ndata: {\"data\":\"é\"}\n\n:\n\nevent: run_ended\ndata: {}\n\n";
        for size in 1..=text.len() {
            let mut reader = EventReader::default();
            let events: Vec<ServerEvent> =
                text.as_bytes().chunks(size).flat_map(|bytes| reader.read(bytes)).collect();
            let event =
                |name: &str, data: &str| ServerEvent { name: name.into(), data: data.into() };
            assert_eq!(events, [event("part", "{\"data\":\"é\"}"), event("run_ended", "{}")]);
        }
    }
}
