//! Python's tokens, as its own tokeniser makes them, and nothing of its grammar.
//!
//! Bounded and never failing on what is merely odd: what cannot be a token at all is a [`Flaw`], because then a reader
//! and the interpreter might see two different programs. Expressions in formatted strings are tokens like all others,
//! so that nothing hides in a string.

use unicode_normalization::UnicodeNormalization as _;

/// Bytes of one source file. The largest public skill has 160 KB.
pub(super) const MAX_SOURCE: usize = 2 << 20;
/// Brackets within brackets: as many as CPython's own tokeniser lets open.
const MAX_BRACKETS: usize = 200;
/// Characters of a name.
const MAX_NAME: usize = 1000;
/// Formatted strings within formatted strings.
const MAX_NESTING: usize = 8;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::analysis) struct Token {
    pub(in crate::analysis) kind: Kind,
    /// The name (NFKC, as Python compares names), the operator, or what a string literal holds.
    pub(in crate::analysis) text: String,
    /// From 1.
    pub(in crate::analysis) line: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::analysis) enum Kind {
    Name,
    Number,
    /// A string literal, its escapes undone; of a formatted one the fields stand as `{}`.
    Text(Literal),
    /// One character of an operator or bracket.
    Mark,
    /// The end of a statement.
    End,
}

/// How a string was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::analysis) struct Literal {
    /// `f"…"`.
    pub(in crate::analysis) formatted: bool,
    /// Numeric escapes (`\x41`, `\u0041`, `\101`) that stand for characters which could be written as they are.
    pub(in crate::analysis) disguised: usize,
}

/// Why a source cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::analysis) struct Flaw {
    pub(in crate::analysis) line: usize,
    pub(in crate::analysis) message: &'static str,
}

/// All tokens of `source`.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Flaw> {
    // To Python a lone carriage return ends a line, in a comment and in a string too, and a NUL ends or refuses the whole
    // source: nobody writes either, but whoever wants a line to be read as two.
    let odd = |(at, byte): (usize, &u8)| *byte == 0 || *byte == b'\r' && source.as_bytes().get(at + 1) != Some(&b'\n');
    if let Some(at) = source.as_bytes().iter().enumerate().find(|found| odd(*found)).map(|(at, _)| at) {
        let line = 1 + source.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        return Err(Flaw { line, message: "a carriage return without a line feed, or a NUL, stands here" });
    }
    let mut lexer = Lexer { source, at: 0, line: 1, depth: 0, nesting: 0, tokens: Vec::new() };
    lexer.run(None)?;
    lexer.push(Kind::End, String::new());
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    /// Open brackets: a line end within them ends nothing.
    depth: usize,
    nesting: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn push(&mut self, kind: Kind, text: String) {
        self.tokens.push(Token { kind, text, line: self.line });
    }

    fn flaw<T>(&self, message: &'static str) -> Result<T, Flaw> {
        Err(Flaw { line: self.line, message })
    }

    /// Reads up to the end; within a formatted string up to the `}`, `:` or `!r` that ends the field `within` brackets.
    fn run(&mut self, within: Option<usize>) -> Result<(), Flaw> {
        while let Some(c) = self.peek() {
            if Some(self.depth) == within {
                let conversion = c == '!' && !self.rest().starts_with("!=");
                if matches!(c, '}' | ':') || conversion {
                    return Ok(());
                }
            }
            match c {
                '\n' => {
                    if self.depth == 0 {
                        self.push(Kind::End, String::new());
                    }
                    self.bump();
                }
                ' ' | '\t' | '\r' | '\x0c' | '\u{feff}' => {
                    self.bump();
                }
                '#' => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.at += end;
                }
                '\\' => {
                    let after = self.rest()[1..].trim_start_matches('\r');
                    if !after.starts_with('\n') {
                        return self.flaw("a backslash stands where no line ends");
                    }
                    while self.bump() != Some('\n') {}
                }
                ';' => {
                    self.push(Kind::End, String::new());
                    self.bump();
                }
                '\'' | '"' => self.string("")?,
                c if c.is_ascii_digit() => self.number(),
                c if is_name_start(c) => self.name()?,
                c if c.is_ascii_graphic() => {
                    match c {
                        '(' | '[' | '{' if self.depth >= MAX_BRACKETS => {
                            return self.flaw("more than 200 brackets are open");
                        }
                        '(' | '[' | '{' => self.depth += 1,
                        ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    self.push(Kind::Mark, c.to_string());
                    self.bump();
                }
                _ => return self.flaw("a character stands here that Python has no use for"),
            }
        }
        if within.is_some() { self.flaw("a formatted string does not end") } else { Ok(()) }
    }

    /// A number ends where Python ends it: `1or x` is three tokens, and `1..__class__` is an attribute.
    fn number(&mut self) {
        let start = self.at;
        let radix = self.rest().get(..2).map(str::to_ascii_lowercase);
        match radix.as_deref() {
            Some("0x") => self.skip(2, |c| c.is_ascii_hexdigit() || c == '_'),
            Some("0o" | "0b") => self.skip(2, |c| c.is_ascii_digit() || c == '_'),
            _ => {
                let digit = |c: char| c.is_ascii_digit() || c == '_';
                self.skip(0, digit);
                if self.peek() == Some('.') {
                    self.skip(1, digit);
                }
                let mut after = self.rest().chars();
                if matches!(after.next(), Some('e' | 'E')) {
                    let (first, second) = (after.next(), after.next());
                    let signed = matches!(first, Some('+' | '-'));
                    if if signed { second } else { first }.is_some_and(|c| c.is_ascii_digit()) {
                        self.skip(1 + usize::from(signed), digit);
                    }
                }
                if matches!(self.peek(), Some('j' | 'J')) {
                    self.skip(1, |_| false);
                }
            }
        }
        self.push(Kind::Number, self.source[start..self.at].to_owned());
    }

    /// Goes on by `bytes`, and then for as long as `more` says.
    fn skip(&mut self, bytes: usize, more: impl Fn(char) -> bool) {
        self.at += bytes;
        while self.peek().is_some_and(&more) {
            self.bump();
        }
    }

    fn name(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.peek().is_some_and(|c| is_name_start(c) || c.is_numeric() || is_mark(c)) {
            self.bump();
        }
        let word = &self.source[start..self.at];
        let prefix = word.to_ascii_lowercase();
        let is_prefix =
            matches!(prefix.as_str(), "r" | "b" | "u" | "f" | "br" | "rb" | "fr" | "rf" | "t" | "tr" | "rt");
        if is_prefix && matches!(self.peek(), Some('\'' | '"')) {
            return self.string(&prefix);
        }
        // Of what it stands for, which may be longer than what is written.
        let name: String = word.nfkc().take(MAX_NAME + 1).collect();
        if name.chars().nth(MAX_NAME).is_some() {
            return self.flaw("a name has more than 1000 characters");
        }
        self.push(Kind::Name, name);
        Ok(())
    }

    /// A string literal; the quote is next.
    fn string(&mut self, prefix: &str) -> Result<(), Flaw> {
        let quote = self.bump().unwrap_or('"');
        let triple: String = [quote, quote, quote].iter().collect();
        let long = self.rest().starts_with(&triple[1..]);
        if long {
            self.at += 2;
        }
        let end = if long { triple } else { quote.to_string() };
        let raw = prefix.contains('r');
        let formatted = prefix.contains(['f', 't']);
        let mut literal = Literal { formatted, disguised: 0 };
        let mut text = String::new();
        // The literal's token stands before those of its fields.
        let place = self.tokens.len();
        self.push(Kind::Text(literal), String::new());
        loop {
            if self.rest().starts_with(&end) {
                self.at += end.len();
                break;
            }
            let Some(c) = self.peek() else { return self.flaw("a string does not end") };
            match c {
                '\n' if !long => return self.flaw("a string does not end on its line"),
                '\\' => self.escape(raw, &mut text, &mut literal)?,
                '{' | '}' if formatted => {
                    let twice = self.rest()[1..].starts_with(c);
                    if twice {
                        self.at += 2;
                        text.push(c);
                    } else if c == '{' {
                        self.field()?;
                        text.push_str("{}");
                    } else {
                        self.bump();
                        text.push(c);
                    }
                }
                _ => {
                    text.push(c);
                    self.bump();
                }
            }
        }
        self.tokens[place].kind = Kind::Text(literal);
        self.tokens[place].text = text;
        Ok(())
    }

    /// A replacement field, from its `{` to its `}`; a format specification may hold fields of its own.
    fn field(&mut self) -> Result<(), Flaw> {
        if self.nesting == MAX_NESTING {
            return self.flaw("formatted strings stand too deep within one another");
        }
        self.nesting += 1;
        self.bump();
        self.push(Kind::Mark, "(".to_owned());
        self.depth += 1;
        self.run(Some(self.depth))?;
        self.push(Kind::Mark, ")".to_owned());
        self.depth -= 1;
        loop {
            match self.peek() {
                Some('}') => {
                    self.bump();
                    break;
                }
                Some('{') => self.field()?,
                Some(_) => {
                    self.bump();
                }
                None => return self.flaw("a formatted string does not end"),
            }
        }
        self.nesting -= 1;
        Ok(())
    }

    fn escape(&mut self, raw: bool, text: &mut String, literal: &mut Literal) -> Result<(), Flaw> {
        self.bump();
        // A backslash takes nothing from a field: `\{x}` is a backslash and a field.
        if literal.formatted && matches!(self.peek(), Some('{' | '}')) {
            text.push('\\');
            return Ok(());
        }
        let Some(c) = self.bump() else { return Ok(()) };
        if raw {
            text.push('\\');
            text.push(c);
            return Ok(());
        }
        // The name of a character is none.
        if literal.formatted && c == 'N' && self.rest().starts_with('{') {
            let end = self.rest().find('}').filter(|end| {
                self.rest()[1..*end].bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -".contains(&byte))
            });
            let Some(end) = end else { return self.flaw("the name of a character does not end") };
            text.push_str("\\N");
            text.push_str(&self.rest()[..=end]);
            self.at += end + 1;
            return Ok(());
        }
        self.unescape(c, text, literal);
        Ok(())
    }

    fn unescape(&mut self, c: char, text: &mut String, literal: &mut Literal) {
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let mut number = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    number = number * 8 + digit;
                    self.bump();
                }
                numeric(number, text, literal);
                return;
            }
            '\n' => return,
            'n' => return text.push('\n'),
            't' => return text.push('\t'),
            'r' => return text.push('\r'),
            '\\' | '\'' | '"' => return text.push(c),
            _ => {
                text.push('\\');
                return text.push(c);
            }
        };
        let number = self.rest().get(..digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match number {
            Some(number) => {
                self.at += digits;
                numeric(number, text, literal);
            }
            None => text.push(c),
        }
    }
}

fn numeric(number: u32, text: &mut String, literal: &mut Literal) {
    let c = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    literal.disguised += usize::from(c.is_ascii_graphic());
    text.push(c);
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// Marks that may stand within a name (PEP 3131); looser than Python, which only splits fewer names.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let shown: Vec<String> = tokens(source)
            .unwrap()
            .into_iter()
            .filter(|token| token.kind != Kind::End)
            .map(|token| match token.kind {
                Kind::Text(_) => format!("{:?}", token.text),
                _ => token.text,
            })
            .collect();
        assert_eq!(shown, expected, "{source}");
    }

    #[test]
    fn tokens_are_pythons() {
        check("a = b'x' # no \"text\"\n", &["a", "=", "\"x\""]);
        check("r'\\d' \"\\x41\\u0042\\103\\n\"", &[r#""\\d""#, r#""ABC\n""#]);
        check("'''two\nlines''' \"\"", &[r#""two\nlines""#, r#""""#]);
        check("f'{a}{{b}}'", &[r#""{}{b}""#, "(", "a", ")"]);
        check("f'{f(x):>{w}} {y!r}'", &[r#""{} {}""#, "(", "f", "(", "x", ")", ")", "(", "w", ")", "(", "y", ")"]);
        // Quotes of the same kind within a field (PEP 701): no code hides in what looks like a string.
        check(r#"f"{exec("x")}""#, &[r#""{}""#, "(", "exec", "(", r#""x""#, ")", ")"]);
        check("1e-5+0xFF", &["1e-5", "+", "0xFF"]);
        check("1_0.5e+3j-0b1 .5 0x_F", &["1_0.5e+3j", "-", "0b1", ".", "5", "0x_F"]);
        check("a\\\n.b", &["a", ".", "b"]);
        // Python compares names in their NFKC form.
        check("ｅｘｅｃ(x)", &["exec", "(", "x", ")"]);
    }

    #[test]
    fn no_code_hides_in_what_looks_like_something_else() {
        // A backslash does not make a field a text, in raw strings neither.
        check(r"f'\{exec(x)}'", &[r#""\\{}""#, "(", "exec", "(", "x", ")", ")"]);
        check(r"rf'\{exec(x)}'", &[r#""\\{}""#, "(", "exec", "(", "x", ")", ")"]);
        check(r"f'\\{exec(x)}'", &[r#""\\{}""#, "(", "exec", "(", "x", ")", ")"]);
        check(r"f'\}}{x}'", &[r#""\\}{}""#, "(", "x", ")"]);
        check(r"f'{x:\{exec(y)}}'", &[r#""{}""#, "(", "x", ")", "(", "exec", "(", "y", ")", ")"]);
        check(r"f'\N{DASH}{x}' '\N{DASH}'", &[r#""\\N{DASH}{}""#, "(", "x", ")", r#""\\N{DASH}""#]);
        check(r"rf'\N{exec}'", &[r#""\\N{}""#, "(", "exec", ")"]);
        // Nor does a number before it.
        check("1or exec(x)", &["1", "or", "exec", "(", "x", ")"]);
        check("1if x else exec", &["1", "if", "x", "else", "exec"]);
        check("1..__class__", &["1.", ".", "__class__"]);
        check("1.0.__class__ 1e5.real 0xfor x", &["1.0", ".", "__class__", "1e5", ".", "real", "0xf", "or", "x"]);
        // What ends a line for Python and for nobody else.
        for source in ["# x\rexec(y)\n", "\"\"\"\r\"\"\"", "x = 1 \\\r\r\ny", "x\r", "'a\rb'", "# \0"] {
            assert!(tokens(source).is_err(), "{source:?}");
        }
        check("# x\r\nexec\r\n", &["exec"]);
        // And what does for others: to Python a form feed is a blank, and the rest is no line's end in a comment.
        check("# a\x0cb\u{2028}c\u{85}d\n\x0cexec", &["exec"]);
        for source in ["x\u{2028}y", "x\u{85}y", "x\x0by", "x\x1cy"] {
            assert!(tokens(source).is_err(), "{source:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for source in ["'open", "'''open", "f'{a", "a \\ b", "a \u{202e} b", "\0", "'line\n'"] {
            assert!(tokens(source).is_err(), "{source:?}");
        }
        let deep = format!("{}1{}", "f'{".repeat(20), "}'".repeat(20));
        assert!(tokens(&deep).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(source in "\\PC{0,200}|[fNrex01.'\"{}()\\\\a-c!:\n]{0,80}") {
            let _read = tokens(&source);
        }
    }
}
