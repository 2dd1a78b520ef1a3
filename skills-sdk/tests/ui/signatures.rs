#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

/// Borrows.
#[tool(risk = "none")]
fn borrows(text: &str, bytes: &[u8]) {}

/// Is asynchronous.
#[tool(risk = "none")]
async fn asynchronous() {}

/// Is generic.
#[tool(risk = "none")]
fn generic<T>(value: T) {}

/// Takes a parameter apart.
#[tool(risk = "none")]
fn pattern((a, b): (u8, u8)) {}

/// Marks one of two parameters.
#[tool(risk = "none")]
fn two(#[args] all: String, more: String) {}

/// Has an attribute that means nothing.
#[tool(risk = "none")]
fn unknown_attribute(#[deprecated] text: String, #[arg(min = 1)] number: u32) {}

fn main() {}
