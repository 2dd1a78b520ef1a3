//! Echoes the argument `text` of a call, as `text-tools.echo` does.

use serde::{Deserialize, Serialize};
use wstd::http::{Body, Error, Request, Response};

#[derive(Deserialize)]
struct Call {
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    text: String,
}

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    content: String,
}

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let mut body = request.into_body();
    let call: Call = body.json().await?;
    let answer = Answer { status: "succeeded", content: call.arguments.text };
    Ok(Response::builder().header("content-type", "application/json").body(Body::from_json(&answer)?)?)
}
