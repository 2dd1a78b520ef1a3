//! The options in `#[tool(..)]`. Every complaint stands on the token that is wrong and shows what to write there.

use proc_macro2::{Span, TokenStream};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Meta, Token};

use crate::errors::{Errors, closest, quoted_list};

const RISKS: [&str; 5] = ["none", "low", "medium", "high", "critical"];
const EFFECTS: [&str; 6] = ["delete", "email", "message", "payment", "publish", "shell"];
const OPTIONS: [&str; 4] = ["risk", "effects", "editable", "name"];

pub(crate) struct Options {
    pub(crate) risk: String,
    pub(crate) effects: Vec<String>,
    pub(crate) editable: Editable,
    pub(crate) name: Option<LitStr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Editable {
    Yes,
    No,
}

impl Options {
    /// The options; nothing where there is something to complain about.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Option<Self> {
        let before = errors.count();
        let list = errors.take(list.parse2(tokens))?;
        let mut options = Self { risk: String::new(), effects: Vec::new(), editable: Editable::No, name: None };
        let mut seen: Vec<String> = Vec::new();
        for option in &list {
            let path = option.path();
            let key = path.get_ident().map(Ident::to_string).unwrap_or_default();
            if !OPTIONS.contains(&key.as_str()) {
                errors.add(path, &no_such_option(&key));
                continue;
            }
            if seen.contains(&key) {
                errors.add(path, &format!("`{key}` stands here twice; remove one of the two"));
                continue;
            }
            match key.as_str() {
                "risk" => options.risk = errors.take(risk(option)).unwrap_or_default(),
                "effects" => options.effects = effects(option, errors),
                "editable" => options.editable = errors.take(editable(option)).unwrap_or(Editable::No),
                _ => options.name = errors.take(name(option)),
            }
            seen.push(key);
        }
        if !seen.iter().any(|key| key == "risk") {
            let message =
                "say how risky the tool is at its worst: #[tool(risk = \"none\")], or low, medium, high, critical";
            errors.push(syn::Error::new(list.first().map_or_else(Span::call_site, Spanned::span), message));
        }
        (errors.count() == before).then_some(options)
    }
}

/// What stands between the parentheses.
fn list(input: ParseStream<'_>) -> syn::Result<Vec<Meta>> {
    if input.peek(Lit) {
        return Err(input.error("an option has a name: #[tool(risk = \"none\")]"));
    }
    let list = Punctuated::<Meta, Token![,]>::parse_terminated(input).map_err(|error| {
        syn::Error::new(
            error.span(),
            format!("{error}; options are written so: #[tool(risk = \"low\", effects = [\"email\"])]"),
        )
    })?;
    Ok(list.into_iter().collect())
}

fn no_such_option(key: &str) -> String {
    match key {
        "description" | "desc" | "doc" | "about" => {
            "the description is the doc comment: write `/// What it does.` above the tool".to_owned()
        }
        "effect" => {
            "write effects = [\"delete\"]; no other effect is meant than what the tool does to the world".to_owned()
        }
        "riskLevel" | "risk_level" | "level" => "write risk = \"none\", or low, medium, high, critical".to_owned(),
        "default" => "a default belongs to a parameter: #[arg(default = 20)] limit: u32".to_owned(),
        _ => format!("no such option; there are {}", OPTIONS.join(", ")),
    }
}

/// The text that an option is set to; `example` is what to write instead of anything else.
fn text<'a>(option: &'a Meta, example: &str) -> syn::Result<&'a LitStr> {
    match option {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
            other => Err(syn::Error::new_spanned(other, format!("this is a text in quotes: {example}"))),
        },
        other => Err(syn::Error::new_spanned(other, format!("write {example}"))),
    }
}

fn risk(option: &Meta) -> syn::Result<String> {
    let risk = text(option, "risk = \"none\"")?;
    let value = risk.value();
    if RISKS.contains(&value.as_str()) {
        return Ok(value);
    }
    let message = match closest(&value, &RISKS) {
        Some(risk) => format!("no such risk; write risk = \"{risk}\""),
        None => format!("no such risk; write one of {}", quoted_list(&RISKS)),
    };
    Err(syn::Error::new(risk.span(), message))
}

fn effects(option: &Meta, errors: &mut Errors) -> Vec<String> {
    const EXAMPLE: &str = "effects = [\"delete\"]";
    let list = match option {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Array(list) => list,
            Expr::Lit(ExprLit { lit: Lit::Str(one), .. }) => {
                errors.push(syn::Error::new(one.span(), format!("this is a list: effects = [{:?}]", one.value())));
                return Vec::new();
            }
            other => {
                errors.add(other, &format!("this is a list of texts: {EXAMPLE}"));
                return Vec::new();
            }
        },
        other => {
            errors.add(other, &format!("write {EXAMPLE}"));
            return Vec::new();
        }
    };
    let mut effects = Vec::new();
    for item in &list.elems {
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = item else {
            errors.add(item, &format!("an effect is a text in quotes: {EXAMPLE}"));
            continue;
        };
        let effect = text.value();
        if effects.contains(&effect) {
            errors.add(text, "this effect stands here twice; remove one of the two");
        } else if EFFECTS.contains(&effect.as_str()) {
            effects.push(effect);
        } else {
            let message = match closest(&effect, &EFFECTS) {
                Some(known) => format!("no such effect; write \"{known}\""),
                None => format!("no such effect; write one of {}", quoted_list(&EFFECTS)),
            };
            errors.add(text, &message);
        }
    }
    effects
}

fn editable(option: &Meta) -> syn::Result<Editable> {
    match option {
        Meta::Path(_) => Ok(Editable::Yes),
        other => {
            let message = "write `editable` alone, or leave it out where nobody may edit the arguments";
            Err(syn::Error::new_spanned(other, message))
        }
    }
}

fn name(option: &Meta) -> syn::Result<LitStr> {
    let name = text(option, "name = \"list\"")?;
    let value = name.value();
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=64).contains(&value.len()) && value.chars().all(letter) {
        return Ok(name.clone());
    }
    let plain: String = value.chars().map(|c| if letter(c) { c } else { '_' }).take(64).collect();
    let plain = if plain.is_empty() { "list".to_owned() } else { plain };
    let message = format!("a tool's name has 1 to 64 of A-Z a-z 0-9 _ - . : write name = \"{plain}\"");
    Err(syn::Error::new(name.span(), message))
}
