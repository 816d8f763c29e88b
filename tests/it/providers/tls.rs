//! Who may vouch for a server: the machine's certificates, or those of `ca_file` and nobody else.
//!
//! The certificates beside this file are for these tests alone: an authority, a server at 127.0.0.1 that it vouches for, and an
//! authority that vouches for nobody.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wa_outbox::store::sender::SenderChange;

use crate::support::make::a_text;
use crate::support::provider::{LOGIN, Provided, on_premises};
use crate::support::world::{SENDER, quick_settings};

const SERVER: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server-key.pem");

fn beside(name: &str) -> String {
    format!(
        "{}/tests/it/providers/tls/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A door with TLS before a plain server; gives its address.
async fn door_before(plain: std::net::SocketAddr) -> String {
    let certificates = CertificateDer::pem_slice_iter(SERVER)
        .collect::<Result<_, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("a server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us ends the handshake.
                let Ok(mut secure) = acceptor.accept(stream).await else {
                    return;
                };
                let mut plain = TcpStream::connect(plain).await.expect("the simulator");
                // Either side may hang up at any time.
                let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
            });
        }
    });
    format!("https://{address}")
}

fn vouched_for_by(name: &str) -> SenderChange {
    SenderChange {
        ca_file: Some(beside(name)),
        ..SenderChange::default()
    }
}

#[tokio::test]
async fn a_server_is_spoken_to_only_if_the_named_authority_vouches_for_it() {
    let mut world = Provided::at_rest_with(quick_settings(), on_premises(), LOGIN).await;
    let base_url = door_before(world.simulator.address()).await;
    let at_the_door = SenderChange {
        base_url: Some(base_url),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, at_the_door).await;
    world
        .change_sender(SENDER, vouched_for_by("other-authority.pem"))
        .await;
    world.start_service().await;

    let message = world.enqueue(a_text()).await;
    world
        .until(message, "an attempt that trusted nobody", |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|why| why.contains("no connection"))
        })
        .await;
    assert_eq!((world.requests(), world.simulator.logins()), (0, 0));

    world
        .change_sender(SENDER, vouched_for_by("authority.pem"))
        .await;
    world.until_status(message, "read").await;
    assert_eq!((world.requests(), world.simulator.logins()), (1, 1));
}

#[tokio::test]
async fn without_a_named_authority_the_machines_own_decide() {
    let mut world = Provided::at_rest_with(quick_settings(), on_premises(), LOGIN).await;
    let base_url = door_before(world.simulator.address()).await;
    let at_the_door = SenderChange {
        base_url: Some(base_url),
        ..SenderChange::default()
    };
    world.change_sender(SENDER, at_the_door).await;
    world.start_service().await;
    let message = world.enqueue(a_text()).await;
    world
        .until(message, "an attempt that trusted nobody", |message| {
            message
                .waiting_for
                .as_deref()
                .is_some_and(|why| why.contains("no connection"))
        })
        .await;
    assert_eq!(world.simulator.logins(), 0);
}
