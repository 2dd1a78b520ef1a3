//! `sophon events`.

use crate::arguments::ForUser;
use crate::context::Context;
use crate::door::Door;
use crate::error::CliError;
use crate::output::Format;
use crate::output::{field, plain};
use clap::Args;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::process::ExitCode;

/// The most bytes that one event may have.
const LARGEST: usize = 64 << 10;

/// Show what happens to calls and approvals, as it happens, until the gateway stops. One line an event.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Behind the event with this id.
    #[arg(long)]
    after: Option<String>,
    #[command(flatten)]
    scope: ForUser,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        crate::telemetry::quiet(&context.config()?.log)?;
        let door = Door::open(context, self.scope.into()).await?;
        if door.is_in_process() {
            door.close().await?;
            return Err(CliError::usage("no gateway runs in this home, so nothing happens in it", "sophon serve"));
        }
        let path = format!("/v1/events{}", super::query(&[("after", self.after)]));
        let mut body = door.send(Method::GET, &path, None).await?.into_body();
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            let broken = |error: axum::Error| CliError::Gateway { message: format!("the stream broke off: {error}") };
            let Ok(bytes) = frame.map_err(broken)?.into_data() else { continue };
            for data in lines.push(&bytes)? {
                show(context, &data)?;
            }
        }
        door.close().await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn show(context: &Context, event: &Value) -> Result<(), CliError> {
    let output = context.output();
    let line = match output.format() {
        Format::Json => event.to_string(),
        Format::Text => {
            let names =
                ["at", "event", "user", "tool", "risk", "status", "decision", "approval_id", "call_id", "plan_id"];
            let words = names.iter().map(|name| plain(&field(event, name))).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join("  ")
        }
    };
    output.bytes(format!("{line}\n").as_bytes())
}

/// Finds the `data` of server-sent events in what arrives piece by piece.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Value>, CliError> {
        self.begun.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ") {
                let wrong = |error| CliError::Gateway { message: format!("an event is not JSON: {error}") };
                found.push(serde_json::from_slice(data).map_err(wrong)?);
            }
        }
        if self.begun.len() > LARGEST {
            return Err(CliError::Gateway { message: "an event has no end".into() });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_they_are_cut() {
        let text = b"retry: 2000\n\n: alive\n\nid: 1-1\nevent: call.finished\ndata: {\"event\":\"call.finished\"}\n\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found: Vec<Value> = text.chunks(size).flat_map(|piece| lines.push(piece).unwrap()).collect();
            assert_eq!(found, [serde_json::json!({"event": "call.finished"})]);
        }
        assert!(Lines::default().push(&[b'x'; LARGEST + 1]).is_err());
    }
}
