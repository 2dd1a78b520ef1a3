//! What `#[tool]` and `skill!` make of functions: the description, and the way of a call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sophon_sdk::__private::{CallContext, Entry, WitToolError, describe_json, description, dispatch};
use sophon_sdk::{OrFail, Result, bail, context, tool};

sophon_sdk::skill!(plain, optional, renamed, whole, nothing, drafts::send, tree);

/// Says hello.
///
/// Politely.
#[tool(risk = "none")]
fn plain(
    /// Whom to greet.
    name: String,
) -> String {
    format!("hello {name}")
}

/// Has every kind of parameter.
#[tool(risk = "low", editable)]
fn optional(
    required: u32,
    left_out: Option<String>,
    #[arg(default = 7)] with_default: u8,
    #[serde(rename = "type")] kind: Option<Kind>,
    #[schemars(range(min = 1, max = 5))] ranged: Option<i64>,
) -> Vec<String> {
    vec![format!("{required} {left_out:?} {with_default} {} {ranged:?}", kind.is_some())]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Big,
    Small,
}

/// Has another name, and fails.
#[tool(risk = "high", effects = ["delete", "email"], name = "re.named-2")]
fn renamed(how: String) -> std::result::Result<(), sophon_sdk::ToolError> {
    match how.as_str() {
        "bail" => bail!(not_found, "no `{how}`"),
        "std" => {
            how.parse::<u8>()?;
        }
        _ => None::<u8>.map(drop).invalid_arguments("bad how")?,
    }
    Ok(())
}

/// Takes one struct.
#[tool(risk = "none")]
fn whole(#[args] point: Point) -> Result<Point> {
    Ok(Point { x: point.y, y: point.x })
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Point {
    /// To the right.
    x: i32,
    y: i32,
}

/// Takes and gives nothing.
#[tool(risk = "none")]
fn nothing() {}

mod drafts {
    /// Is in a module, and returns an error of its own.
    #[sophon_sdk::tool(risk = "medium")]
    pub(crate) fn send() -> Result<String, std::num::ParseIntError> {
        "x".parse::<u8>().map(|n| n.to_string())
    }
}

#[derive(Default, Serialize, JsonSchema)]
struct Node {
    children: Vec<Node>,
}

/// Returns a type that holds itself.
#[tool(risk = "none")]
fn tree() -> Node {
    Node::default()
}

#[expect(clippy::unwrap_used, reason = "a test")]
fn call(name: &str, arguments: &Value) -> Result<Value, String> {
    let tools = [
        Entry::of::<plain>(),
        Entry::of::<optional>(),
        Entry::of::<renamed>(),
        Entry::of::<whole>(),
        Entry::of::<nothing>(),
        Entry::of::<drafts::send>(),
    ];
    let from = CallContext {
        call_id: "call-1".into(),
        correlation_id: "correlation-1".into(),
        session: None,
        deadline_ms: 1500,
    };
    match dispatch(&tools, name, &arguments.to_string(), from) {
        Ok(result) => Ok(serde_json::from_str(&result).unwrap()),
        Err(WitToolError::UnknownTool(text)) => Err(format!("unknown-tool {text}")),
        Err(WitToolError::InvalidArguments(text)) => Err(format!("invalid-arguments {text}")),
        Err(WitToolError::NotFound(text)) => Err(format!("not-found {text}")),
        Err(WitToolError::Failed(text)) => Err(format!("failed {text}")),
        Err(other) => Err(format!("{other:?}")),
    }
}

#[test]
fn calls_reach_their_function() {
    #[track_caller]
    fn check(name: &str, arguments: Value, want: Result<Value, &str>) {
        assert_eq!(call(name, &arguments), want.map_err(str::to_owned));
    }
    check("plain", json!({"name": "Ada"}), Ok(json!("hello Ada")));
    check("optional", json!({"required": 1}), Ok(json!(["1 None 7 false None"])));
    check(
        "optional",
        json!({"required": 1, "left_out": null, "with_default": 2, "type": "big", "ranged": 3}),
        Ok(json!(["1 None 2 true Some(3)"])),
    );
    check("whole", json!({"x": 1, "y": 2}), Ok(json!({"x": 2, "y": 1})));
    check("nothing", json!({}), Ok(json!(null)));
    check("renamed", json!({}), Err("unknown-tool renamed"));
    check("re.named-2", json!({"how": "bail"}), Err("not-found no `bail`"));
    check("re.named-2", json!({"how": "std"}), Err("failed invalid digit found in string"));
    check("re.named-2", json!({"how": "other"}), Err("invalid-arguments bad how"));
    check("send", json!({}), Err("failed invalid digit found in string"));
    for arguments in [json!({}), json!({"name": 1}), json!({"name": "Ada", "extra": 1}), json!([1])] {
        let error = call("plain", &arguments).unwrap_err();
        assert!(error.starts_with("invalid-arguments plain: the arguments do not fit"), "{arguments}: {error}");
    }
}

#[test]
fn the_function_stays_a_function() {
    assert_eq!(plain("Ada".into()), "hello Ada");
    assert_eq!(whole(Point { x: 1, y: 2 }).unwrap().x, 2);
}

#[test]
fn a_call_knows_where_it_stands() {
    call("nothing", &json!({})).unwrap();
    let now = context::current();
    assert_eq!((now.call_id.as_str(), now.correlation_id.as_str()), ("call-1", "correlation-1"));
    assert_eq!(now.deadline.as_millis(), 1500);
}

#[test]
fn descriptions() {
    let tools = describe_json(&[
        description::<plain>,
        description::<optional>,
        description::<renamed>,
        description::<nothing>,
        description::<tree>,
    ]);
    let tools: Value = serde_json::from_str(&tools).unwrap();
    let object = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let mut plain = object(json!({"name": {"type": "string", "description": "Whom to greet."}}));
    plain["required"] = json!(["name"]);
    let mut optional = object(json!({
        "required": {"type": "integer", "minimum": 0},
        "left_out": {"type": ["string", "null"]},
        "with_default": {"type": "integer", "minimum": 0, "maximum": 255, "default": 7},
        "type": {"type": ["string", "null"], "enum": ["big", "small", null]},
        "ranged": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
    }));
    optional["required"] = json!(["required"]);
    let mut renamed = object(json!({"how": {"type": "string"}}));
    renamed["required"] = json!(["how"]);
    let node = |child: Value| {
        json!({
            "type": "object",
            "properties": {"children": {"type": "array", "items": child}},
            "required": ["children"],
        })
    };
    // The second level is the first that has a name to point at.
    let reference = json!({"$ref": "#/$defs/Node"});
    let mut tree = node(node(reference.clone()));
    tree["$defs"] = json!({"Node": node(reference)});

    assert_eq!(
        tools,
        json!([
            {
                "name": "plain", "description": "Says hello.\n\nPolitely.", "riskLevel": "none",
                "parameters": plain, "returns": {"type": "string"},
            },
            {
                "name": "optional", "description": "Has every kind of parameter.", "riskLevel": "low",
                "parameters": optional, "returns": {"type": "array", "items": {"type": "string"}}, "editable": true,
            },
            {
                "name": "re.named-2", "description": "Has another name, and fails.", "riskLevel": "high",
                "parameters": renamed, "returns": {"type": "null"}, "effects": ["delete", "email"],
            },
            {
                "name": "nothing", "description": "Takes and gives nothing.", "riskLevel": "none",
                "parameters": object(json!({})), "returns": {"type": "null"},
            },
            {
                "name": "tree", "description": "Returns a type that holds itself.", "riskLevel": "none",
                "parameters": object(json!({})), "returns": tree,
            },
        ])
    );
}

#[test]
fn the_stand_in_host_answers() {
    use sophon_sdk::testing::Host;
    use sophon_sdk::{credentials, http, log, progress, settings, state, workspace};

    let host = Host::new().setting("size", "12").connected("a").with_state("k/1", "1").answer(
        "POST",
        "https://a/b?c=d",
        201,
        "{}",
    );
    host.run(|| -> Result<()> {
        assert_eq!(settings::parsed::<u8>("size")?, Some(12));
        assert!(settings::required("other").is_err());
        assert!(credentials::connected("a") && credentials::require("b").is_err());
        let answer =
            http::post("https://a").path(["b"]).query("c", "d").json(&json!([1])).send()?.error_for_status()?;
        assert_eq!((answer.status(), answer.bytes()), (201, &b"{}"[..]));
        assert_eq!(state::update("k/1", |n: Option<u32>| Ok(n.unwrap_or(0) + 1))?, 2);
        state::write("k/2", "text")?;
        assert_eq!(state::keys("k/")?, ["k/1", "k/2"]);
        assert!(matches!(state::read::<u8>("k/2"), Err(state::Error::Json(..))));
        state::delete("k/2")?;
        progress::step(1, 3, "one");
        progress::step(0, 0, "none");
        log::warn("careful");
        workspace::write("d/f.txt", "x")?;
        workspace::append("d/f.txt", "y")?;
        assert_eq!(workspace::read_text("d/f.txt")?, "xy");
        assert_eq!(workspace::list("")?[0].kind, workspace::EntryKind::Folder);
        workspace::remove("d")?;
        assert!(workspace::read("d/f.txt").is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(host.state("k/1").as_deref(), Some(&b"2"[..]));
    assert_eq!(host.state("k/2"), None);
    assert_eq!(host.sent()[0].body.as_deref(), Some(&b"[1]"[..]));
    assert_eq!(host.progress(), [(33, "one".to_owned()), (100, "none".to_owned())]);
    assert_eq!(host.log(), ["warn: careful"]);
}
