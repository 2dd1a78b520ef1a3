//! `skill!`: the list of the skill's tools, and what a guest exports.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Lit, Path, Token};

use crate::errors::Errors;
use crate::types::compact;

/// The skill, and every complaint about the list.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let tools = tools(tokens, &mut errors);
    let complaints = errors.to_tokens();
    if tools.is_empty() {
        return complaints;
    }
    let entries = tools.iter().map(|tool| quote_spanned!(tool.span()=> ::sophon_sdk::__private::Entry::of::<#tool>()));
    let names = tools.iter().enumerate().skip(1).map(|(index, tool)| {
        quote_spanned! {tool.span()=>
            const _: () = ::core::assert!(
                ::sophon_sdk::__private::is_new(TOOLS, #index),
                "a tool before this one has its name; give this one another: #[tool(risk = \"..\", name = \"other\")]"
            );
        }
    });
    quote! {
        #complaints

        #[doc(hidden)]
        const _ONE_SKILL_A_CRATE: () = ();

        const _: () = {
            const TOOLS: &[::sophon_sdk::__private::Entry] = &[#(#entries),*];

            #(#names)*

            struct Skill;

            impl ::sophon_sdk::__private::Guest for Skill {
                fn call_tool(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                    context: ::sophon_sdk::__private::CallContext,
                ) -> ::core::result::Result<::std::string::String, ::sophon_sdk::__private::WitToolError> {
                    ::sophon_sdk::__private::dispatch(TOOLS, &name, &arguments, context)
                }
            }

            // Only a guest exports these: on the author's machine the crate is an ordinary library with tests.
            #[cfg(target_family = "wasm")]
            ::sophon_sdk::__private::export_tools!(Skill with_types_in ::sophon_sdk::__private::bindings);

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "sophon_describe_v1")]
            extern "C" fn describe() -> u64 {
                // What only a build needs is a third of a small skill; see `sophon_sdk::describe`.
                if ::core::option_env!("SOPHON_DESCRIBE").is_none() {
                    ::sophon_sdk::__private::describe(&[#(::sophon_sdk::__private::description::<#tools>),*])
                } else {
                    0
                }
            }
        };
    }
}

/// The paths in the list, each once.
fn tools(tokens: TokenStream, errors: &mut Errors) -> Vec<Path> {
    let list = |input: ParseStream<'_>| Punctuated::<Expr, Token![,]>::parse_terminated(input);
    let list = match list.parse2(tokens) {
        Ok(list) => list,
        Err(error) => {
            let message = format!("{error}; list the functions: sophon_sdk::skill!(one_tool, another_tool);");
            errors.push(syn::Error::new(error.span(), message));
            return Vec::new();
        }
    };
    if list.is_empty() {
        let message = "a skill has at least one tool; list the functions: sophon_sdk::skill!(my_tool);";
        errors.push(syn::Error::new(proc_macro2::Span::call_site(), message));
    }
    let mut paths: Vec<Path> = Vec::new();
    for item in list {
        let path = match item {
            Expr::Path(path) if path.qself.is_none() => path.path,
            other => {
                errors.add(&other, &instead(&other));
                continue;
            }
        };
        if paths.iter().any(|known| compact(known) == compact(&path)) {
            errors.add(&path, &format!("`{}` is in the list already; remove it here", compact(&path)));
        } else {
            paths.push(path);
        }
    }
    paths
}

/// What to write in place of something that is no path.
fn instead(item: &Expr) -> String {
    match item {
        Expr::Call(call) => format!("list the function, without calling it: {}", compact(&call.func)),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            format!("list the function, without quotes: {}", text.value())
        }
        Expr::Reference(reference) => format!("list the function, without `&`: {}", compact(&reference.expr)),
        Expr::Array(_) | Expr::Tuple(_) | Expr::Assign(_) => {
            "list the functions, one after another: sophon_sdk::skill!(one_tool, another_tool);".to_owned()
        }
        Expr::Closure(_) => {
            "a tool is a function with a name: write it with #[tool(..)] above, and list its name".to_owned()
        }
        _ => "list functions that have #[tool(..)] above them: sophon_sdk::skill!(my_tool);".to_owned(),
    }
}
