//! Pure: whether the source of a CloudFront Function keeps to the language that CloudFront's own
//! engine takes, and what to write instead where it does not.
//!
//! CloudFront stores code that its engine cannot compile, and answers the first viewer with 503;
//! here each place is named with its line before anything is served. The engine is taken for njs
//! (src/DECISIONS.md, "The language level is read by a parser of our own").

mod expression;
mod function;
mod member;
mod parse;
mod rules;
mod scope;
mod statement;
mod token;
mod value;
mod words;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use crate::distribution::functions::{Level, Runtime};
use parse::{MAX_DEPTH, Member, Parser};
use rules::{Refused, Seen, modules, name_of};
use scope::{Reference, Use};
use token::{Problem, is_line_end};
use words::{Global, absent_method, absent_static, global};

/// So many octets of code CloudFront takes.
pub const MAX_CODE: usize = 10_240;

/// Whether code with this finding can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is not as it should be. Shown, it is one line of text:
/// ``line 4: `for…of` is not in cloudfront-js-2.0; use an index loop``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word for machines, such as `for-of`; `syntax` for what is no JavaScript in strict code.
    pub rule: &'static str,
    pub severity: Severity,
    /// From 1 on.
    pub line: usize,
    /// From 1 on, in characters.
    pub column: usize,
    pub what: String,
    /// What to do about it; empty if that is plain.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(out, "; {}", self.remedy) }
    }
}

/// `import local from 'module'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub local: String,
    /// As spelled between the quotes.
    pub module: String,
    /// The whole statement with its semicolon, in octets of the source.
    pub span: Range<usize>,
}

/// Everything that a source does wrong, in the order of the text. With `Level::Any` that is
/// what our own engine cannot run: no JavaScript, no `handler`, `await` outside of functions.
///
/// A mistake of syntax is the only finding about the language: what follows it cannot be read.
pub fn check(source: &str, runtime: Runtime, level: Level) -> Vec<Finding> {
    let mut report = Report { lines: Lines::of(source), runtime, level, found: Vec::new() };
    report.size(source.len());
    match read(source) {
        Ok(parser) => report.parsed(&parser),
        Err(problem) => report.syntax(problem),
    }
    let mut found = report.found;
    found.sort_by_key(|finding| (finding.line, finding.column));
    found
}

/// The imports of a source, in order, or the first reason why there is no telling: a mistake of
/// syntax, or an import of something else than a default.
pub fn imports(source: &str) -> Result<Vec<Import>, Finding> {
    let (runtime, level) = (Runtime::Js2, Level::CloudFront);
    let mut report = Report { lines: Lines::of(source), runtime, level, found: Vec::new() };
    let mut all = Vec::new();
    match read(source) {
        Err(problem) => report.syntax(problem),
        Ok(parser) => {
            let others: Vec<Seen> = parser.seen.into_iter().filter(is_other_import).collect();
            report.constructs(&others);
            all.extend(parser.imports.into_iter().map(|one| Import {
                local: one.local.to_string(),
                module: one.module.to_string(),
                span: one.span,
            }));
        }
    }
    match report.found.into_iter().next() {
        Some(finding) => Err(finding),
        None => Ok(all),
    }
}

fn is_other_import(seen: &Seen) -> bool {
    use rules::Construct::{BareImport, NamedImport, NamespaceImport};
    matches!(seen.construct, BareImport | NamedImport | NamespaceImport)
}

// What is not there does harm when it is reached. Code that asks for it first, by `typeof`, or that
// catches what comes of it runs at CloudFront as it runs here.
const fn harm(is_met: bool) -> Severity {
    if is_met { Severity::Warning } else { Severity::Error }
}

fn read(source: &str) -> Result<Parser<'_>, Problem> {
    let mut parser = Parser::new(source)?;
    parser.module()?;
    Ok(parser)
}

// Where lines begin, to tell line and column of an octet.
struct Lines<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn of(source: &'s str) -> Self {
        let mut starts = vec![0];
        let ends = source.char_indices().filter(|(_, c)| is_line_end(*c));
        starts.extend(ends.filter_map(|(at, c)| {
            let next = at + c.len_utf8();
            let is_half = c == '\r' && source[next..].starts_with('\n');
            (!is_half).then_some(next)
        }));
        Self { source, starts }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let before = self.source.get(self.starts[line - 1]..at).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}

struct Report<'s> {
    lines: Lines<'s>,
    runtime: Runtime,
    level: Level,
    found: Vec<Finding>,
}

impl<'s> Report<'s> {
    fn add(
        &mut self,
        rule: &'static str,
        severity: Severity,
        at: usize,
        (what, remedy): (String, &str),
    ) {
        let (line, column) = self.lines.place(at);
        let remedy = remedy.to_string();
        self.found.push(Finding { rule, severity, line, column, what, remedy });
    }

    fn size(&mut self, octets: usize) {
        if self.level == Level::CloudFront && octets > MAX_CODE {
            let what = format!("{octets} octets of code, and CloudFront takes {MAX_CODE}");
            self.add("size", Severity::Error, 0, (what, "leave out comments and white space"));
        }
    }

    fn syntax(&mut self, problem: Problem) {
        let too_deep = problem.what.starts_with(&format!("more than {MAX_DEPTH} "));
        let rule = if too_deep { "depth" } else { "syntax" };
        self.add(rule, Severity::Error, problem.at, (problem.what, ""));
    }

    fn parsed(&mut self, parser: &Parser<'s>) {
        self.constructs(&parser.seen);
        if !parser.scopes.module_has("handler") {
            let what = "no function is called `handler`".to_string();
            let remedy = "declare `function handler(event) { … }` outside of all others";
            self.add("handler", Severity::Error, 0, (what, remedy));
        }
        if self.level == Level::CloudFront {
            self.modules(parser);
            self.globals(parser);
            parser.members.iter().for_each(|member| self.member(member, parser));
        }
    }

    fn constructs(&mut self, seen: &[Seen]) {
        for one in seen {
            let words = one.construct.words();
            let severity = match (words.refused, self.level, self.runtime) {
                (Refused::Everywhere, ..) => Severity::Error,
                (_, Level::Any, _) | (Refused::ByFirst, _, Runtime::Js2) => continue,
                (Refused::BySome, ..) => Severity::Warning,
                (Refused::ByCloudFront | Refused::ByFirst, ..) => Severity::Error,
            };
            let what = match words.refused {
                Refused::BySome => {
                    format!("{} is refused by some versions of CloudFront's engine", words.what)
                }
                _ => format!("{} is not in {}", words.what, name_of(self.runtime)),
            };
            self.add(words.rule, severity, one.at, (what, words.remedy));
        }
    }

    fn modules(&mut self, parser: &Parser<'s>) {
        let imported = parser.imports.iter().map(|one| (one.module, one.span.start));
        let required = parser.requires.iter().copied().filter(|(_, at)| {
            // Not a function of the source's own.
            parser.scopes.free_at(*at).is_some()
        });
        let there = modules(self.runtime);
        for (module, at) in imported.chain(required).filter(|(one, _)| !there.contains(one)) {
            let what = format!("`{module}` is no module of {}", name_of(self.runtime));
            let remedy = if modules(Runtime::Js2).contains(&module) {
                "use cloudfront-js-2.0".to_string()
            } else {
                format!("there are {}", there.join(", "))
            };
            self.add("module", Severity::Error, at, (what, &remedy));
        }
    }

    // Names that nothing declares, and that no runtime or not this one has.
    fn globals(&mut self, parser: &Parser<'s>) {
        let mut told = HashSet::new();
        let all = &parser.scopes.references;
        let asks = all.iter().filter(|one| one.used == Use::Typeof);
        let asked: HashSet<&str> = asks.map(|one| one.name).collect();
        let used = all.iter().filter(|one| one.used != Use::Typeof);
        for reference in used.filter(|one| parser.scopes.is_free(one)) {
            let is_met = asked.contains(reference.name) || parser.is_caught(reference.at);
            self.global(reference, harm(is_met), &mut told);
        }
    }

    fn global(&mut self, reference: &Reference<'s>, harm: Severity, told: &mut HashSet<&'s str>) {
        let (name, at, runtime) = (reference.name, reference.at, name_of(self.runtime));
        match global(name, self.runtime) {
            Global::There if name == "Function" && reference.used != Use::Plain => {
                let what = format!("`Function` makes code from text, which {runtime} refuses");
                self.add("absent", Severity::Error, at, (what, "write the function itself"));
            }
            Global::There => {}
            Global::Absent(remedy) => {
                let what = format!("`{name}` is not in {runtime}");
                self.add("absent", harm, at, (what, remedy));
            }
            Global::Unknown if told.insert(name) => {
                let what = format!("`{name}` is declared nowhere");
                self.add("undeclared", Severity::Warning, at, (what, "declare it with `var`"));
            }
            Global::Unknown => {}
        }
    }

    fn member(&mut self, member: &Member<'s>, parser: &Parser<'s>) {
        let (runtime, harm) = (name_of(self.runtime), harm(parser.is_caught(member.at)));
        let object = member.object.and_then(|at| parser.scopes.free_at(at)).map(|one| one.name);
        if object == Some("console") {
            return self.console(member, harm);
        }
        if let Some(object) = object {
            if (object, member.name, self.runtime) == ("Array", "from", Runtime::Js2) {
                let what = "`Array.from` is not in CloudFront's list of what there is".to_string();
                let remedy = "fill an array in a loop";
                return self.add("unlisted", Severity::Warning, member.at, (what, remedy));
            }
            if let Some(remedy) = absent_static(object, member.name, self.runtime) {
                let what = format!("`{object}.{}` is not in {runtime}", member.name);
                return self.add("absent", harm, member.at, (what, remedy));
            }
        }
        // A method of the source's own objects may have any name.
        if member.arguments.is_none() || parser.given.contains(member.name) {
            return;
        }
        if let Some(remedy) = absent_method(member.name, self.runtime) {
            let what = format!("`.{}()` is not in {runtime}", member.name);
            self.add("absent", harm, member.at, (what, remedy));
        }
    }

    fn console(&mut self, member: &Member<'s>, harm: Severity) {
        let (name, at) = (member.name, member.at);
        if name != "log" {
            let what = format!("`console.{name}` is not in {}", name_of(self.runtime));
            return self.add("absent", harm, at, (what, "use `console.log`"));
        }
        if let Some(count) = member.arguments.filter(|count| *count > 1) {
            let what = format!("`console.log` with {count} arguments writes the first only");
            let remedy = "join them: `console.log(a + ' ' + b)`";
            self.add("console-arguments", Severity::Warning, at, (what, remedy));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = "function handler(event) { return event.request; }\n";

    #[test]
    fn a_finding_is_one_line_with_its_remedy() {
        let source = format!("{HANDLER}\n\nfor (var x of y) {{}} var y;\n");
        let found = check(&source, Runtime::Js2, Level::CloudFront);
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["line 4: `for…of` is not in cloudfront-js-2.0; use an index loop"]);
        assert_eq!((found[0].rule, found[0].column), ("for-of", 1));
        assert!(check(&source, Runtime::Js2, Level::Any).is_empty());
    }

    #[test]
    fn lines_end_as_the_standard_says() {
        let lines = Lines::of("a\nb\r\nc\rd\u{2028}é!");
        let at = |text: &str| lines.place(lines.source.find(text).unwrap());
        assert_eq!([at("a"), at("b"), at("c"), at("d")], [(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(at("!"), (5, 2));
        assert_eq!(lines.place(1000), (5, 1));
    }

    #[test]
    fn imports_are_told_with_their_places() {
        let source = "// é\nimport a from 'crypto';import cf from \"cloudfront\"\nvar b";
        let found = imports(source).unwrap();
        let names: Vec<_> = found.iter().map(|one| (&one.local[..], &one.module[..])).collect();
        assert_eq!(names, [("a", "crypto"), ("cf", "cloudfront")]);
        assert_eq!(&source[found[0].span.clone()], "import a from 'crypto';");
        assert_eq!(&source[found[1].span.clone()], "import cf from \"cloudfront\"");
        assert_eq!(imports("import { a } from 'b'").unwrap_err().rule, "named-import");
        assert_eq!(imports("import a from").unwrap_err().rule, "syntax");
        assert_eq!(imports("for (const x of y) {}").unwrap(), []);
    }

    #[test]
    fn code_may_be_so_long_and_no_longer() {
        let fits = format!("{HANDLER}{}", " ".repeat(MAX_CODE - HANDLER.len()));
        assert!(check(&fits, Runtime::Js1, Level::CloudFront).is_empty());
        let longer = format!("{fits} ");
        let found = check(&longer, Runtime::Js1, Level::CloudFront);
        assert_eq!(found[0].what, "10241 octets of code, and CloudFront takes 10240");
        assert!(check(&longer, Runtime::Js1, Level::Any).is_empty());
    }

    #[test]
    fn depth_ends_in_a_finding() {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{", "}"), ("!", ""), ("a(", ")"), ("function f() {", "}")]
        {
            let deep = format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
            let found = check(&deep, Runtime::Js2, Level::Any);
            assert_eq!(found[0].rule, "depth", "{open}: {}", found[0]);
        }
        for long in ["1 + ", "a.b = a.b, ", "a ? b : ", "if (a) b; else "] {
            let source = format!("{HANDLER}var a, b; {}1", long.repeat(1000));
            assert_eq!(check(&source, Runtime::Js2, Level::Any), [], "{long}");
        }
    }
}
