//! SA020: letters that look like others. A name in two alphabets is read as one thing and is another.

use super::{Check, Context, Findings, Rule};
use crate::analysis::document::each_text;
use crate::analysis::report::Severity;
use crate::network::HostPattern;
use crate::text::quote;
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    id: "SA020",
    title: "look-alike names",
    severity: Severity::Warning,
    what: "A word mixes Latin letters with letters of another alphabet that look like them, or is written in \
           mathematical or wide letters; a host is an internationalised name; two tools have names that look alike. A note where \
           a word between Latin ones consists of such letters only.",
    why: "People approve what they read. A look-alike passes for a name they know, and filters for words do not see \
          it.",
    advice: "write the word in one alphabet, and give tools names that differ at first sight",
    check: Check::Any(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let mut tell = |place: &str, text: &str, around: Around| {
        if let Some((word, what, severity)) = disguised(text, around) {
            findings.push(severity, place, format!("{} {what}", quote(word)), RULE.advice.into());
        }
    };
    each_text(context.manifest, |path, text| {
        if !text.is_ascii() {
            tell(&format!("manifest.json: {path}"), text, Around::of(text));
        }
    });
    if let Some(readme) = context.readme.filter(|readme| !readme.is_ascii()) {
        let around = Around::of(readme);
        for (index, line) in readme.lines().enumerate().filter(|(_, line)| !line.is_ascii()) {
            tell(&format!("README.md, line {}", index + 1), line, around);
        }
    }
    hosts(context, findings);
    tools(context, findings);
}

fn hosts(context: &Context<'_>, findings: &mut Findings) {
    for (index, rule) in context.manifest.permissions.network.iter().flatten().enumerate() {
        let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = &rule.host else { continue };
        if name.split('.').any(|label| label.starts_with("xn--")) {
            let place = format!("manifest.json: permissions.network[{index}]");
            let message = format!("{name} is an internationalised name, which may look like another");
            findings.warning(&place, message, "check that it is the host that is meant");
        }
    }
}

fn tools(context: &Context<'_>, findings: &mut Findings) {
    let mut seen = BTreeMap::new();
    for (index, tool) in context.manifest.tools.iter().enumerate() {
        if let Some(other) = seen.insert(skeleton(&tool.local), &tool.local) {
            let place = format!("manifest.json: tools[{index}].name");
            let message = format!("{} looks like the tool {}", quote(&tool.local), quote(other));
            findings.warning(&place, message, RULE.advice);
        }
    }
}

/// The name as a hurried reader sees it.
fn skeleton(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace("rn", "m").replace("vv", "w");
    let alike = |c| match c {
        '0' => Some('o'),
        '1' | 'i' => Some('l'),
        '5' => Some('s'),
        '-' | '_' | '.' => None,
        c => Some(c),
    };
    lower.chars().filter_map(alike).collect()
}

/// What the text around a word is written in.
#[derive(Debug, Clone, Copy)]
struct Around {
    /// Latin, and no other alphabet whose letters look alike: whoever writes in one needs letters that look like none of ours.
    latin_alone: bool,
    /// Chinese, Japanese or Korean, in which Latin letters are often wide.
    wide: bool,
}

impl Around {
    fn of(text: &str) -> Self {
        let foreign = |c: char| matches!(c, '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}') && !is_lookalike(c);
        let wide = |c: char| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}');
        Self {
            latin_alone: text.chars().any(|c| c.is_ascii_alphabetic()) && !text.chars().any(foreign),
            wide: text.chars().any(wide),
        }
    }
}

/// The first word that is not what it looks like, why, and how much that weighs.
fn disguised(text: &str, around: Around) -> Option<(&str, &'static str, Severity)> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_ascii()).find_map(|word| {
        if word.chars().filter(|c| is_mathematical(*c) || !around.wide && is_wide(*c)).count() > 2 {
            return Some((word, "is written in mathematical or wide letters", Severity::Warning));
        }
        let latin = word.chars().any(|c| c.is_ascii_alphabetic());
        if latin && word.chars().any(is_lookalike) {
            return Some((word, "mixes alphabets whose letters look alike", Severity::Warning));
        }
        // It may as well be a word of another language that is quoted.
        let whole = around.latin_alone && word.chars().count() > 2 && word.chars().all(is_lookalike);
        whole.then_some((word, "is written in letters that look like Latin ones", Severity::Note))
    })
}

/// The blocks of letters that are Latin but for their shape.
fn is_mathematical(c: char) -> bool {
    matches!(c, '\u{1d400}'..='\u{1d7ff}' | '\u{1f130}'..='\u{1f189}' | '\u{24b6}'..='\u{24e9}')
}

/// Latin letters as wide as Chinese ones.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}')
}

/// Letters of other alphabets that most typefaces draw like Latin ones (from the confusables of Unicode TR 39). Greek
/// letters that stand for quantities beside Latin ones (μ, Δ, π, λ) do not look like any.
fn is_lookalike(c: char) -> bool {
    // Cyrillic, Greek, Armenian, Cherokee. Not the letters of Turkish or of phonetics, which are Latin themselves.
    const ALPHABETS: [&str; 4] =
        ["асеорхуіјѕԁһӏԛԝѵАВЕКМНОРСТХУІЈЅԌ", "οανυρΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "հոսօցա", "ᎠᎡᎢᎪᎫᎬᎳᎷᎻᏀᏃᏎᏔᏙᏚᏟᏢᏦᏴ"];
    ALPHABETS.iter().any(|letters| letters.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_two_alphabets_are_found() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(disguised(text, Around::of(text)).map(|(word, ..)| word), expected, "{text}");
        };
        check("pаypal", Some("pаypal"));
        check("send to аdmin now", Some("аdmin"));
        check("gοοgle", Some("gοοgle"));
        check("𝐢𝐠𝐧𝐨𝐫𝐞 this", Some("𝐢𝐠𝐧𝐨𝐫𝐞"));
        check("ｐａｙｐａｌ", Some("ｐａｙｐａｌ"));
        check("get an Аррӏе", Some("Аррӏе"));
        check("the ѕсоре of it", Some("ѕсоре"));
        check("сор and роса, пишет он", None);
        for fine in [
            "naïve café",
            "привет, world",
            "Ελληνικά",
            "10 μm and Δt",
            "日本語API",
            "über Straße",
            "x²",
            "kırmızı",
            "/pɑ/",
            "この道具はＡＰＩを呼びます",
        ] {
            check(fine, None);
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (a, b) in [("list_items", "l1st_items"), ("get-user", "get_user"), ("form", "forrn")] {
            assert_eq!(skeleton(a), skeleton(b));
        }
        assert_ne!(skeleton("get_item"), skeleton("get_items"));
    }
}
