//! Connections that serve several calls, and those that must not.

use super::{
    super::{
        Tools,
        limits::{CAREFUL_IDLE, IDLE, KEPT_OPEN},
    },
    EFFECTS, call, completed, failed,
    server::{Server, answer, ok},
    tools,
};
use spine_schemas::{Effect, ErrorClass};
use tokio::{io::AsyncReadExt, sync::mpsc};

#[tokio::test]
async fn pure_and_idempotent_calls_share_a_connection() {
    let server = Server::answering(ok("1")).await;
    let tools = tools();
    for _ in 0..5 {
        completed(tools.call(call(&server.url("/a"), Effect::Pure)).await);
        completed(tools.clone().call(call(&server.url("/b"), Effect::Idempotent)).await);
    }
    assert_eq!((server.seen().len(), server.connections()), (10, 1));
}

#[tokio::test]
async fn a_failing_answer_that_was_read_whole_leaves_its_connection_usable() {
    let server = Server::answering(answer("503 Service Unavailable", "", "later")).await;
    let tools = tools();
    for _ in 0..3 {
        failed(tools.call(call(&server.url("/"), Effect::Pure)).await);
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn careful_calls_share_a_connection_only_where_the_server_was_seen_to_keep_it() {
    let server = Server::answering(ok("1")).await;
    let tools = tools();
    let careful = async |effect| {
        completed(tools.call(call(&server.url("/"), effect)).await);
        server.seen().last().expect("it was seen").connection
    };
    let at_once = [careful(Effect::AtMostOnce).await, careful(Effect::Probe).await];
    assert_eq!(at_once, [0, 1], "nothing is known of the server yet");
    tokio::time::sleep(KEPT_OPEN).await;
    assert_eq!(careful(Effect::AtMostOnce).await, 1, "the oldest is open still");
    assert_eq!(careful(Effect::Probe).await, 1);
}

#[tokio::test]
async fn a_careful_call_takes_no_connection_that_waited_for_long() {
    let server = Server::answering(ok("1")).await;
    let tools = tools();
    for effect in [Effect::AtMostOnce, Effect::AtMostOnce, Effect::Pure] {
        completed(tools.call(call(&server.url("/"), effect)).await);
        tokio::time::sleep(CAREFUL_IDLE).await;
    }
    let on: Vec<usize> = server.seen().iter().map(|one| one.connection).collect();
    assert_eq!(on, [0, 1, 1]);
}

#[tokio::test]
async fn a_server_that_ends_its_connections_unannounced_gets_each_careful_call_on_a_fresh_one() {
    let server = Server::closing(ok("1")).await;
    let tools = tools();
    for _ in 0..20 {
        completed(tools.call(call(&server.url("/"), Effect::AtMostOnce)).await);
        tokio::time::sleep(KEPT_OPEN / 20).await;
    }
    assert_eq!((server.seen().len(), server.connections()), (20, 20));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_waited_is_not_used() {
    let (closing, mut closed) = mpsc::channel::<()>(4);
    let server = Server::start(move |mut peer| {
        let closing = closing.clone();
        async move {
            peer.request().await;
            peer.write(ok("1").as_bytes()).await;
            drop(peer);
            closing.send(()).await.unwrap();
        }
    })
    .await;
    let tools = tools();
    for effect in EFFECTS {
        completed(tools.call(call(&server.url("/"), effect)).await);
        closed.recv().await.unwrap();
        // The end of the connection has been sent; the runtime learns of it when it next polls.
        tokio::task::yield_now().await;
        completed(tools.call(call(&server.url("/"), effect)).await);
        closed.recv().await.unwrap();
    }
    assert_eq!((server.seen().len(), server.connections()), (8, 8));
}

#[tokio::test]
async fn a_reused_connection_that_ends_after_the_request_is_transient() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.write(ok("1").as_bytes()).await;
        peer.request().await;
    })
    .await;
    let tools = tools();
    for effect in [Effect::Pure, Effect::Idempotent] {
        completed(tools.call(call(&server.url("/"), effect)).await);
        let error = failed(tools.call(call(&server.url("/"), effect)).await);
        assert_eq!((error.class, &*error.code), (ErrorClass::Transient, "dropped"));
    }
    assert_eq!((server.seen().len(), server.connections()), (4, 2), "nothing is sent twice");
}

#[tokio::test]
async fn answers_that_end_their_connection_are_not_followed_by_another_request_on_it() {
    let closing = answer("200 OK", "Connection: close\r\n", "1");
    let ending = [closing.as_str(), "HTTP/1.0 200 OK\r\n\r\n1"];
    for head in ending {
        let server = Server::closing(head).await;
        let tools = tools();
        for _ in 0..2 {
            completed(tools.call(call(&server.url("/"), Effect::Pure)).await);
        }
        assert_eq!((server.seen().len(), server.connections()), (2, 2));
    }
}

#[tokio::test]
async fn bytes_after_an_answer_end_the_connection_and_answer_nothing() {
    let two = format!("{}{}", ok("1"), ok(r#""forged""#));
    let server = Server::answering(two).await;
    let tools = tools();
    for _ in 0..3 {
        let output = completed(tools.call(call(&server.url("/"), Effect::Pure)).await);
        assert_eq!(output.payload.data, "1");
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 3));
}

#[tokio::test]
async fn concurrent_calls_have_a_connection_each_and_share_them_later() {
    let server = Server::answering(ok("1")).await;
    let tools = tools();
    for _ in 0..2 {
        let calls = (0..8).map(|_| tools.call(call(&server.url("/"), Effect::Pure)));
        futures::future::join_all(calls).await.into_iter().for_each(|end| drop(completed(end)));
    }
    assert_eq!(server.seen().len(), 16);
    assert!(server.connections() <= 8, "{}", server.connections());
}

#[tokio::test]
async fn a_waiting_connection_is_closed_in_time_without_another_call() {
    let (ended, mut was_ended) = mpsc::channel::<bool>(1);
    let server = Server::start(move |mut peer| {
        let ended = ended.clone();
        async move {
            peer.request().await;
            peer.write(ok("1").as_bytes()).await;
            ended.send(peer.stream.read_u8().await.is_err()).await.unwrap();
        }
    })
    .await;
    let tools = tools();
    completed(tools.call(call(&server.url("/"), Effect::Pure)).await);
    tokio::time::pause();
    tokio::time::advance(IDLE).await;
    assert_eq!(was_ended.recv().await, Some(true));
    tokio::time::resume();
    drop(tools);
}
