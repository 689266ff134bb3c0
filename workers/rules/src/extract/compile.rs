//! From the rules as users write them to rules that can be carried out.

use std::{collections::HashSet, fmt};

use regex::{Regex, RegexBuilder};
use scraper::{Selector, error::SelectorErrorKind};
use serde_json_path::JsonPath;
use snafu::Snafu;

use super::{Extractor, Field, FieldType, Source, Transform, transform::Step};

/// Largest compiled regular expression, bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// Why a spec's rules cannot be carried out, in words for who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("field {field:?}{location}: {what}"))]
pub struct CompileError {
    pub field: String,
    pub location: Location,
    pub what: String,
}

/// Where in a field's rules, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub rule: Option<usize>,
    pub transform: Option<usize>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("rule", self.rule), ("transform", self.transform)];
        parts
            .iter()
            .try_for_each(|(name, number)| number.map_or(Ok(()), |number| write!(f, ", {name} {number}")))
    }
}

#[derive(Debug)]
pub(super) struct CompiledField {
    pub(super) name: String,
    pub(super) field_type: FieldType,
    pub(super) required: bool,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) place: Place,
    /// All nodes that a JSONPath matches are meant.
    pub(super) wants_list: bool,
    pub(super) transforms: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Place {
    Json(JsonPath),
    Css {
        selector: Selector,
        attribute: Option<String>,
    },
    Meta(String),
    Url(Regex),
}

/// What flows from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    List,
    /// JSON may hold either.
    Either,
}

/// Compiles the rules of a record.
pub fn compile(fields: &[Field]) -> Result<Extractor, CompileError> {
    let mut names = HashSet::new();
    let compiled = fields.iter().map(|field| {
        let at = At {
            field: &field.name,
            location: Location::default(),
        };
        if !names.insert(&field.name) {
            return Err(at.refuse("is there twice, expected each name once"));
        }
        compile_field(field, at)
    });
    Ok(Extractor {
        fields: compiled.collect::<Result<_, _>>()?,
    })
}

/// The place that an error would name.
#[derive(Clone, Copy)]
struct At<'a> {
    field: &'a str,
    location: Location,
}

impl At<'_> {
    fn refuse(&self, what: impl Into<String>) -> CompileError {
        CompileError {
            field: self.field.to_owned(),
            location: self.location,
            what: what.into(),
        }
    }

    const fn rule(mut self, number: usize) -> Self {
        self.location.rule = Some(number);
        self
    }

    const fn transform(mut self, number: usize) -> Self {
        self.location.transform = Some(number);
        self
    }
}

fn compile_field(field: &Field, at: At<'_>) -> Result<CompiledField, CompileError> {
    if !is_name(&field.name) {
        return Err(at.refuse("is not a name, expected letters, digits and _, not beginning with a digit"));
    }
    if field.from.is_empty() {
        return Err(at.refuse("has no rule, expected at least one under from"));
    }
    let rules = field.from.iter().zip(1..).map(|(source, number)| {
        let at = at.rule(number);
        let (place, shape) = compile_place(source, at)?;
        let transforms = compile_transforms(source, field.field_type, shape, at)?;
        let keeps_lists = !matches!(
            transforms.first(),
            Some(Step::Keep(_) | Step::Regex(_) | Step::Split(_))
        );
        let ends_as_list = field.field_type == FieldType::StringArray;
        let picks = transforms.iter().any(|step| matches!(step, Step::Item(_)));
        Ok(Rule {
            place,
            wants_list: keeps_lists && (ends_as_list || picks),
            transforms,
        })
    });
    Ok(CompiledField {
        name: field.name.clone(),
        field_type: field.field_type,
        required: field.required,
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn compile_place(source: &Source, at: At<'_>) -> Result<(Place, Shape), CompileError> {
    if source.attribute.is_some() && source.css.is_none() {
        return Err(at.refuse("attribute is only possible together with css"));
    }
    match (&source.json, &source.css, &source.meta, &source.url) {
        (Some(path), None, None, None) => {
            let path = JsonPath::parse(path)
                .map_err(|error| at.refuse(format!("JSONPath {path:?} does not parse: {error}")))?;
            Ok((Place::Json(path), Shape::Either))
        }
        (None, Some(css), None, None) => {
            let selector = Selector::parse(css).map_err(|error| {
                at.refuse(format!(
                    "css selector {css:?} does not parse: {}",
                    css_reason(&error)
                ))
            })?;
            Ok((
                Place::Css {
                    selector,
                    attribute: source.attribute.clone(),
                },
                Shape::Text,
            ))
        }
        (None, None, Some(name), None) => Ok((Place::Meta(name.clone()), Shape::Text)),
        (None, None, None, Some(pattern)) => Ok((Place::Url(compile_regex(pattern, at)?), Shape::Text)),
        _ => Err(at.refuse("exactly one of json, css, meta and url must be set")),
    }
}

/// The library has words only for some of its errors, but names all: `ClassNeedsIdent` becomes "class needs ident".
fn css_reason(error: &SelectorErrorKind) -> String {
    let name = match error {
        SelectorErrorKind::UnexpectedSelectorParseError(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    };
    let mut words = String::new();
    for character in name.chars().take_while(char::is_ascii_alphabetic) {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

fn compile_transforms(
    source: &Source,
    field_type: FieldType,
    mut shape: Shape,
    at: At<'_>,
) -> Result<Vec<Step>, CompileError> {
    let mut steps = Vec::with_capacity(source.transform.len());
    for (transform, number) in source.transform.iter().zip(1..) {
        let at = at.transform(number);
        let (step, needs, gives) = compile_transform(transform, at)?;
        if shape != needs && shape != Shape::Either {
            return Err(at.refuse(match needs {
                Shape::Text => "works on text, but the step before it gives a list: put an item before it",
                _ => "works on a list, but what it is given is text: put a split before it",
            }));
        }
        shape = gives;
        steps.push(step);
    }
    match (field_type, shape) {
        (FieldType::StringArray, Shape::Text) => {
            Err(at.refuse("gives text, but the field is a list: add a split"))
        }
        (FieldType::StringArray, _) | (_, Shape::Text | Shape::Either) => Ok(steps),
        (_, Shape::List) => Err(at.refuse("gives a list, but the field is not one: add an item")),
    }
}

/// The step, the shape it works on, and the shape it gives.
fn compile_transform(transform: &Transform, at: At<'_>) -> Result<(Step, Shape, Shape), CompileError> {
    let Transform {
        keep,
        regex,
        split,
        pad_to,
        item,
    } = transform;
    match (keep, regex, split, pad_to, item) {
        (Some(keep), None, None, None, None) => Ok((Step::Keep(*keep), Shape::Text, Shape::Text)),
        (None, Some(pattern), None, None, None) => {
            Ok((Step::Regex(compile_regex(pattern, at)?), Shape::Text, Shape::Text))
        }
        (None, None, Some(separator), None, None) if separator.is_empty() => {
            Err(at.refuse("split needs a separator of at least one character"))
        }
        (None, None, Some(separator), None, None) => {
            Ok((Step::Split(separator.clone()), Shape::Text, Shape::List))
        }
        (None, None, None, Some(length), None) => {
            Ok((Step::PadTo(usize::from(*length)), Shape::List, Shape::List))
        }
        (None, None, None, None, Some(position)) => {
            Ok((Step::Item(usize::from(*position)), Shape::List, Shape::Text))
        }
        _ => Err(at.refuse("exactly one of keep, regex, split, padTo and item must be set")),
    }
}

fn compile_regex(pattern: &str, at: At<'_>) -> Result<Regex, CompileError> {
    RegexBuilder::new(pattern)
        .size_limit(LARGEST_REGEX)
        .build()
        .map_err(|error| {
            // The message shows the pattern over several lines and names the reason in the last.
            let message = error.to_string();
            let reason = message
                .lines()
                .last()
                .unwrap_or(&message)
                .trim_start_matches("error: ");
            at.refuse(format!("regular expression {pattern:?} does not parse: {reason}"))
        })
}
