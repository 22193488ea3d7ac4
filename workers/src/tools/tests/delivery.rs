//! Was it sent, and what may have happened? Refusals, silences and broken answers at every byte.

use super::{
    super::{
        Tools,
        connection::{Connection, Unanswered},
        dial::NotSent,
        request,
        target::Target,
    },
    BRIEF, EFFECTS, call, failed, for_every_effect, never_sent,
    server::{Server, answer},
    silent_class, tools,
};
use spine_schemas::{Effect, ErrorClass};
use std::time::Duration;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

use ErrorClass::{Timeout, Transient};

/// An address on which nobody listens.
async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_refused_connection_was_never_sent_for_any_effect() {
    let address = free_address().await;
    for effect in EFFECTS {
        let end = tools().call(call(&format!("http://{address}/"), effect)).await;
        let error = never_sent(end);
        assert_eq!((error.class, error.code.as_str()), (Transient, "connect_refused"));
    }
}

#[tokio::test]
async fn a_name_without_an_address_was_never_sent() {
    let tools = super::HttpTools::new(super::Allowed::parse(["*.invalid"]).unwrap());
    let error = never_sent(tools.call(call("http://nobody.invalid/", Effect::AtMostOnce)).await);
    assert_eq!((error.class, error.code.as_str()), (Transient, "dns"));
}

#[tokio::test]
async fn tls_with_a_remote_that_speaks_none_was_never_sent() {
    let server = Server::start(|mut peer| async move { peer.write(b"220 mail\r\n").await }).await;
    let url = format!("https://{}/", server.address);
    let error = never_sent(tools().call(call(&url, Effect::AtMostOnce)).await);
    assert_eq!((error.class, error.code.as_str()), (Transient, "tls"));
}

#[tokio::test]
async fn a_remote_that_never_ends_the_tls_handshake_was_never_sent() {
    let server = Server::start(|peer| async move {
        std::future::pending::<()>().await;
        drop(peer);
    })
    .await;
    let mut call = call(&format!("https://{}/", server.address), Effect::AtMostOnce);
    call.timeout = BRIEF;
    assert_eq!(never_sent(tools().call(call).await).code, "connect_timeout");
}

#[tokio::test]
async fn f1_a_tool_that_stays_silent_ends_as_timeout() {
    for_every_effect(|effect| async move {
        let server = Server::stalling("").await;
        let mut call = call(&server.url("/"), effect);
        call.timeout = BRIEF;
        let error = failed(tools().call(call).await);
        assert_eq!(server.seen().len(), 1);
        assert_eq!((error.class, &*error.code), (silent_class(effect, Timeout), "timeout"));
        assert_eq!(error.message, "no answer within 400 ms");
    })
    .await;
}

#[tokio::test]
async fn f13_an_at_most_once_request_without_an_answer_is_unknown_and_seen_once() {
    let server = Server::closing("").await;
    let error = failed(tools().call(call(&server.url("/email"), Effect::AtMostOnce)).await);
    assert_eq!(server.seen().len(), 1, "the email is sent once");
    assert_eq!((error.class, &*error.code), (ErrorClass::UnknownOutcome, "dropped"));
}

#[tokio::test]
async fn f14_a_reply_that_is_dropped_after_the_charge_leaves_one_key_for_every_attempt() {
    let server = Server::closing("").await;
    let tools = tools();
    let first = call(&server.url("/charge"), Effect::Idempotent);
    let mut second = first.clone();
    second.attempt = 2;
    for call in [first, second] {
        let error = failed(tools.call(call).await);
        assert_eq!((error.class, &*error.code), (Transient, "dropped"));
    }
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|one| one.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 2, "each call is one request");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].len(), 64);
}

#[tokio::test]
async fn an_answer_that_breaks_off_at_any_byte_is_silence() {
    let whole = super::server::ok(r#"{"ok":true}"#);
    for effect in [Effect::Idempotent, Effect::AtMostOnce] {
        for length in 0..whole.len() {
            let server = Server::closing(&whole.as_bytes()[..length]).await;
            let error = failed(tools().call(call(&server.url("/"), effect)).await);
            assert_eq!(server.seen().len(), 1, "cut at {length}");
            assert_eq!(error.class, silent_class(effect, Transient), "cut at {length}");
            assert_eq!(error.code, "dropped", "cut at {length}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_stalls_in_head_or_body_ends_in_time() {
    let whole = super::server::ok(r#"{"ok":true}"#);
    let whole = whole.as_bytes();
    for_every_effect(|effect| async move {
        for length in [9, whole.len() - 12, whole.len() - 1] {
            let server = Server::stalling(&whole[..length]).await;
            let mut call = call(&server.url("/"), effect);
            call.timeout = BRIEF;
            let error = failed(tools().call(call).await);
            assert_eq!((error.class, &*error.code), (silent_class(effect, Timeout), "timeout"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_drip_does_not_outlive_the_time_out() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        let mut drip = tokio::time::interval(Duration::from_millis(5));
        loop {
            drip.tick().await;
            peer.write(b"x").await;
        }
    })
    .await;
    let mut call = call(&server.url("/"), Effect::Idempotent);
    call.timeout = BRIEF;
    let started = Instant::now();
    assert_eq!(failed(tools().call(call).await).class, Timeout);
    assert!(started.elapsed() < Duration::from_secs(30), "it ends by the time-out, not the body");
}

#[tokio::test]
async fn a_failing_answer_is_judged_by_its_status_even_if_its_body_breaks_off() {
    let head = "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 100\r\n\r\nno cents";
    for_every_effect(|effect| async move {
        let server = Server::closing(head).await;
        let error = failed(tools().call(call(&server.url("/"), effect)).await);
        assert_eq!((error.class, &*error.code), (ErrorClass::Terminal, "http_422"));
        assert!(error.message.ends_with("no cents"), "{}", error.message);

        let server = Server::stalling(head).await;
        let mut call = call(&server.url("/"), effect);
        call.timeout = BRIEF;
        assert_eq!(failed(tools().call(call).await).code, "http_422");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_ambiguous() {
    let heads = [
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)),
    ];
    for head in heads {
        for effect in EFFECTS {
            let server = Server::stalling(head.as_str()).await;
            let error = failed(tools().call(call(&server.url("/"), effect)).await);
            assert_eq!(error.class, silent_class(effect, Transient), "{error:?}");
            assert_eq!(error.code, "bad_answer", "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_after_the_request_is_ambiguous() {
    for effect in EFFECTS {
        let server = Server::start(|mut peer| async move {
            peer.request().await;
            peer.reset();
        })
        .await;
        let error = failed(tools().call(call(&server.url("/"), effect)).await);
        assert_eq!((error.class, &*error.code), (silent_class(effect, Transient), "dropped"));
    }
}

#[tokio::test]
async fn an_interim_answer_is_passed_over() {
    let both = format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", answer("404 Not Found", "", ""));
    let server = Server::answering(both).await;
    let error = failed(tools().call(call(&server.url("/"), Effect::AtMostOnce)).await);
    assert_eq!(error.code, "http_404");
}

#[tokio::test]
async fn a_process_that_was_stopped_before_sending_does_not_send_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut remote, _) = listener.accept().await.unwrap();
    let mut connection = Connection::over(Box::new(stream)).await.unwrap();

    let call = call(&format!("http://{address}/"), Effect::AtMostOnce);
    let request = request::build(&call, &Target::parse(&call.tool).unwrap());
    let unanswered = connection.ask(request, Instant::now()).await.unwrap_err();
    assert_eq!(unanswered, Unanswered::NotSent(NotSent::Late));

    drop(connection);
    let mut arrived = Vec::new();
    remote.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"", "not one byte was written");
}

#[tokio::test]
async fn a_request_that_timed_out_half_written_is_unknown_and_never_becomes_whole() {
    let (over, ended) = oneshot::channel::<()>();
    let (found, arrived) = oneshot::channel();
    let script = std::sync::Mutex::new(Some((ended, found)));
    let server = Server::start(move |mut peer| {
        let (ended, found) = script.lock().unwrap().take().unwrap();
        async move {
            ended.await.unwrap();
            let mut bytes = Vec::new();
            let end = peer.stream.read_to_end(&mut bytes).await;
            found.send((bytes.len(), end.map_err(|error| error.kind()))).unwrap();
        }
    })
    .await;
    const BODY_BYTES: usize = 64 * 1024 * 1024;
    let mut call = call(&server.url("/"), Effect::AtMostOnce);
    call.body = vec![b'1'; BODY_BYTES].into();
    call.timeout = BRIEF;
    assert_eq!(failed(tools().call(call).await).class, ErrorClass::UnknownOutcome);

    over.send(()).unwrap();
    let (read_bytes, end) = arrived.await.unwrap();
    assert!(read_bytes < BODY_BYTES);
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "what was unsent is discarded");
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_connection_with_it() {
    let (read, was_read) = oneshot::channel();
    let (closed, was_closed) = oneshot::channel();
    let script = std::sync::Mutex::new(Some((read, closed)));
    let server = Server::start(move |mut peer| {
        let (read, closed) = script.lock().unwrap().take().unwrap();
        async move {
            peer.request().await;
            read.send(()).unwrap();
            closed.send(peer.stream.read_u8().await.is_err()).unwrap();
        }
    })
    .await;
    let calling = tokio::spawn({
        let call = call(&server.url("/"), Effect::Pure);
        async move { tools().call(call).await }
    });
    was_read.await.unwrap();
    calling.abort();
    assert!(was_closed.await.unwrap());
}
