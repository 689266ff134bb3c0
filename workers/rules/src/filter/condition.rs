//! The part of CEL that most filters are written in, over scalars and without allocation.
//!
//! It answers where it is certain of what CEL would, and otherwise not at all. In particular it knows no errors: a
//! part that it cannot compute is unknown, and CEL's `&&` and `||` do with an unknown part what they do with one that
//! has failed. So there is one place that finds the words for what is wrong, and it is CEL's.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use cel::common::ast::operators::{
    EQUALS, GREATER, GREATER_EQUALS, IN, LESS, LESS_EQUALS, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NEGATE,
    NOT_EQUALS,
};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

use super::scalar::Scalar;
use crate::decimal;

/// A compiled expression.
#[derive(Debug)]
pub(super) enum Condition {
    /// The value itself, which must be a bool.
    Holds(Operand),
    Compares(Comparison, Operand, Operand),
    IsAmong(Operand, Box<[Operand]>),
    /// What CEL's `contains`, `startsWith` or `endsWith` say of two texts.
    Texts(fn(&str, &str) -> bool, Operand, Operand),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    /// Anything else.
    Unknown,
}

#[derive(Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Ordered(fn(Ordering) -> bool),
}

#[derive(Debug)]
pub(super) enum Operand {
    /// A place in the row.
    Field(usize),
    Text(String),
    /// Any other literal.
    Literal(Scalar<'static>),
}

impl Condition {
    /// `fields` are those of a row, in its order.
    pub(super) fn compile(at: &IdedExpr, fields: &BTreeSet<String>) -> Self {
        Self::known(at, fields).unwrap_or(Self::Unknown)
    }

    fn known(at: &IdedExpr, fields: &BTreeSet<String>) -> Option<Self> {
        let Expr::Call(call) = &at.expr else {
            return Operand::compile(at, fields).map(Self::Holds);
        };
        let operand = |at: &IdedExpr| Operand::compile(at, fields);
        let name = call.func_name.as_str();
        match (call.target.as_deref(), call.args.as_slice()) {
            (None, [one]) if name == LOGICAL_NOT => Some(Self::Not(Box::new(Self::compile(one, fields)))),
            (None, [left, right]) => {
                let parts = || Box::new([left, right].map(|part| Self::compile(part, fields)));
                match name {
                    LOGICAL_AND => Some(Self::And(parts())),
                    LOGICAL_OR => Some(Self::Or(parts())),
                    IN => Some(Self::IsAmong(operand(left)?, list(right, fields)?)),
                    _ => Some(Self::Compares(comparison(name)?, operand(left)?, operand(right)?)),
                }
            }
            (Some(text), [part]) => Some(Self::Texts(test(call)?, operand(text)?, operand(part)?)),
            _ => None,
        }
    }

    /// The places of the fields that it compares, if it is a comparison.
    pub(super) fn fields(&self) -> impl Iterator<Item = usize> {
        let (pair, list) = match self {
            Self::Compares(_, left, right) => ([Some(left), Some(right)], &[][..]),
            Self::IsAmong(operand, list) => ([Some(operand), None], &list[..]),
            _ => ([None, None], &[][..]),
        };
        pair.into_iter()
            .flatten()
            .chain(list)
            .filter_map(|operand| match operand {
                Operand::Field(place) => Some(*place),
                _ => None,
            })
    }

    /// What CEL says, if that is certain.
    pub(super) fn holds(&self, row: &[Scalar<'_>]) -> Option<bool> {
        match self {
            Self::Holds(operand) => match operand.value(row, &mut Scalar::Other) {
                Scalar::Boolean(value) => Some(*value),
                _ => None,
            },
            Self::Compares(comparison, left, right) => {
                let places = (&mut Scalar::Other, &mut Scalar::Other);
                let (left, right) = (left.value(row, places.0), right.value(row, places.1));
                match comparison {
                    Comparison::Equal => equal(left, right),
                    Comparison::NotEqual => equal(left, right).map(|equal| !equal),
                    Comparison::Ordered(is) => order(left, right).map(is),
                }
            }
            Self::IsAmong(operand, list) => {
                let places = (&mut Scalar::Other, &mut Scalar::Other);
                let operand = operand.value(row, places.0);
                list.iter().try_fold(false, |found, one| {
                    equal(one.value(row, places.1), operand).map(|equal| found || equal)
                })
            }
            Self::Texts(test, text, part) => {
                let places = (&mut Scalar::Other, &mut Scalar::Other);
                match (text.value(row, places.0), part.value(row, places.1)) {
                    (Scalar::Text(text), Scalar::Text(part)) => Some(test(text, part)),
                    _ => None,
                }
            }
            Self::Not(part) => part.holds(row).map(|holds| !holds),
            Self::And(parts) => decided_by(false, parts, row),
            Self::Or(parts) => decided_by(true, parts, row),
            Self::Unknown => None,
        }
    }
}

/// `&&` is decided by a part that is false, `||` by one that is true, whatever the other part is.
fn decided_by(decisive: bool, [left, right]: &[Condition; 2], row: &[Scalar<'_>]) -> Option<bool> {
    let left = left.holds(row);
    if left == Some(decisive) {
        return left;
    }
    match right.holds(row) {
        Some(right) if right == decisive || left.is_some() => Some(right),
        _ => None,
    }
}

impl Operand {
    fn compile(at: &IdedExpr, fields: &BTreeSet<String>) -> Option<Self> {
        match &at.expr {
            // A name of which `fields` knows nothing is that of a type, or written in another way.
            Expr::Ident(name) => fields.iter().position(|field| field == name).map(Self::Field),
            Expr::Literal(literal) => Self::literal(literal),
            Expr::Call(call) if call.func_name == NEGATE => match call.args.as_slice() {
                [
                    IdedExpr {
                        expr: Expr::Literal(literal),
                        ..
                    },
                ] => match Self::literal(literal)? {
                    Self::Literal(Scalar::Integer(value)) => value
                        .checked_neg()
                        .map(|value| Self::Literal(Scalar::Integer(value))),
                    Self::Literal(Scalar::Double(value)) => Some(Self::Literal(Scalar::Double(-value))),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    fn literal(literal: &LiteralValue) -> Option<Self> {
        Some(match literal {
            LiteralValue::Null => Self::Literal(Scalar::Null),
            LiteralValue::Boolean(value) => Self::Literal(Scalar::Boolean(*value.inner())),
            LiteralValue::Int(value) => Self::Literal(Scalar::Integer(*value.inner())),
            LiteralValue::Double(value) => Self::Literal(Scalar::Double(*value.inner())),
            LiteralValue::String(value) => Self::Text(value.inner().to_owned()),
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return None,
        })
    }

    /// What it is in this row, by reference: a scalar that has just been written is slow to copy. A text of the filter is
    /// put into `place`.
    #[inline]
    fn value<'r, 'a>(&'a self, row: &'r [Scalar<'a>], place: &'r mut Scalar<'a>) -> &'r Scalar<'a> {
        match self {
            Self::Field(field) => row.get(*field).unwrap_or(&Scalar::Other),
            Self::Literal(literal) => literal,
            Self::Text(text) => {
                *place = Scalar::Text(text);
                place
            }
        }
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        EQUALS => Comparison::Equal,
        NOT_EQUALS => Comparison::NotEqual,
        LESS => Comparison::Ordered(Ordering::is_lt),
        LESS_EQUALS => Comparison::Ordered(Ordering::is_le),
        GREATER => Comparison::Ordered(Ordering::is_gt),
        GREATER_EQUALS => Comparison::Ordered(Ordering::is_ge),
        _ => return None,
    })
}

fn test(call: &CallExpr) -> Option<fn(&str, &str) -> bool> {
    Some(match call.func_name.as_str() {
        "contains" => |text, part| text.contains(part),
        "startsWith" => |text, part| text.starts_with(part),
        "endsWith" => |text, part| text.ends_with(part),
        _ => return None,
    })
}

fn list(at: &IdedExpr, fields: &BTreeSet<String>) -> Option<Box<[Operand]>> {
    let Expr::List(list) = &at.expr else { return None };
    list.elements
        .iter()
        .map(|element| Operand::compile(element, fields))
        .collect()
}

/// Integers and doubles are compared as doubles, as CEL does, and decimals exactly, a double being the shortest decimal that
/// it could be read from. Everything else is ordered within its own type only.
#[inline]
fn order(left: &Scalar<'_>, right: &Scalar<'_>) -> Option<Ordering> {
    use Scalar::{Boolean, Double, Integer, Text, Time};
    match (left, right) {
        (Integer(left) | Time(left), Integer(right) | Time(right)) => Some(left.cmp(right)),
        (Integer(left) | Time(left), Double(right)) => (*left as f64).partial_cmp(right),
        (Double(left), Integer(right) | Time(right)) => left.partial_cmp(&(*right as f64)),
        (Double(left), Double(right)) => left.partial_cmp(right),
        (Text(left), Text(right)) => Some(left.cmp(right)),
        (Boolean(left), Boolean(right)) => Some(left.cmp(right)),
        _ => order_others(left, right),
    }
}

fn order_others(left: &Scalar<'_>, right: &Scalar<'_>) -> Option<Ordering> {
    use Scalar::{Decimal, Double, Float};
    match (left, right) {
        // To a filter a float is the double that it is equal to.
        (Float(left), right) => order(&Double(f64::from(*left)), right),
        (left, Float(right)) => order(left, &Double(f64::from(*right))),
        (Decimal { .. }, Double(right)) => against_double(left, *right),
        (Double(left), Decimal { .. }) => against_double(right, *left).map(Ordering::reverse),
        (Decimal { .. }, _) | (_, Decimal { .. }) => Some(left.as_decimal()?.cmp(&right.as_decimal()?)),
        _ => None,
    }
}

fn against_double(decimal: &Scalar<'_>, double: f64) -> Option<Ordering> {
    match decimal::Decimal::of_double(double) {
        Some(double) => Some(decimal.as_decimal()?.cmp(&double)),
        // Infinite, or not a number.
        None => 0.0.partial_cmp(&double),
    }
}

/// Values of different types are not equal, and what is not a number is not equal to itself.
fn equal(left: &Scalar<'_>, right: &Scalar<'_>) -> Option<bool> {
    use Scalar::{Null, Other, Uuid};
    match (left, right) {
        (Other | Uuid(..), _) | (_, Other | Uuid(..)) => None,
        (Null, Null) => Some(true),
        _ => Some(order(left, right) == Some(Ordering::Equal)),
    }
}
