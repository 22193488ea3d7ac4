//! A slow way to a server.

use spine_tests::waits;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A way to a server on which every byte towards it comes late by so many milliseconds.
pub(super) fn delayed(to: &str, delay_ms: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let to = to.to_owned();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&to) else { continue };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { continue };
            carry(near, far, Arc::clone(&delay_ms));
            carry(far_too, near_too, Arc::default());
        }
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay_ms: Arc<AtomicU64>) {
    let (send, receive) = mpsc::sync_channel::<(Instant, Vec<u8>)>(10_000);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::SeqCst));
            if send.send((due, bytes[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receive {
            waits::pass(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
