//! What a parsed expression may be made of, and which fields it reads.

use std::collections::BTreeSet;

use cel::{
    Env, Program,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue,
        operators::{
            ADD, CONDITIONAL, DIVIDE, EQUALS, GREATER, GREATER_EQUALS, IN, INDEX, LESS, LESS_EQUALS,
            LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, MODULO, MULTIPLY, NEGATE, NOT_EQUALS, NOT_STRICTLY_FALSE,
            SUBSTRACT,
        },
    },
};
use regex::Regex;

/// Most levels of an expression tree: evaluation recurses, and a stack is all that bounds it.
const MAX_DEPTH: usize = 128;

/// The functions that a filter may call.
pub const FUNCTIONS: [&str; 12] = [
    "bool",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

const OPERATORS: [&str; 18] = [
    ADD,
    CONDITIONAL,
    DIVIDE,
    EQUALS,
    GREATER,
    GREATER_EQUALS,
    IN,
    INDEX,
    LESS,
    LESS_EQUALS,
    LOGICAL_AND,
    LOGICAL_NOT,
    LOGICAL_OR,
    MODULO,
    MULTIPLY,
    NEGATE,
    NOT_EQUALS,
    SUBSTRACT,
];

/// Operators and functions that never give a bool.
const NOT_BOOL: [&str; 12] = [
    ADD, DIVIDE, MODULO, MULTIPLY, NEGATE, SUBSTRACT, "double", "int", "size", "string", "type", "uint",
];

/// An offset into the expression and what is wrong there.
pub(super) type Refusal = (u32, String);

/// The fields that the program reads, or where it does something that filters do not do.
pub(super) fn program(program: &Program, environment: &Env) -> Result<BTreeSet<String>, Refusal> {
    let mut check = Check {
        program,
        environment,
        bound: Vec::new(),
        fields: BTreeSet::new(),
    };
    check.expression(program.expression(), 1)?;
    check.gives_bool(program.expression())?;
    Ok(check.fields)
}

struct Check<'p> {
    program: &'p Program,
    environment: &'p Env,
    /// Names bound by the comprehensions around the expression.
    bound: Vec<&'p str>,
    fields: BTreeSet<String>,
}

impl<'p> Check<'p> {
    fn refuse<T>(&self, at: &IdedExpr, reason: impl Into<String>) -> Result<T, Refusal> {
        let (start, _) = self.program.source_info().offset_for(at.id).unwrap_or_default();
        Err((start, reason.into()))
    }

    fn expression(&mut self, at: &'p IdedExpr, depth: usize) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            return self.refuse(at, format!("it has more than {MAX_DEPTH} levels"));
        }
        match &at.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                // `.name` is CEL for a name that no comprehension binds.
                let field = name.strip_prefix('.').unwrap_or(name);
                let bound = field == name && self.bound.contains(&field);
                if !bound && self.environment.types().find_type(field).is_none() {
                    self.fields.insert(field.to_owned());
                }
                Ok(())
            }
            Expr::Select(select) => self.expression(&select.operand, depth + 1),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.expression(element, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth + 1)?;
                    self.expression(&entry.value, depth + 1)
                }
                EntryExpr::StructField(field) => self.expression(&field.value, depth + 1),
            }),
            Expr::Struct(message) => {
                self.refuse(at, format!("there is no type {:?} to build", message.type_name))
            }
            Expr::Call(call) => self.call(at, call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension, depth),
        }
    }

    fn call(&mut self, at: &'p IdedExpr, call: &'p CallExpr, depth: usize) -> Result<(), Refusal> {
        let name = call.func_name.as_str();
        // Only the expansion of a macro contains `NOT_STRICTLY_FALSE`: it cannot be written.
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) && name != NOT_STRICTLY_FALSE {
            let known = FUNCTIONS.join(", ");
            return self.refuse(
                at,
                format!("there is no function {name:?}, expected one of {known}"),
            );
        }
        if name == "matches" {
            self.pattern(at, call)?;
        }
        call.target
            .iter()
            .map(Box::as_ref)
            .chain(&call.args)
            .try_for_each(|part| self.expression(part, depth + 1))
    }

    /// A pattern must be known now: one from a record could fail, or be slow to compile, for every record.
    fn pattern(&self, at: &IdedExpr, call: &CallExpr) -> Result<(), Refusal> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) =
            call.args.last().map(|pattern| &pattern.expr)
        else {
            return self.refuse(at, "\"matches\" takes a pattern in quotes");
        };
        match Regex::new(pattern.inner()) {
            Ok(_) => Ok(()),
            Err(error) => {
                // The text before the last line repeats the pattern.
                let error = error.to_string();
                let reason = error
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                self.refuse(
                    at,
                    format!("{:?} is not a regular expression: {reason}", pattern.inner()),
                )
            }
        }
    }

    /// One level only: the work for a record grows with its lists, not with their product.
    fn comprehension(
        &mut self,
        at: &'p IdedExpr,
        comprehension: &'p ComprehensionExpr,
        depth: usize,
    ) -> Result<(), Refusal> {
        self.expression(&comprehension.iter_range, depth + 1)?;
        self.expression(&comprehension.accu_init, depth + 1)?;
        if !self.bound.is_empty() {
            return self.refuse(at, "a macro over a list cannot stand inside another one");
        }
        self.bound
            .extend([comprehension.accu_var.as_str(), comprehension.iter_var.as_str()]);
        self.bound.extend(comprehension.iter_var2.as_deref());
        for part in [
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ] {
            self.expression(part, depth + 1)?;
        }
        self.bound.clear();
        Ok(())
    }

    /// Refuses what is never a bool, whatever the record. Fields may hold bools, so they pass.
    fn gives_bool(&self, at: &IdedExpr) -> Result<(), Refusal> {
        let gives = match &at.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => true,
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => false,
            Expr::Call(call) if call.func_name == CONDITIONAL => {
                return call
                    .args
                    .iter()
                    .skip(1)
                    .try_for_each(|branch| self.gives_bool(branch));
            }
            Expr::Call(call) => !NOT_BOOL.contains(&call.func_name.as_str()),
            Expr::Comprehension(comprehension) => !matches!(comprehension.accu_init.expr, Expr::List(_)),
            _ => true,
        };
        if gives {
            Ok(())
        } else {
            self.refuse(at, "its result is not a bool, expected a condition")
        }
    }
}
