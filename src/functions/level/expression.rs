//! Pure: expressions, from the comma down to operators before and behind a value.

use super::parse::{Done, Parser};
use super::rules::Construct;
use super::scope::Use;
use super::token::{Kind, problem};

/// What an expression could be besides a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A name, without parentheses.
    Name {
        start: usize,
        end: usize,
    },
    /// Something else that can be assigned to; where its last name stands, if it has one.
    Place {
        name: Option<(usize, usize)>,
    },
    /// A literal of an array or an object, which may turn out to be a pattern.
    Literal(Cover),
    /// An assignment: what it would be as a parameter with a default.
    Assigned {
        target: Cover,
        name: Option<(usize, usize)>,
    },
    /// An arrow function, which no operator can follow.
    Arrow,
    Value,
}

/// What a literal could be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cover {
    pub start: usize,
    /// How much had been seen where it begins.
    pub seen: usize,
    /// It could be assigned to.
    pub assigns: bool,
    /// It could be a parameter.
    pub binds: bool,
    /// Where `{ a = 1 }` stands in it, which is in order in a pattern only.
    pub lacks: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Expression {
    pub start: usize,
    pub shape: Shape,
}

/// What stood between parentheses.
pub(super) struct List {
    pub elements: Vec<Expression>,
    /// Where `...` stands before the last one.
    pub rest: Option<usize>,
    /// Nothing behind the last comma, or nothing at all.
    pub is_open: bool,
}

impl Cover {
    pub(super) fn of(expression: &Expression, seen: usize) -> Self {
        let (assigns, binds, lacks) = match expression.shape {
            Shape::Name { .. } => (true, true, None),
            Shape::Place { .. } => (true, false, None),
            Shape::Literal(cover) => (cover.assigns, cover.binds, cover.lacks),
            Shape::Assigned { target, .. } => (target.assigns, target.binds, None),
            Shape::Arrow | Shape::Value => (false, false, None),
        };
        Self { start: expression.start, seen, assigns, binds, lacks }
    }

    /// Takes in what one of its elements could be.
    pub(super) fn also(&mut self, element: Self) {
        self.assigns &= element.assigns;
        self.binds &= element.binds;
        self.lacks = self.lacks.or(element.lacks);
    }
}

const ASSIGNMENTS: &[&str] = &[
    "=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", ">>>=", "&=", "|=", "^=", "&&=", "||=",
    "??=",
];

/// How tight a binary operator holds; zero for what is none.
fn binding_power(operator: &str) -> u8 {
    match operator {
        "??" | "||" => 1,
        "&&" => 2,
        "|" => 3,
        "^" => 4,
        "&" => 5,
        "==" | "!=" | "===" | "!==" => 6,
        "<" | ">" | "<=" | ">=" | "instanceof" | "in" => 7,
        "<<" | ">>" | ">>>" => 8,
        "+" | "-" => 9,
        "*" | "/" | "%" => 10,
        "**" => 11,
        _ => 0,
    }
}

impl Parser<'_> {
    /// An expression with commas.
    pub(super) fn expression(&mut self) -> Done<Expression> {
        let first = self.assignment_or_pattern()?;
        if !self.is(",") {
            return Ok(first);
        }
        self.settle(&first)?;
        while self.eat(",")? {
            self.assignment()?;
        }
        Ok(Expression { start: first.start, shape: Shape::Value })
    }

    /// An expression with commas that is nothing but a value.
    pub(super) fn value(&mut self) -> Done<Expression> {
        let value = self.expression()?;
        self.settle(&value)?;
        Ok(value)
    }

    /// An expression without commas.
    pub(super) fn assignment(&mut self) -> Done<Expression> {
        let value = self.assignment_or_pattern()?;
        self.settle(&value)?;
        Ok(value)
    }

    /// Refuses what would be in order in a pattern only.
    pub(super) fn settle(&self, expression: &Expression) -> Done {
        match expression.shape {
            Shape::Literal(Cover { lacks: Some(at), .. }) => {
                problem(at, "`=` in an object that is no pattern")
            }
            _ => Ok(()),
        }
    }

    /// An expression without commas, which may be meant as a pattern: `settle` it, or take it.
    pub(super) fn assignment_or_pattern(&mut self) -> Done<Expression> {
        self.nested(Self::assignment_within)
    }

    fn assignment_within(&mut self) -> Done<Expression> {
        let (start, seen) = (self.token.start, self.seen.len());
        let mut is_condition = false;
        loop {
            self.arrow_at = self.token.start;
            if self.is_word("yield") && self.frame.is_generator {
                return self.yields();
            }
            let one = if self.is_simple_arrow() { self.simple_arrow()? } else { self.binary(0)? };
            if self.is("?") && !matches!(one.shape, Shape::Arrow) {
                self.settle(&one)?;
                self.bump()?;
                self.framed(|frame| frame.without_in = false, Self::assignment)?;
                self.expect(":")?;
                is_condition = true;
                continue;
            }
            let one = self.assigned(one, seen)?;
            let shape = if is_condition { Shape::Value } else { one.shape };
            if is_condition {
                self.settle(&one)?;
            }
            return Ok(Expression { start, shape });
        }
    }

    // `= value` behind what was read, if it is there.
    fn assigned(&mut self, target: Expression, seen: usize) -> Done<Expression> {
        let Kind::Punctuator(operator) = self.token.kind else { return Ok(target) };
        if !ASSIGNMENTS.contains(&operator) {
            return Ok(target);
        }
        let at = self.token.start;
        if operator == "=" {
            self.take_target(&target)?;
        } else if matches!(target.shape, Shape::Literal(_)) {
            return problem(target.start, "a pattern takes `=` only");
        } else {
            self.check_target(&target)?;
        }
        if matches!(operator, "&&=" | "||=" | "??=") {
            self.saw(Construct::LogicalAssignment, at);
        }
        self.bump()?;
        self.assignment()?;
        let name = match target.shape {
            Shape::Name { start, end } => Some((start, end)),
            _ => None,
        };
        if let Shape::Place { name: Some((from, to)) } = target.shape {
            self.given.insert(&self.source[from..to]);
        }
        let cover = Cover::of(&target, seen);
        let shape =
            if operator == "=" { Shape::Assigned { target: cover, name } } else { Shape::Value };
        Ok(Expression { start: target.start, shape })
    }

    /// Takes an expression for what is assigned to: a name, a member, or a pattern.
    pub(super) fn take_target(&mut self, target: &Expression) -> Done {
        if let Shape::Literal(cover) = target.shape {
            if !cover.assigns {
                return problem(target.start, "this cannot be assigned to");
            }
            self.take_pattern(cover);
            return Ok(());
        }
        self.check_target(target)
    }

    /// What was read since a literal began is a pattern: its spreads are none.
    pub(super) fn take_pattern(&mut self, cover: Cover) {
        let inside = self.seen.split_off(cover.seen.min(self.seen.len()));
        let is_spread =
            |construct| matches!(construct, Construct::SpreadInArray | Construct::SpreadInObject);
        self.seen.extend(
            inside.into_iter().filter(|one| one.at < cover.start || !is_spread(one.construct)),
        );
        self.saw(Construct::Destructuring, cover.start);
    }

    /// A name or a member that is assigned to.
    pub(super) fn check_target(&self, target: &Expression) -> Done {
        match target.shape {
            Shape::Name { start, end } => match &self.source[start..end] {
                name @ ("eval" | "arguments") => {
                    problem(start, format!("strict code cannot declare or assign `{name}`"))
                }
                _ => Ok(()),
            },
            Shape::Place { .. } => Ok(()),
            _ => problem(target.start, "this cannot be assigned to"),
        }
    }

    fn yields(&mut self) -> Done<Expression> {
        let start = self.bump()?.start;
        let ends = self.token.after_newline
            || self.token.kind == Kind::End
            || [")", "]", "}", ",", ";", ":"].iter().any(|end| self.is(end))
            || self.is_word("in");
        if !ends {
            self.eat("*")?;
            self.assignment()?;
        }
        Ok(Expression { start, shape: Shape::Value })
    }

    // ---- operators ----

    // Operators that hold tighter than `least`.
    fn binary(&mut self, least: u8) -> Done<Expression> {
        let mut left = self.unary()?;
        if matches!(left.shape, Shape::Arrow) {
            return Ok(left);
        }
        // What `??`, and `&&` or `||`, must not stand beside without parentheses.
        let mut logical: Option<&'static str> = None;
        loop {
            let operator = self.operator();
            let power = binding_power(operator);
            if power <= least {
                return Ok(left);
            }
            if matches!(operator, "??" | "||" | "&&") {
                let mixes = logical.is_some_and(|before| (before == "??") != (operator == "??"));
                if mixes {
                    return self.unexpected("parentheses around what is mixed with `??`");
                }
                logical = Some(operator);
            }
            if operator == "**" && self.signed_at == left.start {
                return problem(left.start, "an operator before `**` needs parentheses");
            }
            self.settle(&left)?;
            self.bump()?;
            let tighter = match operator {
                // It groups from the right.
                "**" => power - 1,
                // Leaves `&&` to this loop, which refuses it.
                "??" => binding_power("&&"),
                _ => power,
            };
            let right = self.nested(|parser| parser.binary(tighter))?;
            if matches!(right.shape, Shape::Arrow) {
                return self.unexpected("parentheses around an arrow function");
            }
            self.settle(&right)?;
            left = Expression { start: left.start, shape: Shape::Value };
        }
    }

    fn operator(&self) -> &'static str {
        match self.token.kind {
            Kind::Punctuator(operator) => operator,
            Kind::Name if self.is_word("instanceof") => "instanceof",
            Kind::Name if !self.frame.without_in && self.is_word("in") => "in",
            _ => "",
        }
    }

    fn unary(&mut self) -> Done<Expression> {
        let start = self.token.start;
        let sign = match self.token.kind {
            Kind::Punctuator(sign @ ("!" | "~" | "+" | "-" | "++" | "--")) => sign,
            Kind::Name if self.is_word("typeof") => "typeof",
            Kind::Name if self.is_word("void") => "void",
            Kind::Name if self.is_word("delete") => "delete",
            Kind::Name if self.is_word("await") && self.takes_await() => "await",
            _ => return self.postfix(),
        };
        if sign == "await" {
            self.awaits(start);
        }
        self.bump()?;
        let operand = self.nested(Self::unary)?;
        self.settle(&operand)?;
        match (sign, operand.shape) {
            (_, Shape::Arrow) => {
                return problem(operand.start, "an arrow function needs parentheses");
            }
            ("++" | "--", _) => self.check_target(&operand)?,
            ("delete", Shape::Name { .. }) => {
                return problem(start, "strict code cannot delete a name");
            }
            ("typeof", Shape::Name { start, .. }) => self.scopes.used(start, Use::Typeof),
            ("typeof", Shape::Place { name: None }) => self.asked_in_parentheses(operand.start),
            _ => {}
        }
        if !matches!(sign, "++" | "--") {
            self.signed_at = start;
        }
        Ok(Expression { start, shape: Shape::Value })
    }

    // `typeof (name)`: the same as without them.
    fn asked_in_parentheses(&mut self, start: usize) {
        let inner = self.source[start..self.previous_end]
            .trim_matches(|c: char| matches!(c, '(' | ')') || c.is_whitespace());
        let last = self.scopes.references.last().filter(|one| one.at > start && one.name == inner);
        if let Some(at) = last.map(|one| one.at) {
            self.scopes.used(at, Use::Typeof);
        }
    }

    // At the top level too, where it is a finding of its own.
    fn takes_await(&self) -> bool {
        self.frame.is_async || !self.frame.in_function
    }

    fn awaits(&mut self, at: usize) {
        if !self.frame.in_function {
            self.saw(Construct::AwaitAtTop, at);
        } else if self.frame.in_arguments {
            self.saw(Construct::AwaitInArguments, at);
        } else if self.frame.in_template {
            self.saw(Construct::AwaitInTemplate, at);
        }
    }

    fn postfix(&mut self) -> Done<Expression> {
        let operand = self.left_hand()?;
        let is_step = (self.is("++") || self.is("--")) && !self.token.after_newline;
        if !is_step || matches!(operand.shape, Shape::Arrow) {
            return Ok(operand);
        }
        self.check_target(&operand)?;
        self.bump()?;
        Ok(Expression { start: operand.start, shape: Shape::Value })
    }
}
