//! Filters over decimals, of which CEL knows nothing.
//!
//! What a filter does with a decimal is to compare it, and [`Condition`] compares exactly. So each comparison of fields
//! becomes a name in the expression, whose value is known before CEL evaluates the rest. Anywhere else a decimal is an
//! error, of which `&&` and `||` make what they make of each.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, Expr, IdedExpr};

use super::condition::Condition;
use super::scalar::Scalar;

/// An expression without its comparisons.
#[derive(Debug)]
pub(super) struct Abstracted {
    pub(super) expression: IdedExpr,
    pub(super) comparisons: Vec<Comparison>,
}

/// A comparison that was taken out of an expression.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) expression: IdedExpr,
    pub(super) condition: Condition,
}

impl Abstracted {
    /// `fields` are those of a row, in its order.
    pub(super) fn of(expression: &IdedExpr, fields: &BTreeSet<String>) -> Self {
        let mut comparisons = Vec::new();
        Self {
            expression: abstracted(expression, fields, &mut comparisons),
            comparisons,
        }
    }
}

/// The name of a comparison: one that nobody can write.
fn name(index: usize) -> String {
    format!("@{index}")
}

/// Which comparison has this name.
pub(super) fn index(name: &str) -> Option<usize> {
    name.strip_prefix('@')?.parse().ok()
}

impl Comparison {
    /// Whether a decimal of `row` is compared.
    pub(super) fn reads_decimal(&self, row: &[Scalar<'_>]) -> bool {
        let is_decimal = |place: usize| matches!(row.get(place), Some(Scalar::Decimal { .. }));
        self.condition.fields().any(is_decimal)
    }
}

fn abstracted(at: &IdedExpr, fields: &BTreeSet<String>, comparisons: &mut Vec<Comparison>) -> IdedExpr {
    // A comprehension may bind the name of a field, so what is in it stays as it is.
    let Expr::Call(call) = &at.expr else {
        return at.clone();
    };
    let condition = Condition::compile(at, fields);
    if condition.fields().next().is_some() {
        let expression = at.clone();
        comparisons.push(Comparison {
            expression,
            condition,
        });
        let expr = Expr::Ident(name(comparisons.len() - 1));
        return IdedExpr { id: at.id, expr };
    }
    let mut part = |at: &IdedExpr| abstracted(at, fields, comparisons);
    let call = CallExpr {
        func_name: call.func_name.clone(),
        target: call.target.as_deref().map(|target| Box::new(part(target))),
        args: call.args.iter().map(part).collect(),
    };
    IdedExpr {
        id: at.id,
        expr: Expr::Call(call),
    }
}
