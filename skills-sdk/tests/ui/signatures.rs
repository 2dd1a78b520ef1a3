#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

#[tool(risk = "low")]
fn no_description() {}

///
#[tool(risk = "low")]
fn empty_description() {}

/// Is asynchronous.
#[tool(risk = "none")]
async fn asynchronous() {}

/// Is unsafe.
#[tool(risk = "none")]
unsafe fn dangerous() {}

/// Is called from C.
#[tool(risk = "none")]
extern "C" fn foreign() {}

/// Is generic.
#[tool(risk = "none")]
fn generic<T>(value: T) {}

/// Is generic over a lifetime.
#[tool(risk = "none")]
fn lifetime<'a>(text: &'a str) {}

/// Gives back something.
#[tool(risk = "none")]
fn opaque_result() -> impl Iterator<Item = u8> {
    [1_u8].into_iter()
}

/// Gives back a trait object.
#[tool(risk = "none")]
fn boxed_result() -> Result<Box<dyn std::fmt::Display>, sophon_sdk::ToolError> {
    Ok(Box::new(1))
}

fn main() {}
