//! What the macros complain about: everything at once, each on the token that is wrong.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// Complaints, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(error);
                None
            }
        }
    }

    pub(crate) fn add(&mut self, at: impl ToTokens, message: &str) {
        self.0.push(syn::Error::new_spanned(at, message));
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn to_tokens(&self) -> TokenStream {
        self.0.iter().map(syn::Error::to_compile_error).collect()
    }
}

/// The word that was probably meant: the same in another case or the plural, the beginning of one, or one letter away.
pub(crate) fn closest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let text = text.trim().to_ascii_lowercase();
    let near = |word: &&&str| {
        let begins = text.len() >= 3 && word.starts_with(text.as_str());
        begins || text.strip_suffix('s') == Some(**word) || distance_is_one(&text, word)
    };
    words.iter().find(|word| **word == text).or_else(|| words.iter().find(near)).copied()
}

/// Whether one letter added, left out or changed makes `a` into `b`.
fn distance_is_one(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[common..], &b[common..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Equal => !rest_a.is_empty() && rest_a[1..] == rest_b[1..],
        std::cmp::Ordering::Less => rest_b.len() == rest_a.len() + 1 && rest_b[1..] == *rest_a,
        std::cmp::Ordering::Greater => rest_a.len() == rest_b.len() + 1 && rest_a[1..] == *rest_b,
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_guessed_where_it_is_near() {
        let words = ["none", "low", "medium", "high", "critical"];
        #[track_caller]
        fn check(words: &[&str], text: &str, want: Option<&str>) {
            assert_eq!(closest(text, words), want, "{text}");
        }
        check(&words, "High", Some("high"));
        check(&words, "med", Some("medium"));
        check(&words, "hihg", None);
        check(&words, "hig", Some("high"));
        check(&words, "loww", Some("low"));
        check(&words, "nune", Some("none"));
        check(&words, "huge", None);
        check(&words, "", None);
        check(&["delete", "email"], "emails", Some("email"));
        assert_eq!(quoted_list(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
