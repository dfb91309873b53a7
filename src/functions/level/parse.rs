//! Pure: a parser that keeps no tree, only what the rules ask about: which constructs stand where,
//! which names are declared and used, which members are asked for, what is imported.
//!
//! The grammar is ECMAScript 2024's for strict code, in one pass and with one token of foresight.
//! What may turn out to be a pattern is read as an expression that remembers what it could be.

use std::collections::HashSet;
use std::ops::Range;

use super::rules::{Construct, Seen};
use super::scope::{Declared, Met, Scopes};
use super::token::{Kind, Lexer, Problem, Token, problem};

pub(super) type Done<T = ()> = Result<T, Problem>;

/// So many constructs may stand within each other: recursion ends there.
pub(super) const MAX_DEPTH: u32 = 128;

/// Words that are no names in strict code.
const RESERVED: &[&str] = &[
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Says whether a word cannot be a name. `eval` and `arguments` can be used, not declared.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// What surrounds the place that is read; a function begins with one of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub in_function: bool,
    pub is_async: bool,
    pub is_generator: bool,
    /// Between the parentheses of a call.
    pub in_arguments: bool,
    pub in_template: bool,
    /// In the head of a `for`, where `in` is no operator.
    pub without_in: bool,
    pub in_loop: bool,
    pub in_switch: bool,
    /// From which label on they are this function's.
    pub labels_from: usize,
}

/// `a.b`: what stands before the point, if that is a name, and how it is used.
#[derive(Clone, Debug)]
pub(super) struct Member<'s> {
    /// Where the name before the point begins.
    pub object: Option<usize>,
    pub name: &'s str,
    pub at: usize,
    /// How many arguments it is called with.
    pub arguments: Option<usize>,
}

/// An import of a default export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Imported<'s> {
    pub local: &'s str,
    pub module: &'s str,
    /// The whole statement, in octets.
    pub span: Range<usize>,
}

/// Reads a source; what it saw is in its fields afterwards.
pub(super) struct Parser<'s> {
    pub source: &'s str,
    pub lexer: Lexer<'s>,
    pub token: Token,
    /// Where the token before ended.
    pub previous_end: usize,
    pub depth: u32,
    pub frame: Frame,
    /// Where an arrow function could begin.
    pub arrow_at: usize,
    /// Where the operand with an operator before it begins that was read last.
    pub signed_at: usize,
    pub labels: Vec<(&'s str, bool)>,
    pub seen: Vec<Seen>,
    pub scopes: Scopes<'s>,
    pub members: Vec<Member<'s>>,
    /// Names of properties that the source itself gives to objects.
    pub given: HashSet<&'s str>,
    pub imports: Vec<Imported<'s>>,
    /// `require("…")`: which module, and where.
    pub requires: Vec<(&'s str, usize)>,
    /// The blocks of `try` that have a `catch`.
    pub caught: Vec<Range<usize>>,
}

impl<'s> Parser<'s> {
    /// Reads the first token.
    pub(super) fn new(source: &'s str) -> Done<Self> {
        let mut lexer = Lexer::new(source);
        let token = lexer.next()?;
        Ok(Self {
            source,
            lexer,
            token,
            previous_end: 0,
            depth: 0,
            frame: Frame::default(),
            arrow_at: usize::MAX,
            signed_at: usize::MAX,
            labels: Vec::new(),
            seen: Vec::new(),
            scopes: Scopes::new(),
            members: Vec::new(),
            given: HashSet::new(),
            imports: Vec::new(),
            requires: Vec::new(),
            caught: Vec::new(),
        })
    }

    /// Reads all of it.
    pub(super) fn module(&mut self) -> Done {
        while self.token.kind != Kind::End {
            if self.is_word("export") {
                self.export()?;
            } else if self.is_word("import") && !self.is_import_expression() {
                self.import()?;
            } else {
                self.statement(true)?;
            }
        }
        Ok(())
    }

    fn is_import_expression(&self) -> bool {
        matches!(self.peek().kind, Kind::Punctuator("(" | "."))
    }

    /// Says whether what is thrown at a place is caught. A function within the block counts as well,
    /// wherever it is called.
    pub(super) fn is_caught(&self, at: usize) -> bool {
        self.caught.iter().any(|block| block.contains(&at))
    }

    // ---- tokens ----

    pub(super) fn text(&self, token: Token) -> &'s str {
        self.source.get(token.start..token.end).unwrap_or("")
    }

    pub(super) fn bump(&mut self) -> Done<Token> {
        let token = self.token;
        self.previous_end = token.end;
        self.token = self.lexer.next()?;
        Ok(token)
    }

    /// The token behind this one; the end for one that cannot be read.
    pub(super) fn peek(&self) -> Token {
        let mut ahead = self.lexer;
        let end = self.source.len();
        ahead.next().unwrap_or(Token {
            kind: Kind::End,
            start: end,
            end,
            after_newline: false,
            is_escaped: false,
        })
    }

    pub(super) fn is(&self, what: &str) -> bool {
        matches!(self.token.kind, Kind::Punctuator(is) if is == what)
    }

    /// True for a keyword, which has no escapes.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.token.kind == Kind::Name && !self.token.is_escaped && self.text(self.token) == word
    }

    pub(super) fn eat(&mut self, what: &str) -> Done<bool> {
        let is = self.is(what);
        if is {
            self.bump()?;
        }
        Ok(is)
    }

    pub(super) fn eat_word(&mut self, word: &str) -> Done<bool> {
        let is = self.is_word(word);
        if is {
            self.bump()?;
        }
        Ok(is)
    }

    pub(super) fn expect(&mut self, what: &str) -> Done {
        if self.eat(what)? { Ok(()) } else { self.unexpected(&format!("`{what}`")) }
    }

    /// This token does not belong here.
    pub(super) fn unexpected<T>(&self, wanted: &str) -> Done<T> {
        let found = match self.token.kind {
            Kind::End => "the end".to_string(),
            _ => {
                let text = self.text(self.token);
                let short: String = text.chars().take(20).collect();
                let dots = if short.len() < text.len() { "…" } else { "" };
                format!("`{short}{dots}`")
            }
        };
        problem(self.token.start, format!("{found} where {wanted} should be"))
    }

    /// The end of a statement, written or not.
    pub(super) fn semicolon(&mut self) -> Done {
        let may_lack = self.is("}") || self.token.kind == Kind::End || self.token.after_newline;
        if self.eat(";")? || may_lack { Ok(()) } else { self.unexpected("`;` or a new line") }
    }

    /// Goes one level deeper, if there is room.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        if self.depth >= MAX_DEPTH {
            return problem(
                self.token.start,
                format!("more than {MAX_DEPTH} constructs within each other"),
            );
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Reads with something of the frame changed, and puts the frame back.
    pub(super) fn framed<T>(
        &mut self,
        change: impl FnOnce(&mut Frame),
        read: impl FnOnce(&mut Self) -> Done<T>,
    ) -> Done<T> {
        let before = self.frame;
        change(&mut self.frame);
        let read = read(self);
        self.frame = before;
        read
    }

    pub(super) fn saw(&mut self, construct: Construct, at: usize) {
        self.seen.push(Seen { construct, at });
    }

    // ---- names ----

    /// A name that is declared or used here, keywords refused.
    pub(super) fn name(&mut self, wanted: &str) -> Done<(&'s str, usize)> {
        if self.token.kind != Kind::Name {
            return self.unexpected(wanted);
        }
        let (name, at) = (self.text(self.token), self.token.start);
        if is_reserved(name) {
            return match name {
                "await" => problem(at, "`await` is only valid in async functions"),
                _ => problem(at, format!("`{name}` is a reserved word")),
            };
        }
        if self.token.is_escaped || !name.is_ascii() {
            self.saw(Construct::NameBeyondAscii, at);
        }
        self.bump()?;
        Ok((name, at))
    }

    /// A name that is declared here.
    pub(super) fn declared_name(&mut self, how: Declared) -> Done<&'s str> {
        let (name, at) = self.name("a name")?;
        self.declare(name, at, how)?;
        Ok(name)
    }

    pub(super) fn declare(&mut self, name: &'s str, at: usize, how: Declared) -> Done {
        if matches!(name, "eval" | "arguments") {
            return problem(at, format!("strict code cannot declare or assign `{name}`"));
        }
        match self.scopes.declare(name, how) {
            Met::Nothing => Ok(()),
            Met::InModules => {
                self.saw(Construct::DeclaredTwice, at);
                Ok(())
            }
            Met::Forbidden => problem(at, format!("`{name}` is declared twice")),
        }
    }

    // ---- imports and exports ----

    fn import(&mut self) -> Done {
        let start = self.bump()?.start;
        if self.token.kind == Kind::Text {
            self.saw(Construct::BareImport, start);
            self.bump()?;
            return self.semicolon();
        }
        let mut local = None;
        if self.token.kind == Kind::Name {
            local = Some(self.declared_name(Declared::Lexical)?);
            if self.eat(",")? && !self.is("{") && !self.is("*") {
                return self.unexpected("`{`");
            }
        }
        if self.is("*") {
            self.saw(Construct::NamespaceImport, start);
            self.bump()?;
            if !self.eat_word("as")? {
                return self.unexpected("`as`");
            }
            self.declared_name(Declared::Lexical)?;
        } else if self.is("{") {
            self.saw(Construct::NamedImport, start);
            self.import_names()?;
        } else if local.is_none() {
            return self.unexpected("a name");
        }
        if !self.eat_word("from")? {
            return self.unexpected("`from`");
        }
        if self.token.kind != Kind::Text {
            return self.unexpected("the name of a module");
        }
        let module = self.bump()?;
        self.semicolon()?;
        if let Some(local) = local {
            let (module, span) = (self.inner_text(module), start..self.previous_end);
            self.imports.push(Imported { local, module, span });
        }
        Ok(())
    }

    fn import_names(&mut self) -> Done {
        self.bump()?;
        while !self.is("}") {
            if !matches!(self.token.kind, Kind::Name | Kind::Text) {
                return self.unexpected("a name");
            }
            let first = self.token;
            let renamed = matches!(self.peek().kind, Kind::Name);
            if renamed || first.kind == Kind::Text {
                self.bump()?;
                if !self.eat_word("as")? {
                    return self.unexpected("`as`");
                }
            }
            self.declared_name(Declared::Lexical)?;
            if !self.eat(",")? {
                break;
            }
        }
        self.expect("}")
    }

    /// What stands between the quotes of a text.
    pub(super) fn inner_text(&self, token: Token) -> &'s str {
        self.source.get(token.start + 1..token.end.saturating_sub(1)).unwrap_or("")
    }

    fn export(&mut self) -> Done {
        let start = self.bump()?.start;
        self.saw(Construct::Export, start);
        if self.eat_word("default")? {
            let is_function =
                self.is_word("function") || (self.is_word("async") && self.is_before_function());
            if is_function {
                return self.exported_function();
            }
            if self.is_word("class") {
                return self.class_expression();
            }
            self.assignment()?;
            return self.semicolon();
        }
        if self.is("{") || self.is("*") {
            return self.export_names();
        }
        self.statement(true)
    }

    fn export_names(&mut self) -> Done {
        if self.eat("*")? {
            if self.eat_word("as")? {
                self.bump()?;
            }
        } else {
            self.bump()?;
            while matches!(self.token.kind, Kind::Name | Kind::Text) {
                self.bump()?;
                if self.eat_word("as")? {
                    self.bump()?;
                }
                if !self.eat(",")? {
                    break;
                }
            }
            self.expect("}")?;
        }
        if self.eat_word("from")? {
            if self.token.kind != Kind::Text {
                return self.unexpected("the name of a module");
            }
            self.bump()?;
        }
        self.semicolon()
    }

    /// At `async`: `function` follows on the same line.
    pub(super) fn is_before_function(&self) -> bool {
        let next = self.peek();
        next.kind == Kind::Name
            && !next.after_newline
            && !next.is_escaped
            && self.text(next) == "function"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_found() {
        assert!(RESERVED.is_sorted());
        for word in ["await", "yield", "let", "static", "enum", "with", "break"] {
            assert!(is_reserved(word), "{word}");
        }
        for word in ["eval", "arguments", "async", "of", "get", "undefined", "handler"] {
            assert!(!is_reserved(word), "{word}");
        }
    }
}
