//! `#[tool]`: the function stays; beside it comes an empty type of the same name that implements `Tool`. Functions and
//! types live in different namespaces, so that one path in `skill!` (and one `use`) means both.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, FnArg, Ident, ItemFn, Meta, Pat, ReturnType, Type};

use crate::options::{Editable, Options};

/// The function with its tool; where something is wrong, the function alone and every complaint, so that the rest of
/// the author's crate does not fail because of it.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_not_a_function) => {
            let error = syn::Error::new_spanned(&item, "#[tool] goes on a function").to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let options = errors.take(Options::parse(options));
    check_signature(&function, &mut errors);
    let description = description(&function, &mut errors);
    let parameters = Parameters::take_from(&mut function, &mut errors);

    let complaints = errors.0.iter().map(syn::Error::to_compile_error);
    let tool = match (options, errors.0.is_empty()) {
        (Some(options), true) => implementation(&function, &options, &description, &parameters),
        _ => placeholder(&function),
    };
    quote! {
        #function
        #(#complaints)*
        #tool
    }
}

#[derive(Default)]
struct Errors(Vec<syn::Error>);

impl Errors {
    fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(error);
                None
            }
        }
    }

    fn add(&mut self, at: impl quote::ToTokens, message: &str) {
        self.0.push(syn::Error::new_spanned(at, message));
    }
}

fn check_signature(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        errors.add(
            asyncness,
            "a tool is a plain function: every host function returns when it is done; leave out `async`",
        );
    }
    if let Some(unsafety) = &signature.unsafety {
        errors.add(unsafety, "a tool is called with what an agent sent; it cannot be `unsafe`");
    }
    if !signature.generics.params.is_empty() {
        errors.add(&signature.generics, "a tool has one schema, so it cannot be generic; name the types");
    }
    if let Some(variadic) = &signature.variadic {
        errors.add(variadic, "a tool's parameters have names; take a `Vec`");
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && let Type::ImplTrait(ty) = &**ty
    {
        errors.add(ty, "a tool's result has one schema; name the type");
    }
}

fn description(function: &ItemFn, errors: &mut Errors) -> String {
    let text = doc_text(&function.attrs);
    if text.is_empty() {
        errors.add(
            &function.sig.ident,
            "write a doc comment (`/// What it does.`) above the tool: it is what the agent reads to choose it",
        );
    }
    text
}

/// The doc comment as the author laid it out: lines, without the one space after `///`.
fn doc_text(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attribute.meta
            && let Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value
        {
            let text = text.value();
            lines.extend(text.split('\n').map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()));
        }
    }
    lines.join("\n").trim().to_owned()
}

enum Parameters {
    /// Each parameter is a property.
    Properties(Vec<Property>),
    /// One parameter is the whole object.
    Whole(Box<Type>),
}

struct Property {
    attributes: Vec<Attribute>,
    default: Option<Expr>,
    name: Ident,
    ty: Type,
}

impl Parameters {
    /// Reads the parameters and takes the attributes off them, which a plain function cannot carry.
    fn take_from(function: &mut ItemFn, errors: &mut Errors) -> Self {
        let mut properties = Vec::new();
        let mut whole = None;
        let count = function.sig.inputs.len();
        for input in &mut function.sig.inputs {
            let parameter = match input {
                FnArg::Typed(parameter) => parameter,
                FnArg::Receiver(receiver) => {
                    errors.add(receiver, "a tool is a free function; keep what lasts in `sophon_sdk::state`");
                    continue;
                }
            };
            let attributes = std::mem::take(&mut parameter.attrs);
            check_type(&parameter.ty, errors);

            if let Some(mark) = attributes.iter().find(|a| a.path().is_ident("args")) {
                if count > 1 {
                    errors.add(mark, "`#[args]` takes all the arguments, so it stands on the only parameter");
                }
                whole = Some(parameter.ty.clone());
                continue;
            }
            let Pat::Ident(pattern) = &*parameter.pat else {
                errors.add(&parameter.pat, "a parameter's name is the property's name; take it apart inside the tool");
                continue;
            };
            if let Some(property) = Property::new(attributes, pattern.ident.clone(), (*parameter.ty).clone(), errors) {
                properties.push(property);
            }
        }
        match whole {
            Some(ty) => Self::Whole(ty),
            None => Self::Properties(properties),
        }
    }
}

fn check_type(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Reference(reference) => {
            let message = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "the arguments come from JSON: take `String`",
                Type::Slice(_) => "the arguments come from JSON: take a `Vec`",
                _ => "the arguments come from JSON: take the type itself, without `&`",
            };
            errors.add(reference, message);
        }
        Type::ImplTrait(ty) => errors.add(ty, "a parameter has one schema; name the type"),
        _ => {}
    }
}

impl Property {
    fn new(attributes: Vec<Attribute>, name: Ident, ty: Type, errors: &mut Errors) -> Option<Self> {
        let mut property = Self { attributes: Vec::new(), default: None, name, ty };
        let before = errors.0.len();
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("arg") {
                errors.take(attribute.parse_nested_meta(|meta| {
                    if !meta.path.is_ident("default") {
                        return Err(meta.error("no such option; there is default: #[arg(default = 20)]"));
                    }
                    property.default = Some(meta.value()?.parse()?);
                    Ok(())
                }));
            } else if ["doc", "serde", "schemars", "cfg"].iter().any(|known| path.is_ident(known)) {
                property.attributes.push(attribute);
            } else {
                errors.add(
                    &attribute,
                    "a parameter takes a doc comment, #[arg(..)], #[args], #[serde(..)] or #[schemars(..)]",
                );
            }
        }
        (errors.0.len() == before).then_some(property)
    }
}

fn implementation(function: &ItemFn, options: &Options, description: &str, parameters: &Parameters) -> TokenStream {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let Options { risk, effects, .. } = options;
    let editable = options.editable == Editable::Yes;
    let name = match &options.name {
        Some(name) => name.value(),
        None => unraw(ident),
    };

    let (arguments, definition, call) = match parameters {
        Parameters::Whole(ty) => (quote!(#ty), TokenStream::new(), quote!(#ident(arguments))),
        Parameters::Properties(properties) => {
            let names = properties.iter().map(|p| &p.name);
            (quote!(__Arguments), arguments_struct(properties), quote!(#ident(#(arguments.#names),*)))
        }
    };
    let (output, run) = match &function.sig.output {
        ReturnType::Default => (quote!(()), quote!({ #call; ::core::result::Result::Ok(()) })),
        ReturnType::Type(_, ty) if is_result(ty) => (
            quote_spanned!(ty.span()=> <#ty as ::sophon_sdk::__private::Fallible>::Value),
            quote_spanned!(ty.span()=> ::sophon_sdk::__private::finish(#call)),
        ),
        ReturnType::Type(_, ty) => (quote!(#ty), quote!(::core::result::Result::Ok(#call))),
    };
    let used = match parameters {
        Parameters::Properties(properties) if properties.is_empty() => quote!(_arguments),
        _ => quote!(arguments),
    };

    quote! {
        #[doc(hidden)]
        #[expect(non_camel_case_types, reason = "it has the name of the function, so that one path means both")]
        #visibility enum #ident {}

        const _: () = {
            #definition

            impl ::sophon_sdk::__private::Tool for #ident {
                const NAME: &'static str = #name;
                const DESCRIPTION: &'static str = #description;
                const RISK: &'static str = #risk;
                const EFFECTS: &'static [&'static str] = &[#(#effects),*];
                const EDITABLE: bool = #editable;

                fn call(arguments: &str) -> ::sophon_sdk::Result<::std::string::String> {
                    fn run(#used: #arguments) -> ::sophon_sdk::Result<#output> {
                        #run
                    }
                    ::sophon_sdk::__private::call(Self::NAME, arguments, run)
                }

                fn parameters() -> ::sophon_sdk::__private::Value {
                    ::sophon_sdk::__private::takes::<#arguments>()
                }

                fn returns() -> ::sophon_sdk::__private::Value {
                    ::sophon_sdk::__private::gives::<#output>()
                }
            }
        };
    }
}

/// A tool that has been complained about: enough of one that `skill!` does not complain too.
fn placeholder(function: &ItemFn) -> TokenStream {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = unraw(ident);
    quote! {
        #[doc(hidden)]
        #[expect(non_camel_case_types, reason = "it has the name of the function, so that one path means both")]
        #visibility enum #ident {}

        impl ::sophon_sdk::__private::Tool for #ident {
            const NAME: &'static str = #name;
            const DESCRIPTION: &'static str = "";
            const RISK: &'static str = "";
            const EFFECTS: &'static [&'static str] = &[];
            const EDITABLE: bool = false;
            fn call(_arguments: &str) -> ::sophon_sdk::Result<::std::string::String> {
                ::core::result::Result::Ok(::std::string::String::new())
            }
            fn parameters() -> ::sophon_sdk::__private::Value {
                ::sophon_sdk::__private::Value::Null
            }
            fn returns() -> ::sophon_sdk::__private::Value {
                ::sophon_sdk::__private::Value::Null
            }
        }
    }
}

fn arguments_struct(properties: &[Property]) -> TokenStream {
    let mut defaults = Vec::new();
    let mut fields = Vec::new();
    for Property { attributes, default, name, ty } in properties {
        let default = default.as_ref().map(|value| {
            let function = format_ident!("default_{}", unraw(name), span = name.span());
            defaults.push(quote_spanned!(value.span()=> fn #function() -> #ty { #value }));
            let path = function.to_string();
            quote!(#[serde(default = #path)])
        });
        fields.push(quote!(#(#attributes)* #default #name: #ty));
    }
    quote! {
        #(#defaults)*

        #[derive(::sophon_sdk::serde::Deserialize, ::sophon_sdk::schemars::JsonSchema)]
        #[serde(crate = "::sophon_sdk::serde", rename = "arguments", deny_unknown_fields)]
        #[schemars(crate = "::sophon_sdk::schemars")]
        struct __Arguments {
            #(#fields),*
        }
    }
}

fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}
