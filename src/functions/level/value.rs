//! Pure: what stands for itself: names, literals, templates, parentheses.

use super::expression::{Cover, Expression, List, Shape};
use super::parse::{Done, Parser, is_reserved};
use super::rules::Construct;
use super::token::{Kind, problem};

impl Parser<'_> {
    /// A value without members, calls and operators.
    pub(super) fn primary(&mut self) -> Done<Expression> {
        let start = self.token.start;
        let value = Ok(Expression { start, shape: Shape::Value });
        match self.token.kind {
            Kind::Number | Kind::Text => {
                self.bump()?;
                value
            }
            Kind::BigInt => {
                self.saw(Construct::BigInt, start);
                self.bump()?;
                value
            }
            Kind::Template { .. } => {
                self.template(false)?;
                value
            }
            Kind::Punctuator("/" | "/=") => {
                self.regex()?;
                value
            }
            Kind::Punctuator("(") => self.parenthesised(),
            Kind::Punctuator("[") => self.array(),
            Kind::Punctuator("{") => self.object(),
            Kind::Name => self.word(),
            Kind::Private => {
                // `#name in object`.
                self.bump()?;
                if self.is_word("in") { value } else { self.unexpected("`in`") }
            }
            _ => self.unexpected("a value"),
        }
    }

    // A name, or a keyword that begins a value.
    fn word(&mut self) -> Done<Expression> {
        let (start, text) = (self.token.start, self.text(self.token));
        let value = Ok(Expression { start, shape: Shape::Value });
        match text {
            "this" | "null" | "true" | "false" if !self.token.is_escaped => {
                self.bump()?;
                value
            }
            "super" => {
                self.saw(Construct::Super, start);
                self.bump()?;
                value
            }
            "function" => {
                self.function_expression()?;
                value
            }
            "class" => {
                self.class_expression()?;
                value
            }
            "import" => self.import_expression(),
            "async" if !self.token.is_escaped && self.is_before_function() => {
                self.function_expression()?;
                value
            }
            "async" if start == self.arrow_at && self.is_before_parenthesis() => {
                self.async_arrow_or_call()
            }
            _ => {
                let (name, at) = self.name("a value")?;
                self.scopes.refer(name, at);
                Ok(Expression { start, shape: Shape::Name { start, end: start + text.len() } })
            }
        }
    }

    fn is_before_parenthesis(&self) -> bool {
        let next = self.peek();
        next.kind == Kind::Punctuator("(") && !next.after_newline
    }

    fn import_expression(&mut self) -> Done<Expression> {
        let start = self.bump()?.start;
        let value = Ok(Expression { start, shape: Shape::Value });
        if self.eat(".")? {
            if !self.eat_word("meta")? {
                return self.unexpected("`meta`");
            }
            self.saw(Construct::ImportMeta, start);
            return value;
        }
        if !self.is("(") {
            return problem(start, "`import` belongs to the top level");
        }
        self.saw(Construct::DynamicImport, start);
        self.arguments()?;
        value
    }

    fn regex(&mut self) -> Done {
        let start = self.token.start;
        self.token = self.lexer.regex_from(start)?;
        let text = self.text(self.token);
        let flags = text.rfind('/').map_or("", |at| &text[at + 1..]);
        let at = start + text.len() - flags.len();
        for (place, flag) in flags.char_indices() {
            if !"dgimsuvy".contains(flag) || flags[..place].contains(flag) {
                return problem(at, format!("the flags `{flags}` of a regular expression"));
            }
        }
        if flags.contains('u') && flags.contains('v') {
            return problem(at, "the flags `u` and `v` of one regular expression");
        }
        for flag in flags.chars().filter(|flag| "dsuv".contains(*flag)) {
            self.saw(Construct::RegexFlag(flag), start);
        }
        self.bump()?;
        Ok(())
    }

    /// A template, from its first piece on.
    pub(super) fn template(&mut self, is_tagged: bool) -> Done {
        loop {
            let Kind::Template { more } = self.token.kind else {
                return self.unexpected("a template");
            };
            if self.token.is_escaped && !is_tagged {
                return problem(self.token.start, "an escape that a template cannot have");
            }
            self.bump()?;
            if !more {
                return Ok(());
            }
            self.framed(
                |frame| {
                    frame.in_template = true;
                    frame.without_in = false;
                },
                Self::value,
            )?;
            if !self.is("}") {
                return self.unexpected("`}`");
            }
            self.token = self.lexer.template_from(self.token.start)?;
        }
    }

    // Elements up to `)`, which may turn out to be parameters.
    pub(super) fn list(&mut self) -> Done<List> {
        self.expect("(")?;
        let mut list = List { elements: Vec::new(), rest: None, is_open: true };
        while !self.is(")") {
            if self.is("...") {
                list.rest = Some(self.token.start);
                self.bump()?;
            }
            let element =
                self.framed(|frame| frame.without_in = false, Self::assignment_or_pattern)?;
            list.elements.push(element);
            list.is_open = false;
            if list.rest.is_some() || !self.is(",") {
                break;
            }
            self.bump()?;
            list.is_open = true;
        }
        self.expect(")")?;
        Ok(list)
    }

    fn parenthesised(&mut self) -> Done<Expression> {
        let (start, mark, seen) = (self.token.start, self.scopes.mark(), self.seen.len());
        let may_be_arrow = start == self.arrow_at;
        let list = self.list()?;
        if may_be_arrow && self.is("=>") && !self.token.after_newline {
            self.arrow(&list, mark, seen, false)?;
            return Ok(Expression { start, shape: Shape::Arrow });
        }
        if let Some(at) = list.rest {
            return problem(at, "`...` in parentheses");
        }
        if list.is_open {
            return problem(start, "parentheses with nothing behind the comma, or nothing at all");
        }
        for element in &list.elements {
            self.settle(element)?;
        }
        let shape = match &list.elements[..] {
            [Expression { shape: Shape::Name { start, end }, .. }] => {
                match &self.source[*start..*end] {
                    "eval" | "arguments" => Shape::Value,
                    _ => Shape::Place { name: None },
                }
            }
            [Expression { shape: Shape::Place { name }, .. }] => Shape::Place { name: *name },
            _ => Shape::Value,
        };
        Ok(Expression { start, shape })
    }

    fn array(&mut self) -> Done<Expression> {
        let (start, seen) = (self.token.start, self.seen.len());
        let mut cover = Cover { start, seen, assigns: true, binds: true, lacks: None };
        self.bump()?;
        while !self.is("]") {
            if self.eat(",")? {
                continue;
            }
            let is_rest = self.is("...");
            if is_rest {
                self.saw(Construct::SpreadInArray, self.token.start);
                self.bump()?;
            }
            let element =
                self.framed(|frame| frame.without_in = false, Self::assignment_or_pattern)?;
            let as_rest = is_rest && !self.is("]");
            cover.also(Cover::of(&element, seen));
            cover.assigns &= !as_rest;
            cover.binds &= !as_rest;
            if !self.is("]") {
                self.expect(",")?;
            }
        }
        self.bump()?;
        Ok(Expression { start, shape: Shape::Literal(cover) })
    }

    fn object(&mut self) -> Done<Expression> {
        let (start, seen) = (self.token.start, self.seen.len());
        let mut cover = Cover { start, seen, assigns: true, binds: true, lacks: None };
        self.bump()?;
        while !self.is("}") {
            let property = self.framed(|frame| frame.without_in = false, Self::property)?;
            cover.also(property);
            if !self.is("}") {
                self.expect(",")?;
            }
        }
        self.bump()?;
        Ok(Expression { start, shape: Shape::Literal(cover) })
    }

    // One property: what its value could be in a pattern.
    fn property(&mut self) -> Done<Cover> {
        let (start, seen) = (self.token.start, self.seen.len());
        let none = Cover { start, seen, assigns: false, binds: false, lacks: None };
        if self.is("...") {
            self.saw(Construct::SpreadInObject, start);
            self.bump()?;
            let spread = self.assignment_or_pattern()?;
            self.settle(&spread)?;
            let mut cover = Cover::of(&spread, seen);
            cover.assigns &= self.is("}");
            cover.binds &= self.is("}");
            return Ok(cover);
        }
        if self.method_with_modifier()? {
            return Ok(none);
        }
        let key = self.token;
        self.property_key()?;
        if self.is("(") {
            self.method(false, false)?;
            return Ok(none);
        }
        if self.eat(":")? {
            let value = self.assignment_or_pattern()?;
            return Ok(Cover::of(&value, seen));
        }
        let name = self.text(key);
        if key.kind != Kind::Name {
            return self.unexpected("`:`");
        }
        if is_reserved(name) {
            return problem(key.start, format!("`{name}` is a reserved word"));
        }
        self.scopes.refer(name, key.start);
        let assignable = !matches!(name, "eval" | "arguments");
        let mut cover = Cover { start, seen, assigns: assignable, binds: assignable, lacks: None };
        if self.is("=") {
            cover.lacks = Some(self.token.start);
            self.bump()?;
            self.assignment()?;
        }
        Ok(cover)
    }
}
