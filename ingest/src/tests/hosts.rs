//! Whom we answer: a table of hosts and origins.

use super::world::{World, settings};
use crate::{Code, hosts};
use axum::{
    body::Body,
    http::{HeaderMap, Request, Uri},
};

fn check(headers: &[(&'static str, &str)], uri: &str) -> Option<Code> {
    let mut settings = settings();
    settings.allowed_hosts.push("spine.internal".into());
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let uri: Uri = uri.parse().unwrap();
    hosts::check(&settings, &uri, &map).err().map(|problem| problem.code())
}

#[test]
fn hosts_that_are_ours() {
    for host in [
        "127.0.0.1:7700",
        "localhost:7700",
        "LOCALHOST:7700",
        "[::1]:7700",
        "127.1.2.3:7700",
        "spine.internal",
    ] {
        assert_eq!(check(&[("host", host)], "/"), None, "{host}");
    }
}

#[test]
fn hosts_that_are_not() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost",
        "example.com",
        "example.com:7700",
        "10.0.0.1:7700",
        "",
        "localhost.example.com:7700",
        "user@localhost:7700",
        "[::]:7700",
        "0.0.0.0:7700",
        "spine.internal:7700",
    ] {
        assert_eq!(check(&[("host", host)], "/"), Some(Code::ForeignHost), "{host}");
    }
    assert_eq!(check(&[], "/"), Some(Code::ForeignHost));
    let twice = [("host", "127.0.0.1:7700"), ("host", "example.com")];
    assert_eq!(check(&twice, "/"), Some(Code::ForeignHost));
    let host = [("host", "127.0.0.1:7700")];
    assert_eq!(check(&host, "http://example.com/"), Some(Code::ForeignHost));
    assert_eq!(check(&host, "http://127.0.0.1:7700/"), None);
}

#[test]
fn origins() {
    let with = |origin| check(&[("host", "127.0.0.1:7700"), ("origin", origin)], "/");
    for ours in ["http://127.0.0.1:7700", "http://localhost:7700", "https://spine.internal"] {
        assert_eq!(with(ours), None, "{ours}");
    }
    for foreign in [
        "null",
        "http://example.com",
        "http://127.0.0.1:8080",
        "https://127.0.0.1:7700",
        "http://localhost",
        "file://",
    ] {
        assert_eq!(with(foreign), Some(Code::ForeignOrigin), "{foreign}");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_reach_us() {
    let world = World::new();
    let request = Request::get("/v1/runs").header("host", "evil.example:7700");
    world.call(request.body(Body::empty()).unwrap()).await.problem(403, "foreign_host");
    let headers = [("origin", "http://evil.example")];
    let reply = world.send("/v1/runs", "application/json", "{}", &headers).await;
    reply.problem(403, "foreign_origin");
}
