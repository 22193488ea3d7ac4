//! The tool server: a thread per connection, every call and every effect remembered with its times.

use crate::answers::Answer;
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Instant,
};

/// One call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it had arrived whole.
    pub at: Instant,
    /// Path of the tool.
    pub path: String,
    /// `Spine-Run`.
    pub run: String,
    /// `Spine-Step`, its text form.
    pub step: String,
    /// `Spine-Attempt`.
    pub attempt: u32,
    /// `Idempotency-Key`.
    pub key: String,
    /// The body.
    pub body: String,
    /// Whether the effect happened.
    pub effect: bool,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    per_step: BTreeMap<(String, String), usize>,
    /// What a tool keeps that writes the key and its row in one transaction.
    rows: BTreeMap<String, usize>,
}

/// How it answers: the call, and how many calls of this step came before.
pub type Behaviour = dyn Fn(&Call, usize) -> Answer + Send + Sync;

/// A running tool server.
#[derive(Clone)]
pub struct Fx {
    url: String,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Arc<Behaviour>>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Fx {
    /// A server that behaves so.
    pub fn start(behaviour: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let fx = Self { url, seen: Arc::default(), behaviour: Arc::new(Mutex::new(behaviour)) };
        let accepting = fx.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let fx = accepting.clone();
                // A connection that breaks is the business of the other side.
                thread::spawn(move || drop(fx.converse(connection)));
            }
        });
        fx
    }

    /// A server whose effects always happen.
    pub fn willing() -> Self {
        Self::start(|_, _| Answer::Done)
    }

    /// Behaves otherwise from now on.
    pub fn behave(&self, behaviour: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) {
        *lock(&self.behaviour) = Arc::new(behaviour);
    }

    /// The address of a tool.
    pub fn tool(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// Every call, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.seen).calls.clone()
    }

    /// The calls of one step of a run.
    pub fn calls_of(&self, run: &str, step: &str) -> Vec<Call> {
        let step = format!("{step}#1");
        self.calls().into_iter().filter(|call| call.run == run && call.step == step).collect()
    }

    /// Effects of each step.
    pub fn effects(&self) -> BTreeMap<(String, String), usize> {
        let mut effects = BTreeMap::new();
        for call in lock(&self.seen).calls.iter().filter(|call| call.effect) {
            *effects.entry((call.run.clone(), call.step.clone())).or_default() += 1;
        }
        effects
    }

    /// Rows by idempotency key, as a tool has them that writes both in one transaction.
    pub fn rows(&self) -> BTreeMap<String, usize> {
        lock(&self.seen).rows.clone()
    }

    fn converse(&self, mut connection: TcpStream) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection.try_clone()?);
        while let Some(call) = read_call(&mut reader)? {
            let reply = match self.judge(call) {
                (Answer::DoneThenDrops, _) => return Ok(()),
                (Answer::Hangs, _) => {
                    // Until the caller gives up.
                    reader.read_to_end(&mut Vec::new())?;
                    return Ok(());
                }
                (Answer::Done, step) => reply(200, "", &json!({"did": step}).to_string()),
                (Answer::Says(text), _) => reply(200, "", &text),
                (Answer::DoneAfter(wait), step) => {
                    thread::sleep(wait);
                    reply(200, "", &json!({"did": step}).to_string())
                }
                (Answer::Refuses(status) | Answer::DoneThen(status), _) => {
                    reply(status, "", "{\"error\":\"scripted\"}")
                }
                (Answer::RefusesFor(status, seconds), _) => {
                    reply(status, &format!("Retry-After: {seconds}\r\n"), "{}")
                }
            };
            connection.write_all(reply.as_bytes())?;
        }
        Ok(())
    }

    /// Decides, and remembers the call and what it did before anything is said.
    fn judge(&self, mut call: Call) -> (Answer, String) {
        let behaviour = Arc::clone(&lock(&self.behaviour));
        let mut seen = lock(&self.seen);
        let before = seen.per_step.entry((call.run.clone(), call.step.clone())).or_default();
        let answer = behaviour(&call, *before);
        *before += 1;
        call.effect = match answer {
            Answer::Refuses(_) | Answer::RefusesFor(..) | Answer::Hangs => false,
            Answer::Done
            | Answer::DoneThen(_)
            | Answer::DoneThenDrops
            | Answer::DoneAfter(_)
            | Answer::Says(_) => true,
        };
        if call.effect {
            seen.rows.entry(call.key.clone()).or_insert(1);
        }
        let step = call.step.clone();
        seen.calls.push(call);
        (answer, step)
    }
}

fn reply(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The next call of a connection; `None` when the caller has left.
fn read_call(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Call {
        at: Instant::now(),
        path,
        run: header("spine-run"),
        step: header("spine-step"),
        attempt: header("spine-attempt").parse().unwrap_or(0),
        key: header("idempotency-key"),
        body: String::from_utf8_lossy(&body).into_owned(),
        effect: false,
    }))
}
