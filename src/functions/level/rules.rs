//! Pure: what CloudFront's engine refuses of the language, in which runtime, and what to write
//! instead.

use crate::distribution::functions::Runtime;

/// A construct that some runtime refuses, or would trip over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Construct {
    SpreadInCall,
    SpreadInArray,
    SpreadInObject,
    DefaultParameter,
    Destructuring,
    ForOf,
    ForAwait,
    Class,
    Generator,
    OptionalChain,
    LogicalAssignment,
    BigInt,
    CatchWithoutBinding,
    NewTarget,
    RegexFlag(char),
    NamedImport,
    NamespaceImport,
    BareImport,
    DynamicImport,
    ImportMeta,
    Export,
    AwaitAtTop,
    AwaitInArguments,
    AwaitInTemplate,
    Let,
    Const,
    Async,
    Super,
    NameBeyondAscii,
    DeclaredTwice,
}

/// Where a construct stands, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub construct: Construct,
    pub at: usize,
}

/// Where something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// By CloudFront's runtimes, not by our engine.
    ByCloudFront,
    /// By `cloudfront-js-1.0` alone.
    ByFirst,
    /// By our engine too, which runs a source as the body of a function and takes out imports and
    /// exports before.
    Everywhere,
    /// By some versions of CloudFront's engine.
    BySome,
}

/// What is said of a construct.
pub(super) struct Words {
    /// The rule, as a word for machines.
    pub rule: &'static str,
    /// What it is called.
    pub what: &'static str,
    pub remedy: &'static str,
    pub refused: Refused,
}

const fn words(
    rule: &'static str,
    what: &'static str,
    remedy: &'static str,
    refused: Refused,
) -> Words {
    Words { rule, what, remedy, refused }
}

impl Construct {
    pub(super) const fn words(self) -> Words {
        use Refused::{ByCloudFront, ByFirst};
        match self {
            Self::SpreadInCall | Self::SpreadInArray | Self::SpreadInObject => self.spread_words(),
            Self::DefaultParameter => words(
                "default-parameter",
                "a parameter with a default",
                "set it in the body: `if (a === undefined) a = …`",
                ByCloudFront,
            ),
            Self::Destructuring => words(
                "destructuring",
                "destructuring",
                "take each value by its name: `var a = o.a`",
                ByCloudFront,
            ),
            Self::ForOf => words("for-of", "`for…of`", "use an index loop", ByCloudFront),
            Self::ForAwait => {
                words("for-await", "`for await`", "use an index loop with `await`", ByCloudFront)
            }
            Self::Class => words("class", "`class`", "use functions and objects", ByCloudFront),
            Self::Generator => {
                words("generator", "a generator", "collect the values in an array", ByCloudFront)
            }
            Self::OptionalChain => words("optional-chain", "`?.`", "use `a && a.b`", ByCloudFront),
            Self::LogicalAssignment => words(
                "logical-assignment",
                "`&&=`, `||=` or `??=`",
                "use `a = a || b`",
                ByCloudFront,
            ),
            Self::BigInt => words("bigint", "a BigInt", "use a number or text", ByCloudFront),
            Self::CatchWithoutBinding => words(
                "catch-without-binding",
                "`catch` without a name",
                "write `catch (e)`",
                ByCloudFront,
            ),
            Self::NewTarget => {
                words("new-target", "`new.target`", "pass what you need to know", ByCloudFront)
            }
            Self::RegexFlag(flag) => flag_words(flag),
            Self::Super => words("super", "`super`", "call the function by its name", ByCloudFront),
            Self::NameBeyondAscii => words(
                "name-beyond-ascii",
                "a name with other letters than ASCII's, or with an escape",
                "use a-z, 0-9, `_` and `$`, or put it in quotes",
                ByCloudFront,
            ),
            Self::DeclaredTwice => words(
                "declared-twice",
                "a function of a name that is declared already",
                "give each its own name",
                ByCloudFront,
            ),
            Self::Let => words("let", "`let`", "use `var`", ByFirst),
            Self::Const => words("const", "`const`", "use `var`", ByFirst),
            Self::Async => words("async", "`async`", "use cloudfront-js-2.0", ByFirst),
            Self::AwaitInArguments | Self::AwaitInTemplate => self.await_words(),
            Self::NamedImport
            | Self::NamespaceImport
            | Self::BareImport
            | Self::DynamicImport
            | Self::ImportMeta
            | Self::Export
            | Self::AwaitAtTop => self.module_words(),
        }
    }

    // Of `...`, wherever it stands.
    const fn spread_words(self) -> Words {
        use Refused::ByCloudFront;
        match self {
            Self::SpreadInCall => {
                words("spread-call", "`...` in a call", "use `f.apply(null, list)`", ByCloudFront)
            }
            Self::SpreadInArray => {
                words("spread-array", "`...` in an array", "use `concat`", ByCloudFront)
            }
            _ => words("spread-object", "`...` in an object", "use `Object.assign`", ByCloudFront),
        }
    }

    // Of `await` where it is understood otherwise.
    const fn await_words(self) -> Words {
        match self {
            Self::AwaitInArguments => words(
                "await-in-arguments",
                "`await` in the arguments of a call",
                "await it into a variable before the call",
                Refused::ByCloudFront,
            ),
            _ => words(
                "await-in-template",
                "`await` in a template",
                "await it into a variable before",
                Refused::BySome,
            ),
        }
    }

    // Of what belongs to modules.
    const fn module_words(self) -> Words {
        use Refused::{ByCloudFront, Everywhere};
        let default = "use `import name from 'module'`";
        match self {
            Self::NamedImport => {
                words("named-import", "an import of single names", default, ByCloudFront)
            }
            Self::NamespaceImport => words("namespace-import", "`import *`", default, ByCloudFront),
            Self::DynamicImport => words("dynamic-import", "`import()`", default, ByCloudFront),
            Self::ImportMeta => words("import-meta", "`import.meta`", "do without it", Everywhere),
            Self::Export => words(
                "export",
                "`export`",
                "leave it out: the function that is called `handler` is found by its name",
                ByCloudFront,
            ),
            Self::AwaitAtTop => words(
                "top-level-await",
                "`await` outside a function",
                "move it into `handler`",
                Everywhere,
            ),
            _ => words("bare-import", "an import without a name", default, ByCloudFront),
        }
    }
}

const fn flag_words(flag: char) -> Words {
    let what = match flag {
        'd' => "the flag `d` of a regular expression",
        's' => "the flag `s` of a regular expression",
        'u' => "the flag `u` of a regular expression",
        _ => "the flag `v` of a regular expression",
    };
    let remedy = match flag {
        'd' => "use `match.index`",
        's' => "use `[^]` for any character",
        _ => "spell the characters out",
    };
    words("regex-flag", what, remedy, Refused::ByCloudFront)
}

/// The runtime as messages name it.
pub(super) const fn name_of(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Js1 => "cloudfront-js-1.0",
        Runtime::Js2 => "cloudfront-js-2.0",
    }
}

/// Modules that a runtime has.
pub(super) const fn modules(runtime: Runtime) -> &'static [&'static str] {
    match runtime {
        Runtime::Js1 => &["crypto", "querystring"],
        Runtime::Js2 => &["crypto", "querystring", "buffer", "cloudfront"],
    }
}
