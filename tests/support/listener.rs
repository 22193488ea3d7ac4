//! Somebody who listens to a run: reads server-sent events as they come, until the server ends them.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Error, ErrorKind, Result, Write},
    net::TcpStream,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// An open stream of events.
pub struct Listener(BufReader<TcpStream>);

impl Listener {
    /// Listens at a path of a server on this machine, in HTTP/1.0, whose bodies come without sizes in between.
    ///
    /// # Errors
    /// When there is no server, or it refuses.
    pub fn open(port: u16, path: &str) -> Result<Self> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(connection, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(Error::other(format!("no whole head: {head}")));
            }
        }
        if head.starts_with("HTTP/1.0 200") { Ok(Self(reader)) } else { Err(Error::other(head)) }
    }

    /// Everything until the stream ends.
    pub fn to_end(&mut self) -> Vec<(String, Value)> {
        self.collect()
    }
}

/// Name and data of each event. Lines that say nothing, such as comments, are passed over.
impl Iterator for Listener {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing comes, and no end")
                }
                // A server that was killed resets the connection, which is an end, too.
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            if let Some(text) = line.strip_prefix("event: ") {
                text.trim_end().clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(text).expect("JSON")));
            }
        }
    }
}
