//! The options in `#[tool(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{ExprArray, LitStr};

const RISKS: [&str; 5] = ["none", "low", "medium", "high", "critical"];
const EFFECTS: [&str; 6] = ["delete", "email", "message", "payment", "publish", "shell"];
const WRITE_RISK: &str = "say how risky the tool is: #[tool(risk = \"none\")], or low, medium, high, critical";

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
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut risk = None;
        let mut options = Self { risk: String::new(), effects: Vec::new(), editable: Editable::No, name: None };
        syn::meta::parser(|meta| {
            if meta.path.is_ident("risk") {
                risk = Some(parse_risk(&meta)?);
            } else if meta.path.is_ident("effects") {
                options.effects = parse_effects(&meta)?;
            } else if meta.path.is_ident("editable") {
                options.editable = Editable::Yes;
            } else if meta.path.is_ident("name") {
                options.name = Some(parse_name(&meta)?);
            } else {
                return Err(meta.error("no such option; there are risk, effects, editable and name"));
            }
            Ok(())
        })
        .parse2(tokens)?;
        options.risk = risk.ok_or_else(|| syn::Error::new(Span::call_site(), WRITE_RISK))?;
        Ok(options)
    }
}

fn parse_risk(meta: &ParseNestedMeta<'_>) -> syn::Result<String> {
    let risk: LitStr = meta.value()?.parse()?;
    if RISKS.contains(&risk.value().as_str()) {
        return Ok(risk.value());
    }
    Err(syn::Error::new(risk.span(), format!("no such risk; there are {}", RISKS.join(", "))))
}

fn parse_effects(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<String>> {
    let list: ExprArray = meta.value()?.parse()?;
    let mut effects = Vec::new();
    for item in &list.elems {
        let text = match item {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text,
            other => return Err(syn::Error::new_spanned(other, "an effect is a text: effects = [\"delete\"]")),
        };
        if !EFFECTS.contains(&text.value().as_str()) {
            return Err(syn::Error::new(text.span(), format!("no such effect; there are {}", EFFECTS.join(", "))));
        }
        effects.push(text.value());
    }
    Ok(effects)
}

fn parse_name(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let name: LitStr = meta.value()?.parse()?;
    let text = name.value();
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if fits { Ok(name) } else { Err(syn::Error::new(name.span(), "a tool's name has 1 to 64 of A-Z a-z 0-9 _ - .")) }
}
