//! A filter expression in CEL over the fields of a record.
//!
//! Every name that is not bound by a comprehension is a field of the record. Avro becomes CEL like this:
//!
//! | Avro | CEL |
//! |---|---|
//! | int, long, date, time and timestamp (in their own unit) | int |
//! | float, double | double |
//! | string, enum (its symbol), uuid | string |
//! | bytes, fixed | bytes |
//! | boolean, null | bool, null |
//! | array, map, record | list, map, map with the field names as keys |
//! | union | the value that it holds |
//! | decimal, as a field of the record | compared with numbers only, exactly: [`EvaluateError::Decimal`] otherwise |
//! | decimal within another value, duration | none: [`EvaluateError::UnsupportedType`] |
//!
//! A decimal is compared by its value: 1.50 is 1.5. A double, and so a literal such as `999999.99`, is to it the shortest
//! decimal that it could be read from, which is the one that was written.
//!
//! A filter gives true, false or a typed error; there is no third value. In particular for null:
//!
//! | expression, `price` being null | result |
//! |---|---|
//! | `price == null`, `price != 5`, `type(price) == null_type` | true |
//! | `price != null`, `price == 5`, `price in [1, 2]` | false |
//! | `price < 5`, `price + 1 == 2`, `-price == 1`, `price.amount == 1` | [`EvaluateError::Null`] |
//! | `price != null && price < 5`, in either order | false |
//!
//! The language is CEL without timestamps, durations and optionals: the operators, the macros `has`, `all`,
//! `exists`, `exists_one`, `map` and `filter`, and the functions of [`FUNCTIONS`].

mod check;
mod condition;
mod decimals;
mod scalar;
mod value;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, LazyLock},
};

use apache_avro::types::Value;
use cel::{
    Context, Env, ExecutionError, ParseError, Program,
    common::{
        ast::IdedExpr,
        types::CelBool,
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use snafu::Snafu;

pub use self::check::FUNCTIONS;
use self::condition::Condition;
use self::decimals::Abstracted;
pub use self::scalar::Scalar;
pub use self::value::type_name;

/// Most bytes of an expression.
pub const MAX_LENGTH: usize = 4096;

/// What all filters may use. Making it takes longer than compiling one of them.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// Why an expression is not a filter.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum FilterError {
    #[snafu(display("the filter is empty, expected an expression such as \"price <= 1000000\""))]
    Empty,
    #[snafu(display("the filter has {length} bytes, expected at most {MAX_LENGTH}"))]
    TooLong { length: usize },
    #[snafu(display("filter {expression:?} does not parse: line {line}, column {column}: {reason}"))]
    Syntax {
        expression: String,
        line: isize,
        column: isize,
        reason: String,
    },
    #[snafu(display("filter {expression:?} cannot be used: column {column}: {reason}"))]
    Refused {
        expression: String,
        column: u32,
        reason: String,
    },
}

/// Why a filter has no result for a record.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub enum EvaluateError {
    #[snafu(display("expected a record, found {found}"))]
    NotARecord { found: &'static str },
    #[snafu(display("the record has no field {field:?}, which the filter reads"))]
    MissingField { field: String },
    #[snafu(display("field {field:?} holds {found}, which a filter cannot read"))]
    UnsupportedType { field: String, found: &'static str },
    #[snafu(display(
        "field {field:?} holds a decimal, which a filter can compare with numbers and do nothing else with"
    ))]
    Decimal { field: String },
    #[snafu(display("the filter computes with null; of the fields that it reads, null are: {}", fields.join(", ")))]
    Null { fields: Vec<String> },
    #[snafu(display("the filter gave a value of type {found}, expected bool"))]
    NotBool { found: String },
    #[snafu(display("the filter failed: {reason}"))]
    Failed { reason: String },
}

/// A compiled filter; cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Filter(Arc<Compiled>);

struct Compiled {
    expression: String,
    fields: BTreeSet<String>,
    condition: Condition,
    /// For records in which a field is a decimal.
    abstracted: Abstracted,
    program: Program,
    environment: Arc<Env>,
}

/// Compiles `expression` and refuses what could never give true or false, or would take unbounded work.
pub fn compile(expression: &str) -> Result<Filter, FilterError> {
    if expression.trim().is_empty() {
        return EmptySnafu.fail();
    }
    if expression.len() > MAX_LENGTH {
        return TooLongSnafu {
            length: expression.len(),
        }
        .fail();
    }
    let environment = &*ENVIRONMENT;
    let program = environment
        .compile(expression)
        .map_err(|errors| syntax_error(expression, errors.errors))?;
    let fields = check::program(&program, environment).map_err(|(start, reason)| FilterError::Refused {
        expression: shortened(expression),
        column: start + 1,
        reason,
    })?;
    let expression = expression.to_owned();
    let condition = Condition::compile(program.expression(), &fields);
    let abstracted = Abstracted::of(program.expression(), &fields);
    Ok(Filter(Arc::new(Compiled {
        expression,
        fields,
        condition,
        abstracted,
        program,
        environment: Arc::clone(environment),
    })))
}

/// The first error in the text; the parser's later ones mostly follow from it.
fn syntax_error(expression: &str, errors: Vec<ParseError>) -> FilterError {
    let (line, column, reason) = match errors.into_iter().next() {
        Some(error) if error.msg.contains("Recursion limit") => (1, 1, "it is nested too deeply".to_owned()),
        Some(error) => (error.pos.0, error.pos.1, error.msg),
        None => (1, 1, "the parser gives no reason".to_owned()),
    };
    let reason = plain(&reason);
    FilterError::Syntax {
        expression: shortened(expression),
        line,
        column,
        reason,
    }
}

/// The parser's reason without its list of all that might have stood there.
fn plain(reason: &str) -> String {
    let reason = reason.trim_start_matches("Syntax error: ");
    let reason = reason
        .split_once(" expecting ")
        .map_or(reason, |(found, _)| found);
    reason
        .replace("mismatched input '<EOF>'", "it ends too early")
        .replace("mismatched input", "unexpected")
        .replace("extraneous input", "unexpected")
}

/// An expression as messages quote it.
fn shortened(expression: &str) -> String {
    const LENGTH: usize = 120;
    match expression.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &expression[..end]),
        None => expression.to_owned(),
    }
}

impl Filter {
    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.0.expression
    }

    /// The fields of the record that the filter reads. A record that lacks one of them is an error, whether or
    /// not the evaluation would reach it.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.0.fields
    }

    /// What [`Self::matches`] says of a record that holds `row`, its [`Self::fields`] in their order. `None` when only
    /// the record itself can tell, as it must whenever there is something wrong with it.
    pub fn holds(&self, row: &[Scalar<'_>]) -> Option<bool> {
        // What is not looked at here may be something that no filter reads, which is an error for every expression.
        if row.iter().any(|scalar| matches!(scalar, Scalar::Other)) {
            return None;
        }
        self.0.condition.holds(row)
    }

    /// Whether `record` passes. It must be a [`Value::Record`]. What `row` has, its [`Self::fields`] in their order, is only
    /// needed of decimals, which are not whole without their schema; it may be shorter.
    pub fn matches(&self, record: &Value, row: &[Scalar<'_>]) -> Result<bool, EvaluateError> {
        let Value::Record(record) = record else {
            return NotARecordSnafu {
                found: type_name(record),
            }
            .fail();
        };
        let fields = Fields::read(&self.0.fields, record, row)?;
        if fields.decimals.is_empty() {
            let result = self.evaluate(self.0.program.expression(), &fields);
            return result.unwrap_or_else(|error| Err(fields.explain(&error)));
        }
        let comparisons = &self.0.abstracted.comparisons;
        let compared = comparisons
            .iter()
            .map(|comparison| match comparison.condition.holds(row) {
                Some(holds) => Ok(holds),
                None if comparison.reads_decimal(row) => {
                    Err(fields.incomparable(comparison.condition.fields()))
                }
                None => self
                    .evaluate(&comparison.expression, &fields)
                    .unwrap_or_else(|error| Err(fields.explain(&error))),
            })
            .collect::<Vec<_>>();
        let names = Compared {
            fields: &fields,
            results: &compared,
        };
        let result = self.evaluate(&self.0.abstracted.expression, &names);
        result.unwrap_or_else(|error| match &error {
            ExecutionError::UndeclaredReference(name) => {
                match decimals::index(name).map(|index| &compared[index]) {
                    Some(Err(error)) => Err(error.clone()),
                    _ => Err(fields.explain(&error)),
                }
            }
            _ => Err(fields.explain(&error)),
        })
    }

    fn evaluate(
        &self,
        expression: &IdedExpr,
        names: &dyn VariableResolver,
    ) -> Result<Result<bool, EvaluateError>, ExecutionError> {
        let mut context = Context::with_env(Arc::clone(&self.0.environment));
        context.set_variable_resolver(names);
        let result = cel::Value::resolve_val(expression, &context)?;
        Ok(match result.downcast_ref::<CelBool>() {
            Some(result) => Ok(*result.inner()),
            None => NotBoolSnafu {
                found: result.get_type().name(),
            }
            .fail(),
        })
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Filter").field(&self.0.expression).finish()
    }
}

/// The values of the fields that a filter reads, in CEL.
struct Fields<'r> {
    values: Vec<(&'r str, Box<dyn Val + 'r>)>,
    /// Names of those that are decimals, and have no value in CEL.
    decimals: Vec<&'r str>,
    names: &'r BTreeSet<String>,
}

impl<'r> Fields<'r> {
    fn read(
        names: &'r BTreeSet<String>,
        record: &'r [(String, Value)],
        row: &[Scalar<'_>],
    ) -> Result<Self, EvaluateError> {
        let mut fields = Self {
            values: Vec::with_capacity(names.len()),
            decimals: Vec::new(),
            names,
        };
        for (place, name) in names.iter().enumerate() {
            let (_, found) = record
                .iter()
                .find(|(field, _)| field == name)
                .ok_or_else(|| EvaluateError::MissingField { field: name.clone() })?;
            if let Some(Scalar::Decimal { .. }) = row.get(place) {
                fields.decimals.push(name);
                continue;
            }
            let found = value::to_cel(found).map_err(|found| EvaluateError::UnsupportedType {
                field: name.clone(),
                found,
            })?;
            fields.values.push((name, found));
        }
        Ok(fields)
    }

    /// Why a decimal cannot be compared with another of the fields in these places.
    fn incomparable(&self, mut places: impl Iterator<Item = usize>) -> EvaluateError {
        let null = self.null();
        let name = |place: usize| self.names.iter().nth(place).map(String::as_str);
        if places.any(|place| name(place).is_some_and(|name| null.iter().any(|null| null == name))) {
            return EvaluateError::Null { fields: null };
        }
        let field = self.decimals.first().copied().unwrap_or_default().to_owned();
        EvaluateError::Decimal { field }
    }

    fn null(&self) -> Vec<String> {
        let is_null = |value: &dyn Val| value.downcast_ref::<cel::common::types::CelNull>().is_some();
        let null = self.values.iter().filter(|(_, value)| is_null(value.as_ref()));
        null.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// An operator without an overload for null is the one error that a writer of filters meets all the time.
    fn explain(&self, error: &ExecutionError) -> EvaluateError {
        if let ExecutionError::UndeclaredReference(name) = error
            && let Some(name) = self
                .decimals
                .iter()
                .find(|decimal| **decimal == name.trim_start_matches('.'))
        {
            return EvaluateError::Decimal {
                field: (*name).to_owned(),
            };
        }
        let about_null = match error {
            ExecutionError::NoSuchOverload(overload) => {
                overload.argument_types().iter().any(|name| name == "null_type")
            }
            ExecutionError::ValuesNotComparable(left, right)
            | ExecutionError::UnsupportedBinaryOperator(_, left, right) => [left, right]
                .into_iter()
                .any(|value| matches!(value, cel::Value::Null)),
            _ => false,
        };
        if about_null {
            return EvaluateError::Null { fields: self.null() };
        }
        EvaluateError::Failed {
            reason: error.to_string(),
        }
    }
}

impl VariableResolver for Fields<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        self.values
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| CowVal::Borrowed(value.as_ref()))
    }
}

/// The fields, and what their comparisons came to.
struct Compared<'r> {
    fields: &'r Fields<'r>,
    results: &'r [Result<bool, EvaluateError>],
}

impl VariableResolver for Compared<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        match decimals::index(name) {
            Some(index) => {
                let holds = self.results.get(index)?.as_ref().ok()?;
                Some(CowVal::owned(CelBool::from(*holds)))
            }
            None => self.fields.resolve(name),
        }
    }
}

#[cfg(test)]
mod tests;
