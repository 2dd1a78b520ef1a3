//! The real resolver and dialer, on this machine's loopback only.

use crate::server::{Identity, Log, Script, answer, serve};
use crate::world::{World, manifest, tight};
use sophon_egress::{Dial, HttpRequest, Roots, SystemResolver, TcpDialer};
use sophon_types::Fault;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A TLS server on a free port.
async fn listening(identity: &Identity, log: &Log) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tls, log) = (Arc::clone(&identity.tls), log.clone());
    let script: Script = Arc::new(|seen| answer(200, &[], seen.target().as_bytes()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Some(Arc::clone(&tls)), Arc::clone(&script), log.clone(), 0));
        }
    });
    address
}

#[tokio::test]
async fn attack_13_the_real_network_is_reached_directly_and_by_grant_only() {
    let identity = Identity::of(&["localhost", "127.0.0.1"]);
    let log = Log::default();
    let address = listening(&identity, &log).await;
    let mut world = World::new(tight()).await;
    let roots = Roots::mozilla().with(identity.root.clone());
    world.over(roots, Arc::new(SystemResolver::new()), Arc::new(TcpDialer));
    let port = address.port();
    let rules =
        manifest(&format!(r#"[{{"host":"localhost","ports":[{port}]}},{{"host":"127.0.0.1","ports":[{port}]}}]"#));
    for host in ["localhost", "127.0.0.1"] {
        let request = HttpRequest::new("GET", format!("https://{host}:{port}/a%2fb?c=d"));
        // The manifest alone does not open this machine.
        let refused = world.session(&rules, &[]).await.send(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), "address_not_allowed", "{host}");
        assert_eq!(log.len(), 0);
        let grant = format!("{host}:{port}");
        let response = world.session(&rules, &[&grant]).await.send(request.clone()).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"/a%2fb?c=d"[..]), "{host}");
        assert_eq!(log.all()[0].header("host"), Some(grant.as_str()));
        log.clear();
    }
    world.own.add(address);
    let request = HttpRequest::new("GET", format!("https://127.0.0.1:{port}/"));
    let refused = world.session(&rules, &[&address.to_string()]).await.send(request).await.unwrap_err();
    assert_eq!(refused.code(), "own_listener");
    assert_eq!(log.len(), 0);
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let identity = Identity::of(&["localhost", "127.0.0.1"]);
    let log = Log::default();
    let address = listening(&identity, &log).await;
    let mut world = World::new(tight()).await;
    world.over(Roots::mozilla(), Arc::new(SystemResolver::new()), Arc::new(TcpDialer));
    let session = world.session(&manifest("[]"), &[&address.to_string()]).await;
    let error = session.send(HttpRequest::new("GET", format!("https://{address}/"))).await.unwrap_err();
    assert_eq!((error.code(), log.len()), ("tls_failed", 0));
}

#[test]
fn the_dialer_knows_this_machine() {
    assert!(TcpDialer.is_local("127.0.0.1".parse().unwrap()));
    assert!(!TcpDialer.is_local("192.0.2.1".parse().unwrap()));
}
