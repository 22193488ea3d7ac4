//! A small HTTP client for one server: no redirects, no proxies, no retries. Problems become failures.

mod events;
mod open;
mod problem;
mod url;

pub(crate) use events::EventReader;
pub(crate) use open::Opened;
pub(crate) use problem::failure_of;
pub(crate) use url::{ServerUrl, query, segment};

use crate::{
    exit::{Exit, Failure},
    output,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// The server answers or gives up within two minutes; this is a little longer.
const ANSWER: Duration = Duration::from_secs(130);
const CONNECT: Duration = Duration::from_secs(5);

/// Which server is asked, and how its answer is shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// Address of the server
    #[arg(long, value_name = "URL", env = "SPINE_SERVER", default_value = "http://127.0.0.1:7700")]
    pub(crate) server: ServerUrl,
    /// Prints the server's JSON instead of text for people
    #[arg(long)]
    pub(crate) json: bool,
}

impl ServerArgs {
    /// POSTs a request and prints the answer: the server's JSON, or for people a line.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn send(
        &self,
        path: &str,
        request: &impl Serialize,
        done: &str,
    ) -> Result<(), Failure> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let answer = Client::new(self).post(path, Content::json(body)).await?;
        output::line(if self.json { &answer.text } else { done })
    }
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its bytes.
    pub(crate) bytes: Bytes,
}

impl Content {
    /// A JSON body.
    pub(crate) fn json(text: impl Into<Bytes>) -> Self {
        Self { media_type: "application/json", bytes: text.into() }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) text: String,
}

impl Answer {
    fn of(status: u16, bytes: &[u8]) -> Self {
        Self { status, text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// Reads the body as what it should be.
    ///
    /// # Errors
    /// When the server speaks another language than this build.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| {
            Failure::new(Exit::Failed, format!("could not read the server's answer: {error}"))
                .remedy("check that server and command are of the same version")
        })
    }
}

/// Asks one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    server: ServerUrl,
    json: bool,
}

impl Client {
    /// A client of the server that the arguments name.
    pub(crate) fn new(args: &ServerArgs) -> Self {
        Self { server: args.server.clone(), json: args.json }
    }

    /// A client that shows failures to people.
    pub(crate) fn of(server: ServerUrl) -> Self {
        Self { server, json: false }
    }

    /// GETs a path.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.granted(self.ask(Method::GET, path, None, &[]).await?)
    }

    /// GETs the first page that holds something, from a cursor on, or the last one: a page may hold nothing although
    /// more follows, since each looks at a bounded number of rows. `behind` gives the cursor behind such a page.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn page<P: DeserializeOwned>(
        &self,
        path: impl Fn(Option<&str>) -> String,
        cursor: Option<&str>,
        behind: impl Fn(&P) -> Option<String>,
    ) -> Result<P, Failure> {
        let mut page: P = self.get(&path(cursor)).await?.read()?;
        while let Some(next) = behind(&page) {
            page = self.get(&path(Some(&next))).await?.read()?;
        }
        Ok(page)
    }

    /// GETs page after page: `path` has the cursor of each, `take` reads one and gives the next cursor.
    ///
    /// # Errors
    /// As [`Self::get`], and what `take` fails with.
    pub(crate) async fn pages<P: DeserializeOwned>(
        &self,
        path: impl Fn(Option<&str>) -> String,
        mut take: impl FnMut(P) -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        let mut cursor: Option<String> = None;
        loop {
            let page = self.get(&path(cursor.as_deref())).await?.read()?;
            cursor = take(page)?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// POSTs to a path.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn post(&self, path: &str, content: Content) -> Result<Answer, Failure> {
        self.post_with(path, content, &[]).await
    }

    /// POSTs to a path with further headers.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn post_with(
        &self,
        path: &str,
        content: Content,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, Failure> {
        self.granted(self.ask(Method::POST, path, Some(content), headers).await?)
    }

    fn granted(&self, answer: Answer) -> Result<Answer, Failure> {
        match answer.status {
            200..=299 => Ok(answer),
            _ => Err(failure_of(&answer, self.json)),
        }
    }

    /// Sends a request and gives the answer, be it a refusal.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, Failure> {
        let request = self.request(method, path, content, headers)?;
        let stream = self.connect().await?;
        let exchanged = timeout(ANSWER, exchange(stream, request)).await;
        match exchanged {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&format!("the connection ended: {error}"))),
            Err(_) => Err(self.unreachable("there was no answer in time")),
        }
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        match timeout(CONNECT, TcpStream::connect(self.server.authority())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error.to_string())),
            Err(_) => Err(self.unreachable("it does not answer")),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content: Option<Content>,
        headers: &[(&'static str, &str)],
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.server.authority())
            .header(header::ACCEPT, "application/json");
        if let Some(content) = &content {
            request = request.header(header::CONTENT_TYPE, content.media_type);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = content.map(|content| content.bytes).unwrap_or_default();
        request.body(Full::new(body)).map_err(|error| {
            Failure::new(Exit::Usage, format!("the request cannot be made: {error}"))
        })
    }

    fn unreachable(&self, why: &str) -> Failure {
        let message = format!("could not reach the server at {}: {why}", self.server);
        Failure::new(Exit::Unreachable, message)
            .remedy("start it with 'spine serve', or name it with --server or SPINE_SERVER")
    }
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(Answer::of(status, &bytes))
}

#[cfg(test)]
mod tests;
