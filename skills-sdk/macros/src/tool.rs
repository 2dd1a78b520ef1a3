//! `#[tool]`: the function stays; beside it comes an empty type of the same name that implements `Tool`. Functions and
//! types live in different namespaces, so that one path in `skill!` (and one `use`) means both.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Item, ItemFn, Lit, Meta, Pat, PatType, ReturnType, TraitItemFn, Type,
};

use crate::errors::Errors;
use crate::options::{Editable, Options};
use crate::types::{argument, check_parameter, check_result, compact, is_result, place};

/// The function with its tool; where something is wrong, the function alone and every complaint, so that the rest of
/// the author's crate does not fail because of it.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_not_a_function) => {
            let error = not_a_function(&item).to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let options = Options::parse(options, &mut errors);
    check_function(&mut function, &mut errors);
    let description = description(&function, &mut errors);
    let parameters = Parameters::take_from(&mut function, &mut errors);

    let complaints = errors.to_tokens();
    let tool = match options {
        Some(options) if errors.count() == 0 => implementation(&function, &options, &description, &parameters),
        // A method stands where no type can.
        _ if function.sig.receiver().is_some() => TokenStream::new(),
        _ => placeholder(&function),
    };
    quote! {
        #function
        #complaints
        #tool
    }
}

fn not_a_function(item: &TokenStream) -> syn::Error {
    const GOES: &str = "#[tool] goes on a function: write it above `fn my_tool(..) {..}`";
    let at = |ident: &Ident, message: &str| syn::Error::new(ident.span(), message);
    match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Struct(item)) => at(&item.ident, GOES),
        Ok(Item::Enum(item)) => at(&item.ident, GOES),
        Ok(Item::Const(item)) => at(&item.ident, GOES),
        Ok(Item::Static(item)) => at(&item.ident, GOES),
        Ok(Item::Trait(item)) => at(&item.ident, GOES),
        Ok(Item::Mod(item)) => at(&item.ident, "#[tool] goes on each function in the module, not on the module"),
        Ok(Item::Impl(item)) => {
            let message = "#[tool] goes on a free function: move what is to be a tool out of the `impl`";
            syn::Error::new(item.impl_token.span, message)
        }
        _ => match syn::parse2::<TraitItemFn>(item.clone()) {
            Ok(function) => at(&function.sig.ident, "a tool has a body: write `{ .. }` in place of `;`"),
            Err(_neither) => syn::Error::new_spanned(item, GOES),
        },
    }
}

fn check_function(function: &mut ItemFn, errors: &mut Errors) {
    // A second #[tool] would make the type a second time.
    let is_tool = |attribute: &Attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "tool");
    for again in function.attrs.iter().filter(|attribute| is_tool(attribute)) {
        errors.add(again, "a function is one tool; remove this #[tool]");
    }
    function.attrs.retain(|attribute| !is_tool(attribute));

    let signature = &function.sig;
    let name = &signature.ident;
    if let Some(asyncness) = &signature.asyncness {
        errors.add(
            asyncness,
            &format!(
                "a tool is a plain function: the host's functions return when they are done; write `fn {name}(..)`"
            ),
        );
    }
    if let Some(unsafety) = &signature.unsafety {
        errors.add(unsafety, &format!("a tool is called with what an agent sent, safe or not; write `fn {name}(..)`"));
    }
    if let Some(abi) = &signature.abi {
        errors.add(abi, &format!("a tool is called through its JSON; write `fn {name}(..)`"));
    }
    if !signature.generics.params.is_empty() {
        errors.add(&signature.generics, &format!("a tool has one schema: name the types, and write `fn {name}(..)`"));
    }
    if let Some(variadic) = &signature.variadic {
        errors.add(variadic, "a tool's parameters have names: take a list, such as `items: Vec<String>`");
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        check_result(ty, errors);
    }
}

fn description(function: &ItemFn, errors: &mut Errors) -> String {
    let text = doc_text(&function.attrs);
    if text.is_empty() {
        errors.add(
            &function.sig.ident,
            "the agent chooses a tool by its description: write `/// What it does.` above #[tool(..)]",
        );
    }
    text
}

/// The doc comment as the author laid it out: lines, without the one space after `///`.
fn doc_text(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attribute.meta
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
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
        let tool = function.sig.ident.clone();
        for input in &mut function.sig.inputs {
            let parameter = match input {
                FnArg::Typed(parameter) => parameter,
                FnArg::Receiver(receiver) => {
                    let message = format!(
                        "a tool is a free function: write `fn {tool}(..)` outside of any `impl`, and keep what lasts in `sophon_sdk::state`"
                    );
                    errors.add(receiver, &message);
                    continue;
                }
            };
            let attributes = std::mem::take(&mut parameter.attrs);
            let name = name_of(parameter);
            check_parameter(name.as_ref(), &parameter.ty, errors);

            if attributes.iter().any(|attribute| attribute.path().is_ident("args")) {
                check_args(&attributes, &parameter.ty, count, errors);
                whole = Some(parameter.ty.clone());
                continue;
            }
            let Some(name) = name else {
                let ty = compact(&parameter.ty);
                let message =
                    format!("a parameter's name is the name in JSON: write `value: {ty}`, and take it apart inside");
                errors.add(&parameter.pat, &message);
                continue;
            };
            if let Some(property) = Property::new(attributes, name, (*parameter.ty).clone(), errors) {
                properties.push(property);
            }
        }
        match whole {
            Some(ty) => Self::Whole(ty),
            None => Self::Properties(properties),
        }
    }
}

fn name_of(parameter: &PatType) -> Option<Ident> {
    match &*parameter.pat {
        Pat::Ident(pattern) if pattern.subpat.is_none() => Some(pattern.ident.clone()),
        _ => None,
    }
}

/// What stands on a parameter beside `#[args]`.
fn check_args(attributes: &[Attribute], ty: &Type, count: usize, errors: &mut Errors) {
    let mut marks = 0;
    for attribute in attributes {
        let path = attribute.path();
        if path.is_ident("args") {
            marks += 1;
            if marks > 1 {
                errors.add(attribute, "`#[args]` stands here twice; remove one of the two");
            } else if !matches!(attribute.meta, Meta::Path(_)) {
                errors.add(&attribute.meta, "write `#[args]` alone");
            } else if count > 1 {
                let message =
                    "`#[args]` takes all the arguments: make it the only parameter, or leave it out and write each one";
                errors.add(attribute, message);
            }
        } else if !path.is_ident("doc") && !path.is_ident("cfg") {
            let message = format!("`#[args]` takes all the arguments: write this on a field of `{}`", compact(ty));
            errors.add(attribute, &message);
        }
    }
}

impl Property {
    fn new(attributes: Vec<Attribute>, name: Ident, ty: Type, errors: &mut Errors) -> Option<Self> {
        let mut property = Self { attributes: Vec::new(), default: None, name, ty };
        let before = errors.count();
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("arg") {
                property.read_arg(&attribute, errors);
            } else if ["doc", "serde", "schemars", "cfg"].iter().any(|known| path.is_ident(known)) {
                property.attributes.push(attribute);
            } else {
                errors.add(
                    &attribute,
                    "a parameter takes a doc comment, #[arg(default = ..)], #[args], #[serde(..)] or #[schemars(..)]; remove this",
                );
            }
        }
        (errors.count() == before).then_some(property)
    }

    fn read_arg(&mut self, attribute: &Attribute, errors: &mut Errors) {
        const WRITE: &str = "write the value of an argument that is left out: #[arg(default = 20)]";
        if !matches!(&attribute.meta, Meta::List(list) if !list.tokens.is_empty()) {
            errors.add(&attribute.meta, WRITE);
            return;
        }
        let read = attribute.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
            match key.as_str() {
                "default" if self.default.is_some() => {
                    Err(meta.error("`default` stands here twice; remove one of the two"))
                }
                "default" if !meta.input.peek(syn::Token![=]) => Err(meta.error(WRITE)),
                "default" => {
                    self.default = Some(meta.value()?.parse()?);
                    Ok(())
                }
                "min" | "max" | "range" => {
                    Err(meta.error("a bound is JSON Schema's: #[schemars(range(min = 1, max = 100))]"))
                }
                "name" | "rename" => Err(meta.error("another name in JSON is serde's: #[serde(rename = \"type\")]")),
                "description" | "doc" | "help" => {
                    Err(meta.error("the description is the doc comment: write `/// What it is.` above the parameter"))
                }
                _ => Err(meta.error("no such option; there is default: #[arg(default = 20)]")),
            }
        });
        errors.take(read);
    }

    /// Whether serde and schemars are left to their own ways with the type.
    fn is_read_by_itself(&self) -> bool {
        self.attributes.iter().any(|attribute| match &attribute.meta {
            Meta::List(list) => {
                let text = list.tokens.to_string();
                text.contains("with") || text.contains("skip")
            }
            _ => false,
        })
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

    let (arguments, definition, call, at) = match parameters {
        Parameters::Whole(ty) => (quote!(#ty), TokenStream::new(), quote!(#ident(arguments)), place(ty)),
        Parameters::Properties(properties) => {
            let names = properties.iter().map(|p| &p.name);
            let call = quote!(#ident(#(arguments.#names),*));
            (quote!(__Arguments), arguments_struct(properties), call, Span::call_site())
        }
    };
    // A type that does not fit is complained about where it stands.
    let read = quote_spanned!(at=> ::sophon_sdk::__private::read::<#arguments>(Self::NAME, arguments)?);
    let takes = quote_spanned!(at=> ::sophon_sdk::__private::takes::<#arguments>());
    let (output, run, at) = match &function.sig.output {
        ReturnType::Default => (quote!(()), quote!({ #call; ::core::result::Result::Ok(()) }), Span::call_site()),
        ReturnType::Type(_, ty) if is_result(ty) => {
            let output = quote_spanned!(place(ty)=> <#ty as ::sophon_sdk::__private::Fallible>::Value);
            let run = quote_spanned! {place(ty)=>
                let called = #call;
                ::sophon_sdk::__private::finish(called)
            };
            (output, run, place(ty))
        }
        ReturnType::Type(_, ty) => (quote!(#ty), quote!(::core::result::Result::Ok(#call)), place(ty)),
    };
    let write = quote_spanned!(at=> ::sophon_sdk::__private::write::<#output>(Self::NAME, run(arguments)?));
    let gives = quote_spanned!(at=> ::sophon_sdk::__private::gives::<#output>());
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
                    let arguments = #read;
                    #write
                }

                fn parameters() -> ::sophon_sdk::__private::Value {
                    #takes
                }

                fn returns() -> ::sophon_sdk::__private::Value {
                    #gives
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
    // First, so that what the derived code says of the same type comes after it.
    let checks =
        properties.iter().filter(|property| !property.is_read_by_itself()).map(|property| argument(&property.ty));
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
        #(#checks)*

        #(#defaults)*

        #[derive(::sophon_sdk::serde::Deserialize, ::sophon_sdk::schemars::JsonSchema)]
        #[serde(crate = "::sophon_sdk::serde", rename = "arguments", deny_unknown_fields)]
        #[schemars(crate = "::sophon_sdk::schemars")]
        struct __Arguments {
            #(#fields),*
        }
    }
}

fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}
