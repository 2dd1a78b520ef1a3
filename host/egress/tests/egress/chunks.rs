//! A brokered secret in an answer whose chunks are cut anywhere.

use crate::credentials::{NAMED, URL, connect, with_credential};
use crate::server::Step;
use crate::world::{World, manifest, tight};
use serde::Deserialize;
use sophon_corpora::{Figure, rows};
use sophon_egress::HttpRequest;
use sophon_vault::Attach;
use std::sync::{Arc, Mutex};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    expect: String,
    text: String,
    secret: Option<String>,
    source: String,
}

/// A chunked answer: each piece is a chunk, and a write, of its own.
fn chunked(pieces: &[&[u8]]) -> Vec<Step> {
    let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())];
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let size = format!("{:x}\r\n", piece.len()).into_bytes();
        steps.push(Step::Send([&size, *piece, b"\r\n"].concat()));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    steps
}

#[tokio::test]
async fn attack_15_a_secret_is_found_wherever_the_chunks_of_an_answer_are_cut() {
    let Some(rows) = rows::<Row>("secrets") else { return };
    let mut figure = Figure::new("secrets", "redacted at every cut of the chunks");
    let mut limits = tight();
    // One connection for many answers: a handshake for each would take minutes.
    limits.idle_per_origin = 4;
    limits.requests_per_call = 4096;
    let world = World::new(limits).await;
    let rows: Vec<_> = rows.into_iter().filter(|row| row.source == "house-made" && row.expect == "detect").collect();
    let secret = rows[0].secret.as_deref().unwrap();
    connect(&world, None, Attach::Bearer { field: "token".into() }, &[("token", secret)]).await;
    let pieces: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sent = Arc::clone(&pieces);
    world.script(move |_| chunked(&sent.lock().unwrap().iter().map(Vec::as_slice).collect::<Vec<_>>()));
    let rules = manifest(NAMED);
    for row in &rows {
        assert_eq!(row.secret.as_deref(), Some(secret));
        let text = row.text.replace("|CHUNK|", "");
        let body = format!("before {text} after").into_bytes();
        let answer = |cut: Vec<Vec<u8>>| *pieces.lock().unwrap() = cut;
        let session = world.session(&rules, &[]).await;
        let received = async |request| session.send(request).await.unwrap().body.to_vec();

        // Where no secret was lent there is nothing to hide: what the server sends does hold it, and does arrive.
        answer(vec![body[..9].to_vec(), body[9..].to_vec()]);
        assert_eq!(received(HttpRequest::new("GET", URL)).await, body, "{}", row.kind);
        answer(vec![body.clone()]);
        let whole = received(with_credential("GET", URL)).await;
        assert!(whole.starts_with(b"before ") && whole.ends_with(b" after"), "{}", row.kind);
        let shown = String::from_utf8_lossy(&whole);
        assert!(shown.contains("[redacted:github.token]") && !shown.contains(&text), "{}: {shown}", row.kind);
        for cut in 1..body.len() {
            answer(vec![body[..cut].to_vec(), body[cut..].to_vec()]);
            let found = received(with_credential("GET", URL)).await;
            assert!(found == whole, "{} cut at {cut}: {}", row.kind, String::from_utf8_lossy(&found));
            figure.count(&row.kind, true);
        }
        answer(body.iter().map(|byte| vec![*byte]).collect());
        assert!(received(with_credential("GET", URL)).await == whole, "{} in single bytes", row.kind);
    }
    figure.publish();
    assert!(rows.len() >= 10 && figure.total().0 >= 1000, "{:?}", figure.total());
}
