//! Pure: members, calls and `new`.

use super::expression::{Expression, Shape};
use super::parse::{Done, Member, Parser};
use super::rules::Construct;
use super::scope::Use;
use super::token::Kind;

impl Parser<'_> {
    /// A value with its members and calls, without operators.
    pub(super) fn left_hand(&mut self) -> Done<Expression> {
        let base = if self.is_word("new") { self.constructed()? } else { self.primary()? };
        if matches!(base.shape, Shape::Arrow) {
            return Ok(base);
        }
        self.suffixes(base, true)
    }

    // `.name`, `[…]`, `(…)` and templates behind something.
    fn suffixes(&mut self, base: Expression, calls: bool) -> Done<Expression> {
        let (start, mut one, mut in_chain) = (base.start, base, false);
        loop {
            let Kind::Punctuator(what) = self.token.kind else {
                if !matches!(self.token.kind, Kind::Template { .. }) {
                    return Ok(one);
                }
                if in_chain {
                    return self.unexpected("no template behind `?.`");
                }
                self.settle(&one)?;
                self.template(true)?;
                one = Expression { start, shape: Shape::Value };
                continue;
            };
            let shape = match what {
                "?." if calls => {
                    self.settle(&one)?;
                    self.saw(Construct::OptionalChain, self.token.start);
                    self.bump()?;
                    in_chain = true;
                    self.chained(&one)?
                }
                "." => {
                    self.settle(&one)?;
                    self.bump()?;
                    self.member(&one, calls)?
                }
                "[" => {
                    self.settle(&one)?;
                    self.index()?
                }
                "(" if calls => {
                    self.settle(&one)?;
                    self.call(&one)?
                }
                _ => return Ok(one),
            };
            let shape = if in_chain { Shape::Value } else { shape };
            one = Expression { start, shape };
        }
    }

    // Behind `?.`.
    fn chained(&mut self, base: &Expression) -> Done<Shape> {
        if self.is("[") {
            self.index()
        } else if self.is("(") {
            self.call(base)
        } else {
            self.member(base, true)
        }
    }

    fn index(&mut self) -> Done<Shape> {
        self.bump()?;
        self.framed(|frame| frame.without_in = false, Self::value)?;
        self.expect("]")?;
        Ok(Shape::Place { name: None })
    }

    // Behind the point.
    fn member(&mut self, base: &Expression, calls: bool) -> Done<Shape> {
        if !matches!(self.token.kind, Kind::Name | Kind::Private) {
            return self.unexpected("the name of a member");
        }
        let token = self.bump()?;
        let name = self.text(token);
        if token.is_escaped || !name.is_ascii() {
            self.saw(Construct::NameBeyondAscii, token.start);
        }
        let object = match base.shape {
            Shape::Name { start, .. } => Some(start),
            _ => None,
        };
        let place = self.members.len();
        self.members.push(Member { object, name, at: token.start, arguments: None });
        if calls && self.is("(") {
            let count = self.arguments()?;
            self.members[place].arguments = Some(count);
            return Ok(Shape::Value);
        }
        Ok(Shape::Place { name: Some((token.start, token.end)) })
    }

    fn call(&mut self, callee: &Expression) -> Done<Shape> {
        if let Shape::Name { start, end } = callee.shape {
            self.scopes.used(start, Use::Called);
            if &self.source[start..end] == "require" {
                let next = self.peek();
                if next.kind == Kind::Text {
                    let module = self.inner_text(next);
                    self.requires.push((module, start));
                }
            }
        }
        self.arguments()?;
        Ok(Shape::Value)
    }

    /// The arguments of a call: how many.
    pub(super) fn arguments(&mut self) -> Done<usize> {
        self.framed(
            |frame| {
                frame.in_arguments = true;
                frame.without_in = false;
            },
            |parser| {
                parser.expect("(")?;
                let mut count = 0;
                while !parser.is(")") {
                    if parser.is("...") {
                        parser.saw(Construct::SpreadInCall, parser.token.start);
                        parser.bump()?;
                    }
                    parser.assignment()?;
                    count += 1;
                    if !parser.is(")") {
                        parser.expect(",")?;
                    }
                }
                parser.bump()?;
                Ok(count)
            },
        )
    }

    // `new`, its callee, and arguments if there are any.
    fn constructed(&mut self) -> Done<Expression> {
        let start = self.bump()?.start;
        if self.eat(".")? {
            if !self.eat_word("target")? {
                return self.unexpected("`target`");
            }
            self.saw(Construct::NewTarget, start);
            return Ok(Expression { start, shape: Shape::Value });
        }
        self.arrow_at = usize::MAX;
        let callee =
            if self.is_word("new") { self.nested(Self::constructed)? } else { self.primary()? };
        self.settle(&callee)?;
        let callee = self.suffixes(callee, false)?;
        if let Shape::Name { start, .. } = callee.shape {
            self.scopes.used(start, Use::Constructed);
        }
        if self.is("?.") {
            return self.unexpected("no `?.` behind `new`");
        }
        if self.is("(") {
            self.arguments()?;
        }
        Ok(Expression { start, shape: Shape::Value })
    }
}
