#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;
use std::borrow::Cow;

struct Point {
    x: u8,
}

/// Borrows.
#[tool(risk = "none")]
fn borrows(text: &str, bytes: &[u8], point: &Point, inside: Option<&str>, deep: Vec<(u8, &'static str)>, cow: Cow<'_, str>) {}

/// Takes what is no one type.
#[tool(risk = "none")]
fn open(some: impl Into<String>, boxed: Box<dyn std::fmt::Display>, call: fn(u8) -> u8, pointer: *const u8) {}

/// Takes a parameter apart.
#[tool(risk = "none")]
fn pattern((a, b): (u8, u8), Point { x }: Point, _: String) {}

/// Marks one of two parameters.
#[tool(risk = "none")]
fn two(#[args] all: String, more: String) {}

/// Marks a parameter twice, and says more.
#[tool(risk = "none")]
fn marked(
    #[args]
    #[args]
    #[arg(default = 1)]
    all: Point,
) {
}

/// Says something in the mark.
#[tool(risk = "none")]
fn mark_with_words(#[args(all)] all: Point) {}

/// Has an attribute that means nothing.
#[tool(risk = "none")]
fn unknown_attribute(#[deprecated] text: String) {}

/// Has options that mean nothing.
#[tool(risk = "none")]
fn unknown_options(
    #[arg(min = 1)] bound: u32,
    #[arg(name = "type")] named: u32,
    #[arg(description = "What it is.")] described: u32,
    #[arg(color = "red")] coloured: u32,
) {
}

/// Has defaults without a value.
#[tool(risk = "none")]
fn defaults(
    #[arg] alone: u32,
    #[arg()] empty: u32,
    #[arg(default)] bare: u32,
    #[arg = 20] assigned: u32,
    #[arg(default = 1, default = 2)] twice: u32,
) {
}

fn main() {}
