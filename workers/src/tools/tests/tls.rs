//! Tools inside TLS, with an authority that only the test knows.

use super::{super::Tools, Allowed, HttpTools, call, completed, never_sent, server::ok, tools};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use spine_schemas::{Effect, ErrorClass};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};

struct TlsServer {
    port: u16,
    certificate: CertificateDer<'static>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Serves as `localhost`, and answers every request with the number 1.
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<AtomicUsize>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (counted, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    serve(stream, &counted).await;
                });
            }
        });
        Self { port, certificate: cert.der().clone(), requests, connections }
    }

    fn tools(&self) -> HttpTools {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        HttpTools::with_roots(Allowed::loopback(), roots)
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }
}

async fn serve(mut stream: TlsStream<TcpStream>, requests: &AtomicUsize) {
    const BODY_ENDS: &[u8] = br#"{"cents":4200}"#;
    let mut read = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        read.push(byte);
        if read.ends_with(BODY_ENDS) {
            requests.fetch_add(1, Ordering::SeqCst);
            read.clear();
            stream.write_all(ok("1").as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_tool_inside_tls_is_called_and_its_connection_is_used_again() {
    let server = TlsServer::start().await;
    let tools = server.tools();
    for effect in [Effect::Pure, Effect::Idempotent, Effect::AtMostOnce] {
        let output = completed(tools.call(call(&server.url("localhost"), effect)).await);
        assert_eq!(output.payload.data, "1");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_or_another_name_was_never_sent_to() {
    let server = TlsServer::start().await;
    let unknown = tools().call(call(&server.url("localhost"), Effect::AtMostOnce)).await;
    let misnamed = server.tools().call(call(&server.url("127.0.0.1"), Effect::AtMostOnce)).await;
    for end in [unknown, misnamed] {
        let error = never_sent(end);
        assert_eq!((error.class, &*error.code), (ErrorClass::Transient, "tls"));
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}
