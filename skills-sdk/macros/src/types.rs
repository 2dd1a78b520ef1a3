//! Which types a tool can take and give back, as far as their spelling tells.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{GenericArgument, Ident, PathArguments, Type, parse_quote};

use crate::errors::Errors;

/// Complains of a parameter's type that cannot be read from JSON: one that borrows, or is no one type.
pub(crate) fn check_parameter(name: Option<&Ident>, ty: &Type, errors: &mut Errors) {
    if let Some(open) = find(ty, &is_open) {
        errors.add(open, "a parameter has one schema: name the type");
        return;
    }
    let Some(borrowed) = find(ty, &borrows) else { return };
    let mut owned = ty.clone();
    own(&mut owned);
    let owned = compact(&owned);
    let line = name.map_or_else(|| owned.clone(), |name| format!("{name}: {owned}"));
    errors.add(borrowed, &format!("the arguments come from JSON, and the tool owns them: write `{line}`"));
}

/// Complains of a result's type that is no one type.
pub(crate) fn check_result(ty: &Type, errors: &mut Errors) {
    if let Some(open) = find(ty, &is_open) {
        errors.add(open, "a tool's result has one schema: name the type, such as `-> Vec<String>`");
    }
}

/// Whether a type's last name is `Result`.
pub(crate) fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

/// The name of a type, as a person writes it.
pub(crate) fn compact(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, plain) in [(" :: ", "::"), (" < ", "<"), (" >", ">"), (" ,", ","), ("& ", "&"), (" ;", ";")] {
        text = text.replace(spaced, plain);
    }
    text
}

fn is_open(ty: &Type) -> bool {
    matches!(ty, Type::ImplTrait(_) | Type::TraitObject(_) | Type::BareFn(_) | Type::Ptr(_))
}

fn borrows(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) | Type::Slice(_) => true,
        Type::Path(path) => path.path.is_ident("str") || is_cow(ty),
        _ => false,
    }
}

fn is_cow(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Cow"))
}

/// The first part of a type, from outside, of which `is` holds.
fn find<'a>(ty: &'a Type, is: &impl Fn(&Type) -> bool) -> Option<&'a Type> {
    if is(ty) {
        return Some(ty);
    }
    parts(ty).into_iter().find_map(|part| find(part, is))
}

fn parts(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::Array(array) => vec![&*array.elem],
        Type::Group(group) => vec![&*group.elem],
        Type::Paren(paren) => vec![&*paren.elem],
        Type::Reference(reference) => vec![&*reference.elem],
        Type::Slice(slice) => vec![&*slice.elem],
        Type::Tuple(tuple) => tuple.elems.iter().collect(),
        Type::Path(path) => {
            let mut parts = Vec::new();
            for segment in &path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                    parts.extend(arguments.args.iter().filter_map(|argument| match argument {
                        GenericArgument::Type(ty) => Some(ty),
                        _ => None,
                    }));
                }
            }
            parts
        }
        _ => Vec::new(),
    }
}

/// The same type with `String` for `&str`, `Vec<T>` for `&[T]` and `T` for `&T`.
fn own(ty: &mut Type) {
    match ty {
        Type::Reference(reference) => {
            let mut inner = (*reference.elem).clone();
            own(&mut inner);
            *ty = inner;
        }
        Type::Slice(slice) => {
            own(&mut slice.elem);
            let item = &slice.elem;
            *ty = parse_quote!(Vec<#item>);
        }
        Type::Path(path) if path.path.is_ident("str") => *ty = parse_quote!(String),
        _ if is_cow(ty) => {
            let mut inner = parts(ty).last().map_or_else(|| parse_quote!(String), |inner| (*inner).clone());
            own(&mut inner);
            *ty = inner;
        }
        Type::Path(path) => {
            for segment in &mut path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
                    for argument in &mut arguments.args {
                        if let GenericArgument::Type(ty) = argument {
                            own(ty);
                        }
                    }
                }
            }
        }
        Type::Array(array) => own(&mut array.elem),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(own),
        Type::Group(group) => own(&mut group.elem),
        Type::Paren(paren) => own(&mut paren.elem),
        _ => {}
    }
}

/// Where a type stands, for what is generated of it: a complaint points there, and names are the macro's own.
pub(crate) fn place(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

/// Checks, where the type stands, that JSON can be read into it.
pub(crate) fn argument(ty: &Type) -> TokenStream {
    quote_spanned!(place(ty)=> const _: fn() = ::sophon_sdk::__private::argument::<#ty>;)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_borrows_is_written_owned() {
        #[track_caller]
        fn check(ty: Type, want: &str) {
            let mut errors = Errors::default();
            check_parameter(Some(&parse_quote!(p)), &ty, &mut errors);
            let said = errors.to_tokens().to_string();
            match want {
                "" => assert_eq!(said, ""),
                _ => assert!(said.contains(&format!("`p: {want}`")), "{said}"),
            }
        }
        check(parse_quote!(&str), "String");
        check(parse_quote!(&'static [u8]), "Vec<u8>");
        check(parse_quote!(Option<&str>), "Option<String>");
        check(parse_quote!(Vec<(u8, &[&str])>), "Vec<(u8, Vec<String>)>");
        check(parse_quote!(std::borrow::Cow<'_, str>), "String");
        check(parse_quote!(&Point), "Point");
        check(parse_quote!([&str; 2]), "[String; 2]");
        check(parse_quote!(Vec<String>), "");
        check(parse_quote!(std::collections::BTreeMap<String, u8>), "");
    }
}
