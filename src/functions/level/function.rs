//! Pure: functions of every kind, their parameters, patterns that declare, and classes.

use super::expression::{Cover, Expression, List, Shape};
use super::parse::{Done, Frame, Parser, is_reserved};
use super::rules::Construct;
use super::scope::Declared;
use super::token::{Kind, problem};

/// What an accessor may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accessor {
    Get,
    Set,
    No,
}

impl Parser<'_> {
    // ---- functions ----

    /// `function name() {}` as a statement, `async` before it included.
    pub(super) fn function_declaration(&mut self) -> Done {
        let (is_async, is_generator) = self.function_head()?;
        self.declared_name(Declared::Function)?;
        self.parameters_and_body(is_async, is_generator, Accessor::No)
    }

    /// The same as a value, whose name is its own affair.
    pub(super) fn function_expression(&mut self) -> Done {
        let (is_async, is_generator) = self.function_head()?;
        let around = self.scopes.enter(false);
        if !self.is("(") {
            self.declared_name(Declared::Function)?;
        }
        let read = self.parameters_and_body(is_async, is_generator, Accessor::No);
        self.scopes.leave(around);
        read
    }

    /// A function behind `export default`, which may lack a name.
    pub(super) fn exported_function(&mut self) -> Done {
        let (is_async, is_generator) = self.function_head()?;
        if !self.is("(") {
            self.declared_name(Declared::Function)?;
        }
        self.parameters_and_body(is_async, is_generator, Accessor::No)
    }

    fn function_head(&mut self) -> Done<(bool, bool)> {
        let start = self.token.start;
        let is_async = self.eat_word("async")?;
        if is_async {
            self.saw(Construct::Async, start);
        }
        self.bump()?;
        let is_generator = self.is("*");
        if is_generator {
            self.saw(Construct::Generator, start);
            self.bump()?;
        }
        Ok((is_async, is_generator))
    }

    fn parameters_and_body(
        &mut self,
        is_async: bool,
        is_generator: bool,
        accessor: Accessor,
    ) -> Done {
        let around = self.scopes.enter(true);
        let frame = Frame {
            in_function: true,
            is_async,
            is_generator,
            labels_from: self.labels.len(),
            ..Frame::default()
        };
        let read = self.framed(
            |inner| *inner = frame,
            |parser| {
                let start = parser.token.start;
                let (count, has_rest) = parser.parameters()?;
                match accessor {
                    Accessor::Get if count > 0 => {
                        return problem(start, "a getter has no parameters");
                    }
                    Accessor::Set if count != 1 || has_rest => {
                        return problem(start, "a setter has exactly one parameter");
                    }
                    _ => {}
                }
                parser.body()
            },
        );
        self.scopes.leave(around);
        read
    }

    // How many there are, and whether the last one takes the rest.
    fn parameters(&mut self) -> Done<(usize, bool)> {
        self.expect("(")?;
        let (mut count, mut has_rest) = (0, false);
        while !self.is(")") {
            has_rest = self.eat("...")?;
            let start = self.token.start;
            self.binding(Declared::Parameter)?;
            count += 1;
            if self.is("=") {
                if has_rest {
                    return self.unexpected("no default behind `...`");
                }
                self.saw(Construct::DefaultParameter, start);
                self.bump()?;
                self.assignment()?;
            }
            if self.is(")") {
                break;
            }
            if has_rest {
                return self.unexpected("the end: `...` takes all that is left");
            }
            self.expect(",")?;
        }
        self.bump()?;
        Ok((count, has_rest))
    }

    // `{ … }` of a function.
    fn body(&mut self) -> Done {
        self.nested(|parser| {
            parser.expect("{")?;
            while !parser.is("}") {
                if parser.token.kind == Kind::End {
                    return parser.unexpected("`}`");
                }
                parser.statement(true)?;
            }
            parser.bump()?;
            Ok(())
        })
    }

    // ---- arrow functions ----

    /// At `name =>`, or `async name =>`.
    pub(super) fn is_simple_arrow(&self) -> bool {
        if self.token.kind != Kind::Name {
            return false;
        }
        let next = self.peek();
        if next.after_newline {
            return false;
        }
        match next.kind {
            Kind::Punctuator("=>") => !is_reserved(self.text(self.token)),
            Kind::Name => self.is_word("async") && !is_reserved(self.text(next)),
            _ => false,
        }
    }

    pub(super) fn simple_arrow(&mut self) -> Done<Expression> {
        let (start, mark) = (self.token.start, self.scopes.mark());
        // `async => 1` has a parameter of that name.
        let is_async = self.is_word("async") && self.peek().kind == Kind::Name;
        if is_async {
            self.saw(Construct::Async, start);
            self.bump()?;
        }
        let around = self.scopes.adopt(mark, false);
        let read = self.declared_name(Declared::Parameter).and_then(|_| self.arrow_body(is_async));
        self.scopes.leave(around);
        read?;
        Ok(Expression { start, shape: Shape::Arrow })
    }

    /// `async (…)`: an arrow function, or a call of something of that name.
    pub(super) fn async_arrow_or_call(&mut self) -> Done<Expression> {
        let (start, mark, seen) = (self.token.start, self.scopes.mark(), self.seen.len());
        self.bump()?;
        let list = self.list()?;
        if self.is("=>") && !self.token.after_newline {
            self.saw(Construct::Async, start);
            self.arrow(&list, mark, seen, true)?;
            return Ok(Expression { start, shape: Shape::Arrow });
        }
        for element in &list.elements {
            self.settle(element)?;
        }
        if let Some(at) = list.rest {
            self.saw(Construct::SpreadInCall, at);
        }
        Ok(Expression { start, shape: Shape::Value })
    }

    /// At `=>`: what stood between the parentheses were parameters.
    pub(super) fn arrow(
        &mut self,
        list: &List,
        mark: (usize, usize),
        seen: usize,
        is_async: bool,
    ) -> Done {
        if let (Some(_), true) = (list.rest, list.is_open) {
            return self.unexpected("no comma behind `...`");
        }
        let has_pattern = list
            .elements
            .iter()
            .any(|one| matches!(one.shape, Shape::Literal(_) | Shape::Assigned { name: None, .. }));
        let around = self.scopes.adopt(mark, has_pattern);
        let read = self.take_parameters(list, seen, has_pattern);
        let read = read.and_then(|()| self.arrow_body(is_async));
        self.scopes.leave(around);
        read
    }

    fn take_parameters(&mut self, list: &List, seen: usize, has_pattern: bool) -> Done {
        for (at, element) in list.elements.iter().enumerate() {
            let is_rest = list.rest.is_some() && at + 1 == list.elements.len();
            let cover = Cover::of(element, seen);
            if !cover.binds {
                return problem(element.start, "this is no parameter");
            }
            let name = match element.shape {
                Shape::Name { start, end } => Some((start, end)),
                Shape::Literal(cover) => {
                    self.take_pattern(cover);
                    None
                }
                Shape::Assigned { .. } if is_rest => {
                    return problem(element.start, "no default behind `...`");
                }
                Shape::Assigned { name, .. } => {
                    self.saw(Construct::DefaultParameter, element.start);
                    name
                }
                Shape::Place { .. } | Shape::Arrow | Shape::Value => None,
            };
            if let Some((start, end)) = name.filter(|_| !has_pattern) {
                let source = self.source;
                self.declare(&source[start..end], start, Declared::Parameter)?;
            }
        }
        Ok(())
    }

    // `=>` and what stands behind it.
    fn arrow_body(&mut self, is_async: bool) -> Done {
        if !self.is("=>") || self.token.after_newline {
            return self.unexpected("`=>` in the same line");
        }
        self.bump()?;
        let frame = Frame {
            in_function: true,
            is_async,
            without_in: self.frame.without_in,
            labels_from: self.labels.len(),
            ..Frame::default()
        };
        self.framed(
            |inner| *inner = frame,
            |parser| {
                if parser.is("{") {
                    parser.frame.without_in = false;
                    return parser.body();
                }
                parser.assignment().map(drop)
            },
        )
    }

    // ---- patterns that declare ----

    /// A name or a pattern that declares names.
    pub(super) fn binding(&mut self, how: Declared) -> Done {
        if self.is("[") || self.is("{") {
            self.saw(Construct::Destructuring, self.token.start);
            return self.nested(|parser| parser.pattern(how));
        }
        self.declared_name(how).map(drop)
    }

    fn pattern(&mut self, how: Declared) -> Done {
        let is_array = self.is("[");
        let end = if is_array { "]" } else { "}" };
        self.bump()?;
        while !self.is(end) {
            if is_array && self.eat(",")? {
                continue;
            }
            let is_rest = self.eat("...")?;
            if is_array || is_rest {
                self.inner_binding(how)?;
            } else {
                self.property_binding(how)?;
            }
            if !is_rest && self.eat("=")? {
                self.framed(|frame| frame.without_in = false, Self::assignment)?;
            }
            if !self.is(end) {
                if is_rest {
                    return self.unexpected("the end: `...` takes all that is left");
                }
                self.expect(",")?;
            }
        }
        self.bump()?;
        Ok(())
    }

    // A pattern within a pattern is no finding of its own.
    fn inner_binding(&mut self, how: Declared) -> Done {
        if self.is("[") || self.is("{") {
            return self.nested(|parser| parser.pattern(how));
        }
        self.declared_name(how).map(drop)
    }

    fn property_binding(&mut self, how: Declared) -> Done {
        let is_short =
            self.token.kind == Kind::Name && !matches!(self.peek().kind, Kind::Punctuator(":"));
        if is_short {
            return self.declared_name(how).map(drop);
        }
        self.property_key()?;
        self.expect(":")?;
        self.inner_binding(how)
    }

    // ---- methods and classes ----

    /// The name of a property.
    pub(super) fn property_key(&mut self) -> Done {
        if self.eat("[")? {
            self.framed(|frame| frame.without_in = false, Self::assignment)?;
            return self.expect("]");
        }
        match self.token.kind {
            Kind::Name => {
                let name = self.text(self.token);
                if self.token.is_escaped || !name.is_ascii() {
                    self.saw(Construct::NameBeyondAscii, self.token.start);
                }
                self.given.insert(name);
            }
            Kind::Text => {
                let name = self.inner_text(self.token);
                self.given.insert(name);
            }
            Kind::BigInt => self.saw(Construct::BigInt, self.token.start),
            Kind::Number => {}
            _ => return self.unexpected("the name of a property"),
        }
        self.bump()?;
        Ok(())
    }

    /// A method behind its name.
    pub(super) fn method(&mut self, is_async: bool, is_generator: bool) -> Done {
        self.nested(|parser| parser.parameters_and_body(is_async, is_generator, Accessor::No))
    }

    // At a word such as `get`, which is a name itself if one of these follows.
    fn is_modifier(&self, word: &str) -> bool {
        let ends = ["(", ",", ":", "}", "=", ";"];
        self.is_word(word)
            && !matches!(self.peek().kind, Kind::Punctuator(next) if ends.contains(&next))
            && self.peek().kind != Kind::End
    }

    /// A getter, a setter, an async method or a generator; false if none of them stands here.
    pub(super) fn method_with_modifier(&mut self) -> Done<bool> {
        let start = self.token.start;
        for (word, accessor) in [("get", Accessor::Get), ("set", Accessor::Set)] {
            if self.is_modifier(word) && !matches!(self.peek().kind, Kind::Punctuator("*")) {
                self.bump()?;
                self.member_key()?;
                self.nested(|parser| parser.parameters_and_body(false, false, accessor))?;
                return Ok(true);
            }
        }
        let is_async = self.is_modifier("async") && !self.peek().after_newline;
        if is_async {
            self.saw(Construct::Async, start);
            self.bump()?;
        }
        let is_generator = self.eat("*")?;
        if is_generator {
            self.saw(Construct::Generator, start);
        }
        if is_async || is_generator {
            self.member_key()?;
            self.method(is_async, is_generator)?;
        }
        Ok(is_async || is_generator)
    }

    fn member_key(&mut self) -> Done {
        if self.token.kind == Kind::Private {
            self.bump()?;
            return Ok(());
        }
        self.property_key()
    }

    /// `class Name {}` as a statement.
    pub(super) fn class_declaration(&mut self) -> Done {
        self.saw(Construct::Class, self.token.start);
        self.bump()?;
        self.declared_name(Declared::Lexical)?;
        self.class_rest()
    }

    pub(super) fn class_expression(&mut self) -> Done {
        self.saw(Construct::Class, self.token.start);
        self.bump()?;
        let around = self.scopes.enter(false);
        if !self.is("{") && !self.is_word("extends") {
            self.declared_name(Declared::Lexical)?;
        }
        let read = self.class_rest();
        self.scopes.leave(around);
        read
    }

    fn heritage(&mut self) -> Done {
        self.arrow_at = usize::MAX;
        let value = self.left_hand()?;
        self.settle(&value)
    }

    fn class_rest(&mut self) -> Done {
        if self.eat_word("extends")? {
            self.nested(Self::heritage)?;
        }
        self.expect("{")?;
        self.nested(|parser| {
            while !parser.is("}") {
                if !parser.eat(";")? {
                    parser.class_element()?;
                }
            }
            Ok(())
        })?;
        self.bump()?;
        Ok(())
    }

    fn class_element(&mut self) -> Done {
        if self.is_modifier("static") {
            self.bump()?;
            if self.is("{") {
                return self.initialiser(Self::body);
            }
        }
        if self.method_with_modifier()? {
            return Ok(());
        }
        self.member_key()?;
        if self.is("(") {
            return self.method(false, false);
        }
        if self.eat("=")? {
            self.initialiser(|parser| parser.assignment().map(drop))?;
        }
        self.semicolon()
    }

    // What a class runs by itself is a function of its own.
    fn initialiser(&mut self, read: impl FnOnce(&mut Self) -> Done) -> Done {
        let frame = Frame { in_function: true, labels_from: self.labels.len(), ..Frame::default() };
        let around = self.scopes.enter(true);
        let done = self.framed(|inner| *inner = frame, read);
        self.scopes.leave(around);
        done
    }
}
