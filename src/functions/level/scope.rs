//! Pure: which names a source declares where, and which it uses without having declared them.

use std::collections::HashMap;

/// How a name came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Var,
    /// A `var` of a block within, which belongs to the function around.
    Through,
    /// `let`, `const`, a class, an import.
    Lexical,
    Function,
    Parameter,
    Caught,
    /// Used in a pattern, which may have meant it as a parameter.
    Perhaps,
}

/// How a name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Plain,
    /// Under `typeof`, where a name that is not there does no harm.
    Typeof,
    Called,
    Constructed,
}

/// A name where it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'s> {
    pub name: &'s str,
    pub at: usize,
    pub used: Use,
    scope: usize,
}

/// What a declaration met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Nothing,
    /// The standard forbids it.
    Forbidden,
    /// A function twice, or beside a `var`, where only a module forbids it.
    InModules,
}

struct Scope<'s> {
    parent: usize,
    is_function: bool,
    names: HashMap<&'s str, Declared>,
}

/// All scopes of a source; the first is that of the module.
pub(super) struct Scopes<'s> {
    all: Vec<Scope<'s>>,
    current: usize,
    pub references: Vec<Reference<'s>>,
}

impl<'s> Scopes<'s> {
    pub(super) fn new() -> Self {
        let module = Scope { parent: 0, is_function: true, names: HashMap::new() };
        Self { all: vec![module], current: 0, references: Vec::new() }
    }

    /// Goes into a new scope; gives the one around, to `leave` to.
    pub(super) fn enter(&mut self, is_function: bool) -> usize {
        let around = self.current;
        self.all.push(Scope { parent: around, is_function, names: HashMap::new() });
        self.current = self.all.len() - 1;
        around
    }

    pub(super) fn leave(&mut self, around: usize) {
        self.current = around;
    }

    /// Where references and scopes stand now, to `adopt` what comes after.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.references.len(), self.all.len())
    }

    /// Enters the scope of an arrow function whose parameters turned out to be what was read since
    /// the mark. With `declare`, each name used there
    /// counts as a parameter.
    pub(super) fn adopt(&mut self, (references, scopes): (usize, usize), declare: bool) -> usize {
        let outer = self.enter(true);
        let inner = self.current;
        for scope in &mut self.all[scopes..inner] {
            if scope.parent == outer {
                scope.parent = inner;
            }
        }
        for reference in &mut self.references[references..] {
            if reference.scope == outer {
                reference.scope = inner;
                if declare {
                    self.all[inner].names.insert(reference.name, Declared::Perhaps);
                }
            }
        }
        outer
    }

    pub(super) fn refer(&mut self, name: &'s str, at: usize) {
        let scope = self.current;
        self.references.push(Reference { name, at, used: Use::Plain, scope });
    }

    /// Notes how the name at `at` is used, if that was the last one.
    pub(super) fn used(&mut self, at: usize, used: Use) {
        let last = self.references.iter_mut().rev().find(|one| one.at <= at);
        if let Some(last) = last.filter(|one| one.at == at && one.used == Use::Plain) {
            last.used = used;
        }
    }

    /// Declares a name.
    pub(super) fn declare(&mut self, name: &'s str, how: Declared) -> Met {
        if how == Declared::Var {
            return self.declare_var(name);
        }
        let current = self.current;
        let scope = &mut self.all[current];
        let met = match (scope.names.get(name), how) {
            (None | Some(Declared::Perhaps), _)
            | (Some(Declared::Parameter), Declared::Function) => Met::Nothing,
            (Some(Declared::Parameter), Declared::Parameter) => Met::Forbidden,
            (Some(Declared::Function | Declared::Var), Declared::Function) if scope.is_function => {
                if current == 0 {
                    Met::InModules
                } else {
                    Met::Nothing
                }
            }
            _ => Met::Forbidden,
        };
        scope.names.insert(name, how);
        met
    }

    // Up to the function around, past blocks that must not have the name for themselves.
    fn declare_var(&mut self, name: &'s str) -> Met {
        let (mut at, mut met) = (self.current, Met::Nothing);
        loop {
            let scope = &mut self.all[at];
            let is_function = scope.is_function;
            match scope.names.get(name) {
                Some(Declared::Lexical) => met = Met::Forbidden,
                Some(Declared::Function) if !is_function => met = Met::Forbidden,
                Some(Declared::Function) if at == 0 => met = Met::InModules,
                Some(_) => {}
                None => {
                    let how = if is_function { Declared::Var } else { Declared::Through };
                    scope.names.insert(name, how);
                }
            }
            if is_function {
                return met;
            }
            at = scope.parent;
        }
    }

    /// Says whether the module itself has a name.
    pub(super) fn module_has(&self, name: &str) -> bool {
        self.all[0].names.contains_key(name)
    }

    /// Says whether a name that is used is declared nowhere around.
    pub(super) fn is_free(&self, reference: &Reference<'s>) -> bool {
        let mut at = reference.scope;
        loop {
            let scope = &self.all[at];
            if scope.names.contains_key(reference.name) {
                return false;
            }
            if at == 0 {
                return true;
            }
            at = scope.parent;
        }
    }

    /// The use of a name that begins at `at`, if nothing declares it.
    pub(super) fn free_at(&self, at: usize) -> Option<&Reference<'s>> {
        let found = self.references.binary_search_by_key(&at, |one| one.at).ok()?;
        self.references.get(found).filter(|one| self.is_free(one))
    }
}
