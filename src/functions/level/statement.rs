//! Pure: statements.

use super::expression::Shape;
use super::parse::{Done, Parser, is_reserved};
use super::rules::Construct;
use super::scope::Declared;
use super::token::{Kind, problem};

impl<'s> Parser<'s> {
    /// A statement; with `lists`, where several may stand and something may be declared.
    pub(super) fn statement(&mut self, lists: bool) -> Done {
        self.nested(|parser| parser.statement_within(lists))
    }

    fn statement_within(&mut self, lists: bool) -> Done {
        match self.token.kind {
            Kind::Punctuator("{") => return self.block(),
            Kind::Punctuator(";") => return self.bump().map(drop),
            Kind::Name if !self.token.is_escaped => {}
            _ => return self.expression_statement(),
        }
        let word = self.text(self.token);
        let declares = matches!(word, "let" | "const" | "class" | "function")
            || (word == "async" && self.is_before_function());
        if declares && !lists {
            return problem(
                self.token.start,
                format!("`{word}` declares something where only a statement can stand"),
            );
        }
        match word {
            "var" | "let" | "const" => {
                self.declaration(false)?;
                self.semicolon()
            }
            "function" => self.function_declaration(),
            "async" if declares => self.function_declaration(),
            "class" => self.class_declaration(),
            "if" => self.conditional(),
            "for" => self.for_loop(),
            "while" => self.while_loop(),
            "do" => self.do_loop(),
            "return" => self.returns(),
            "break" | "continue" => self.jump(word),
            "throw" => self.throw(),
            "try" => self.tries(),
            "switch" => self.switch(),
            "debugger" => {
                self.bump()?;
                self.semicolon()
            }
            "with" => problem(self.token.start, "strict code has no `with`"),
            "import" if !matches!(self.peek().kind, Kind::Punctuator("(" | ".")) => {
                problem(self.token.start, "`import` belongs to the top level")
            }
            "export" => problem(self.token.start, "`export` belongs to the top level"),
            _ if self.is_label() => self.labelled(),
            _ => self.expression_statement(),
        }
    }

    fn expression_statement(&mut self) -> Done {
        self.value()?;
        self.semicolon()
    }

    /// `{ … }` with names of its own.
    pub(super) fn block(&mut self) -> Done {
        let around = self.scopes.enter(false);
        let read = self.statements();
        self.scopes.leave(around);
        read
    }

    // `{ … }` in the scope that is there.
    fn statements(&mut self) -> Done {
        self.expect("{")?;
        while !self.is("}") {
            if self.token.kind == Kind::End {
                return self.unexpected("`}`");
            }
            self.statement(true)?;
        }
        self.bump()?;
        Ok(())
    }

    // `var`, `let` or `const` and what they declare. True in the head of a `for` that goes through
    // something, where no value stands.
    fn declaration(&mut self, in_head: bool) -> Done<bool> {
        let token = self.bump()?;
        let word = self.text(token);
        let how = if word == "var" { Declared::Var } else { Declared::Lexical };
        match word {
            "let" => self.saw(Construct::Let, token.start),
            "const" => self.saw(Construct::Const, token.start),
            _ => {}
        }
        loop {
            let start = self.token.start;
            let is_pattern = self.is("[") || self.is("{");
            self.binding(how)?;
            if self.eat("=")? {
                self.assignment()?;
            } else if in_head && self.is_before_in_or_of() {
                return Ok(true);
            } else if word == "const" || is_pattern {
                return problem(start, format!("`{word}` without a value"));
            }
            if !self.eat(",")? {
                return Ok(false);
            }
        }
    }

    fn is_before_in_or_of(&self) -> bool {
        self.is_word("in") || self.is_word("of")
    }

    fn parenthesised_value(&mut self) -> Done {
        self.expect("(")?;
        self.value()?;
        self.expect(")")
    }

    fn conditional(&mut self) -> Done {
        // A long chain of `else if` is no deep one.
        loop {
            self.bump()?;
            self.parenthesised_value()?;
            self.statement(false)?;
            if !self.eat_word("else")? {
                return Ok(());
            }
            if !self.is_word("if") {
                return self.statement(false);
            }
        }
    }

    // ---- loops ----

    fn loop_body(&mut self) -> Done {
        self.framed(|frame| frame.in_loop = true, |parser| parser.statement(false))
    }

    fn while_loop(&mut self) -> Done {
        self.bump()?;
        self.parenthesised_value()?;
        self.loop_body()
    }

    fn do_loop(&mut self) -> Done {
        self.bump()?;
        self.loop_body()?;
        if !self.eat_word("while")? {
            return self.unexpected("`while`");
        }
        self.parenthesised_value()?;
        // The one place where a semicolon may lack without a new line.
        self.eat(";").map(drop)
    }

    fn for_loop(&mut self) -> Done {
        let start = self.bump()?.start;
        let construct =
            if self.eat_word("await")? { Construct::ForAwait } else { Construct::ForOf };
        let around = self.scopes.enter(false);
        let read = self.for_rest(start, construct);
        self.scopes.leave(around);
        read
    }

    fn for_rest(&mut self, start: usize, of: Construct) -> Done {
        self.expect("(")?;
        let declares = ["var", "let", "const"].iter().any(|word| self.is_word(word));
        let enumerates = if self.is(";") {
            false
        } else if declares {
            self.framed(|frame| frame.without_in = true, |parser| parser.declaration(true))?
        } else {
            let target = self.framed(|frame| frame.without_in = true, Self::expression)?;
            let enumerates = self.is_before_in_or_of();
            match target.shape {
                _ if !enumerates => self.settle(&target)?,
                Shape::Name { .. } | Shape::Place { .. } | Shape::Literal(_) => {
                    self.take_target(&target)?;
                }
                _ => return problem(target.start, "this cannot be assigned to"),
            }
            enumerates
        };
        if enumerates {
            if self.is_word("of") {
                self.saw(of, start);
                self.bump()?;
                self.assignment()?;
            } else {
                self.bump()?;
                self.value()?;
            }
        } else {
            self.expect(";")?;
            if !self.is(";") {
                self.value()?;
            }
            self.expect(";")?;
            if !self.is(")") {
                self.value()?;
            }
        }
        self.expect(")")?;
        self.loop_body()
    }

    // ---- jumps ----

    fn returns(&mut self) -> Done {
        if !self.frame.in_function {
            return problem(self.token.start, "`return` outside a function");
        }
        self.bump()?;
        let ends = self.is(";")
            || self.is("}")
            || self.token.kind == Kind::End
            || self.token.after_newline;
        if !ends {
            self.value()?;
        }
        self.semicolon()
    }

    fn jump(&mut self, word: &'s str) -> Done {
        let start = self.bump()?.start;
        let has_label = self.token.kind == Kind::Name
            && !self.token.after_newline
            && !is_reserved(self.text(self.token));
        if has_label {
            let token = self.bump()?;
            let name = self.text(token);
            let known = self.labels[self.frame.labels_from..]
                .iter()
                .any(|(label, is_loop)| *label == name && (*is_loop || word == "break"));
            if !known {
                return problem(start, format!("`{word} {name}` outside of what bears that label"));
            }
        } else if !(self.frame.in_loop || (word == "break" && self.frame.in_switch)) {
            let around = if word == "break" { "a loop or a switch" } else { "a loop" };
            return problem(start, format!("`{word}` outside {around}"));
        }
        self.semicolon()
    }

    fn throw(&mut self) -> Done {
        let start = self.bump()?.start;
        if self.token.after_newline {
            return problem(start, "`throw` with a new line behind it");
        }
        self.value()?;
        self.semicolon()
    }

    fn is_label(&self) -> bool {
        matches!(self.peek().kind, Kind::Punctuator(":")) && !is_reserved(self.text(self.token))
    }

    fn labelled(&mut self) -> Done {
        let before = self.labels.len();
        while self.token.kind == Kind::Name && self.is_label() {
            let (name, at) = self.name("a label")?;
            if self.labels[self.frame.labels_from..].iter().any(|(label, _)| *label == name) {
                return problem(at, format!("the label `{name}` stands twice"));
            }
            self.labels.push((name, false));
            self.bump()?;
        }
        let is_loop = ["for", "while", "do"].iter().any(|word| self.is_word(word));
        for (_, labels_loop) in &mut self.labels[before..] {
            *labels_loop = is_loop;
        }
        let read = self.statement(false);
        self.labels.truncate(before);
        read
    }

    // ---- try and switch ----

    fn tries(&mut self) -> Done {
        let start = self.bump()?.start;
        self.block()?;
        let catches = self.is_word("catch");
        if catches {
            self.caught.push(start..self.previous_end);
            let around = self.scopes.enter(false);
            let read = self.catches();
            self.scopes.leave(around);
            read?;
        }
        if self.eat_word("finally")? {
            return self.block();
        }
        if catches { Ok(()) } else { self.unexpected("`catch` or `finally`") }
    }

    fn catches(&mut self) -> Done {
        let start = self.bump()?.start;
        if self.eat("(")? {
            self.binding(Declared::Caught)?;
            self.expect(")")?;
        } else {
            self.saw(Construct::CatchWithoutBinding, start);
        }
        self.statements()
    }

    fn switch(&mut self) -> Done {
        self.bump()?;
        self.parenthesised_value()?;
        let around = self.scopes.enter(false);
        let read = self.framed(|frame| frame.in_switch = true, Self::cases);
        self.scopes.leave(around);
        read
    }

    fn cases(&mut self) -> Done {
        self.expect("{")?;
        let mut has_default = false;
        while !self.is("}") {
            if self.is_word("default") {
                if has_default {
                    return problem(self.token.start, "`default` stands twice");
                }
                has_default = true;
                self.bump()?;
            } else if self.eat_word("case")? {
                self.value()?;
            } else {
                return self.unexpected("`case`, `default` or `}`");
            }
            self.expect(":")?;
            while !(self.is("}") || self.is_word("case") || self.is_word("default")) {
                if self.token.kind == Kind::End {
                    return self.unexpected("`}`");
                }
                self.statement(true)?;
            }
        }
        self.bump()?;
        Ok(())
    }
}
