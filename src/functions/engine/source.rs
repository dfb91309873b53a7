//! Pure: a function's source, made ready for the engine: its imports are taken out, and it becomes
//! the body of a function that makes a fresh instance of it.
//!
//! The scan knows as much of the language as it needs to tell code from comments, strings,
//! templates and regular expressions; everything else is the engine's to refuse.

/// A source without its imports, which keeps its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    body: String,
    /// What each imported module is bound to, and its name.
    pub imports: Vec<(String, String)>,
    /// Whether the code names `globalThis`: it gets one of its own then.
    pub wants_global: bool,
}

impl Source {
    /// Scans a source; an error says the line and what is not taken there.
    pub fn scan(source: &str) -> Result<Self, String> {
        let mut scan = Scan::new(source.strip_prefix('\u{feff}').unwrap_or(source));
        while scan.step()? {}
        let body = String::from_utf8_lossy(&scan.out).into_owned();
        let wants_global = body.contains("globalThis");
        Ok(Self { body, imports: scan.imports, wants_global })
    }

    /// An expression: a function of the modules that gives a function which makes an instance and
    /// gives its `handler`.
    pub fn wrapped(&self) -> String {
        // Of the arguments, not of parameters: those the code could set for the calls to come.
        let mut bindings = String::new();
        for (at, (binding, _)) in self.imports.iter().enumerate() {
            bindings.push_str(&format!("const {binding}=arguments[{at}];"));
        }
        // All of this is in the source's first line, so that its lines keep their numbers.
        format!(
            "(function(){{\"use strict\";{bindings}return function(globalThis){{{}\n;return \
             typeof handler===\"undefined\"?undefined:handler}}}})",
            self.body
        )
    }

    /// An expression that is valid only if the source does not close more than it opens: what fits
    /// into a function's body and into a method's is nothing else than a body.
    pub fn probe(&self) -> String {
        let bindings: String =
            self.imports.iter().map(|(binding, _)| format!("const {binding}={{}};")).collect();
        format!("(function(){{{bindings}return class{{static m(globalThis){{{}\n}}}}}})", self.body)
    }
}

/// What the last token was, as far as a slash after it depends on that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A value: a slash divides.
    Value,
    /// An operator, or a word that a value follows: a slash begins a regular expression.
    Operator,
}

struct Scan<'s> {
    text: &'s [u8],
    /// The same, with blanks in the place of what was taken out.
    out: Vec<u8>,
    at: usize,
    last: Last,
    /// Whether the last token was a dot: what follows is a property's name.
    after_dot: bool,
    /// What is open: a bracket's octet, or `$` for an expression within a template.
    open: Vec<u8>,
    imports: Vec<(String, String)>,
}

/// Words that a value may follow.
const OPERATORS: [&str; 15] = [
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "else",
    "do",
    "instanceof",
    "yield",
    "await",
    "default",
];

const fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'$' || octet >= 0x80
}

impl<'s> Scan<'s> {
    fn new(source: &'s str) -> Self {
        let text = source.as_bytes();
        Self {
            text,
            out: text.to_vec(),
            at: 0,
            last: Last::Operator,
            after_dot: false,
            open: Vec::new(),
            imports: Vec::new(),
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn mistake(&self, what: &str) -> String {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|octet| **octet == b'\n').count() + 1;
        format!("line {line}: {what}")
    }

    // One token, or what lies between tokens; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let Some(&octet) = self.text.get(self.at) else { return Ok(false) };
        match octet {
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'/' if self.peek(1) == b'/' => self.skip_line(),
            b'/' if self.peek(1) == b'*' => self.skip_comment(),
            b'/' if self.last == Last::Operator => self.regex(),
            b'"' | b'\'' => self.string(octet),
            b'`' => self.template(),
            b'}' if self.open.last() == Some(&b'$') => {
                self.open.pop();
                self.template();
            }
            b'0'..=b'9' => self.number()?,
            _ if is_word(octet) => self.word()?,
            _ => self.sign(octet),
        }
        Ok(true)
    }

    fn sign(&mut self, octet: u8) {
        self.at += 1;
        self.after_dot = octet == b'.';
        self.last = match octet {
            b'(' | b'[' | b'{' => {
                self.open.push(octet);
                Last::Operator
            }
            b')' | b']' | b'}' => {
                self.open.pop();
                Last::Value
            }
            _ => Last::Operator,
        };
    }

    fn skip_line(&mut self) {
        while self.at < self.text.len() && self.text[self.at] != b'\n' {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) {
        let rest = &self.text[self.at + 2..];
        let end = rest.windows(2).position(|two| two == b"*/");
        self.at = end.map_or(self.text.len(), |end| self.at + 2 + end + 2);
    }

    fn string(&mut self, quote: u8) {
        self.at += 1;
        while self.at < self.text.len() {
            match self.text[self.at] {
                b'\\' => self.at += 1,
                b'\n' => break,
                octet if octet == quote => {
                    self.at += 1;
                    break;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.ended_value();
    }

    // From a backtick, or from the brace that ends an expression within a template.
    fn template(&mut self) {
        self.at += 1;
        while self.at < self.text.len() {
            match self.text[self.at] {
                b'\\' => self.at += 1,
                b'`' => {
                    self.at += 1;
                    return self.ended_value();
                }
                b'$' if self.peek(1) == b'{' => {
                    self.at += 2;
                    self.open.push(b'$');
                    self.last = Last::Operator;
                    self.after_dot = false;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn regex(&mut self) {
        self.at += 1;
        let mut in_class = false;
        while self.at < self.text.len() {
            match self.text[self.at] {
                b'\\' => self.at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'\n' => break,
                b'/' if !in_class => {
                    self.at += 1;
                    break;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.ended_value();
    }

    fn ended_value(&mut self) {
        // An escape may have led beyond the end.
        self.at = self.at.min(self.text.len());
        self.last = Last::Value;
        self.after_dot = false;
    }

    fn number(&mut self) -> Result<(), String> {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        if !self.after_dot && self.text[self.at - 1] == b'n' {
            self.at = start;
            return Err(self.mistake("BigInt literals are not taken: nothing limits their size"));
        }
        self.ended_value();
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        let is_name = self.after_dot;
        self.after_dot = false;
        let is_operator = OPERATORS.iter().any(|known| known.as_bytes() == word);
        self.last = if is_operator && !is_name { Last::Operator } else { Last::Value };
        if is_name || !self.open.is_empty() {
            return Ok(());
        }
        match word {
            b"import" => self.import(start),
            b"export" => {
                self.export(start);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn take_word(&mut self) -> &'s [u8] {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn blank(&mut self, from: usize, to: usize) {
        for octet in &mut self.out[from..to] {
            if *octet != b'\n' {
                *octet = b' ';
            }
        }
    }

    // `import name from "module"`, `import {a, b as c} from "module"`, `import * as name from …`.
    fn import(&mut self, start: usize) -> Result<(), String> {
        self.skip_blanks();
        // `import(…)` and `import.meta` are expressions.
        if matches!(self.peek(0), b'(' | b'.') {
            self.last = Last::Value;
            return Ok(());
        }
        let mut bindings = Vec::new();
        if !matches!(self.peek(0), b'"' | b'\'') {
            loop {
                self.skip_blanks();
                bindings.push(self.binding()?);
                self.skip_blanks();
                if self.peek(0) != b',' {
                    break;
                }
                self.at += 1;
            }
            if self.take_word() != b"from" {
                return Err(self.mistake("an import is not understood: `from` is missing"));
            }
            self.skip_blanks();
        }
        let module = self.module()?;
        self.skip_spaces();
        if self.peek(0) == b';' {
            self.at += 1;
        }
        self.blank(start, self.at);
        self.last = Last::Operator;
        if bindings.is_empty() {
            bindings.push(format!("__bare{}", self.imports.len()));
        }
        self.imports.extend(bindings.into_iter().map(|binding| (binding, module.clone())));
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
    }

    // What a module is bound to, as the left side of a `const`.
    fn binding(&mut self) -> Result<String, String> {
        match self.peek(0) {
            b'*' => {
                self.at += 1;
                self.skip_blanks();
                if self.take_word() != b"as" {
                    return Err(self.mistake("an import is not understood: `as` is missing"));
                }
                self.skip_blanks();
                self.name()
            }
            b'{' => {
                self.at += 1;
                self.names()
            }
            _ => self.name(),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let word = self.take_word();
        if word.is_empty() || word[0].is_ascii_digit() {
            return Err(self.mistake("an import is not understood: a name is missing"));
        }
        Ok(String::from_utf8_lossy(word).into_owned())
    }

    fn names(&mut self) -> Result<String, String> {
        let mut all = "{".to_string();
        loop {
            self.skip_blanks();
            if self.peek(0) == b'}' {
                self.at += 1;
                all.push('}');
                return Ok(all);
            }
            let name = self.name()?;
            self.skip_blanks();
            all.push_str(&name);
            if self.text[self.at..].starts_with(b"as") {
                self.at += 2;
                self.skip_blanks();
                all.push(':');
                all.push_str(&self.name()?);
                self.skip_blanks();
            }
            if self.peek(0) == b',' {
                self.at += 1;
                all.push(',');
            } else if self.peek(0) != b'}' {
                return Err(self.mistake("an import is not understood: `}` is missing"));
            }
        }
    }

    fn module(&mut self) -> Result<String, String> {
        let start = self.at + 1;
        let quote = self.peek(0);
        if !matches!(quote, b'"' | b'\'') {
            return Err(self.mistake("an import is not understood: the module's name is missing"));
        }
        self.string(quote);
        let end = self.at.saturating_sub(1).max(start);
        Ok(String::from_utf8_lossy(&self.text[start.min(end)..end]).into_owned())
    }

    // The engine sees no modules: what is exported is declared, and a list of names is nothing.
    fn export(&mut self, start: usize) {
        self.blank(start, self.at);
        self.skip_blanks();
        let from = self.at;
        if self.peek(0) == b'{' {
            while self.at < self.text.len() && self.text[self.at] != b'}' {
                self.at += 1;
            }
            self.at = (self.at + 1).min(self.text.len());
            self.blank(from, self.at);
        } else if self.text[self.at..].starts_with(b"default") && !is_word(self.peek(7)) {
            self.at += 7;
            self.blank(from, self.at);
        }
        self.last = Last::Operator;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"(import|export|as|from|[a-n{}()\[\]'"`/*\\$;,. \n0-9])*"#) {
            if let Ok(source) = Source::scan(&text) {
                prop_assert_eq!(source.body.matches('\n').count(), text.matches('\n').count());
            }
        }
    }

    fn imports(source: &str) -> Vec<(String, String)> {
        Source::scan(source).unwrap().imports
    }

    #[test]
    fn imports_are_taken_out_and_lines_stay() {
        let pair = |binding: &str, module: &str| (binding.to_string(), module.to_string());
        for (source, wanted, body) in [
            ("import cf from 'cloudfront';\nvar a;", vec![pair("cf", "cloudfront")], "\nvar a;"),
            ("// import x from 'y'\nimport a from \"b\"\nc", vec![pair("a", "b")], "\n\nc"),
            ("import\n  a\nfrom /* x */ 'b';", vec![pair("a", "b")], "\n\n"),
            ("import {Buffer, a as b} from 'buffer';", vec![pair("{Buffer,a:b}", "buffer")], ""),
            ("import * as q from 'querystring'", vec![pair("q", "querystring")], ""),
            ("import d, {e} from 'f';", vec![pair("d", "f"), pair("{e}", "f")], ""),
            ("import 'g';", vec![pair("__bare0", "g")], ""),
            ("var s = 'import a from \"b\"';", vec![], "var s = 'import a from \"b\"';"),
            ("x.import; import(y)", vec![], "x.import; import(y)"),
            ("var r = /import a from 'b'/;", vec![], "var r = /import a from 'b'/;"),
            ("`${`}`} import a from 'b'`", vec![], "`${`}`} import a from 'b'`"),
            ("a / b; import c from 'd'", vec![pair("c", "d")], "a / b;"),
            ("export default handler;", vec![], "handler;"),
            ("export { handler };\nx", vec![], ";\nx"),
            ("export function handler(e) {}", vec![], "function handler(e) {}"),
        ] {
            let scanned = Source::scan(source).unwrap();
            assert_eq!(scanned.imports, wanted, "{source}");
            let squeezed = |text: &str| {
                let lines = text.split('\n').map(|line| {
                    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
                });
                lines.filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n")
            };
            let trimmed = |text: &str| squeezed(text).trim().to_string();
            assert_eq!(trimmed(&scanned.body), trimmed(body), "{source}");
            assert_eq!(scanned.body.matches('\n').count(), source.matches('\n').count());
        }
    }

    #[test]
    fn what_is_not_taken_is_named_with_its_line() {
        for (source, wanted) in [
            ("\nvar a = 10n;", "line 2: BigInt literals are not taken"),
            ("var a = 0x1fn;", "line 1: BigInt literals are not taken"),
            ("\n\nimport a 'b'", "line 3: an import is not understood: `from` is missing"),
            ("import {a", "line 1: an import is not understood"),
            ("import a from b", "line 1: an import is not understood: the module's name"),
        ] {
            let found = Source::scan(source).unwrap_err();
            assert!(found.starts_with(wanted), "{source}: {found}");
        }
        for source in ["'10n'", "/10n/", "a10n", "x.b1n", "`10n`", "// 10n", "1.5", "0xff", "1e5"] {
            assert!(Source::scan(source).is_ok(), "{source}");
        }
    }

    #[test]
    fn odd_ends_are_survived() {
        for source in
            ["'\\", "`\\", "/\\", "`${", "/*", "//", "}}}", "import", "export", "export {", "1"]
        {
            let _ = Source::scan(source);
        }
        assert_eq!(imports("import a from 'b").len(), 1);
    }
}
