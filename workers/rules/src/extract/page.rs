//! One page, whose parts are made when a rule first asks for them.

use std::cell::OnceCell;

use scraper::{Html, Selector};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{compile::Place, flight::Flight, scripts::scripts, transform::first_group, value::Found};

pub(super) struct Page<'a> {
    text: &'a str,
    url: &'a str,
    json: OnceCell<Json>,
    tree: OnceCell<Html>,
}

/// The JSON that a page carries, in the order in which it is searched.
struct Json {
    /// The body or `__NEXT_DATA__`.
    first: Vec<Value>,
    flight: Flight,
    /// JSON-LD.
    last: Vec<Value>,
}

impl<'a> Page<'a> {
    pub(super) fn new(text: &'a str, url: &'a str) -> Self {
        Self {
            text,
            url,
            json: OnceCell::new(),
            tree: OnceCell::new(),
        }
    }

    /// What stands at `place`. Where a JSONPath matches several nodes, `wants_list` says whether all of them are
    /// meant or only the first that is a value.
    pub(super) fn find(&self, place: &Place, wants_list: bool) -> Option<Found> {
        match place {
            Place::Json(path) => self.json(path, wants_list),
            Place::Css { selector, attribute } => self.element(selector, attribute.as_deref()),
            Place::Meta(name) => self.meta(name),
            Place::Url(regex) => Found::text(first_group(regex, self.url)?),
        }
    }

    fn json(&self, path: &JsonPath, wants_list: bool) -> Option<Found> {
        let json = self.json.get_or_init(|| Json::of(self.text));
        let as_it_is = |document| {
            choose(
                path.query(document).iter().map(|node| Found::json(node)),
                wants_list,
            )
        };
        let resolved = |document| {
            let nodes = path.query(document);
            choose(
                nodes.iter().map(|node| Found::json(&json.flight.resolve(node)?)),
                wants_list,
            )
        };
        json.first
            .iter()
            .find_map(as_it_is)
            .or_else(|| json.flight.rows.iter().find_map(resolved))
            .or_else(|| json.last.iter().find_map(as_it_is))
    }

    fn element(&self, selector: &Selector, attribute: Option<&str>) -> Option<Found> {
        let element = self.tree().select(selector).next()?;
        match attribute {
            Some(name) => Found::text(element.attr(name)?),
            None => Found::text(&element.text().collect::<String>()),
        }
    }

    fn meta(&self, name: &str) -> Option<Found> {
        thread_local! {
            static META: Selector = Selector::parse("meta").expect("it is a CSS selector");
        }
        META.with(|selector| {
            let mut elements = self.tree().select(selector);
            let named = elements.find(|element| {
                [element.attr("property"), element.attr("name")].contains(&Some(name))
                    && element.attr("content").is_some()
            })?;
            Found::text(named.attr("content")?)
        })
    }

    fn tree(&self) -> &Html {
        self.tree.get_or_init(|| Html::parse_document(self.text))
    }
}

impl Json {
    fn of(text: &str) -> Self {
        let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if start.starts_with(['{', '[']) {
            let body = serde_json::from_str(start).ok();
            return Self {
                first: Vec::from_iter(body),
                flight: Flight::default(),
                last: Vec::new(),
            };
        }
        let parse = |text: &str| serde_json::from_str(text.trim()).ok();
        let next_data = scripts(text).filter(|script| script.has("id", "__NEXT_DATA__"));
        let linked = scripts(text).filter(|script| script.has("type", "application/ld+json"));
        Self {
            first: next_data.filter_map(|script| parse(script.text)).collect(),
            flight: Flight::parse(scripts(text)),
            last: linked.filter_map(|script| parse(script.text)).collect(),
        }
    }
}

/// The first value; or, for a list, all nodes when there are several.
fn choose(mut nodes: impl Iterator<Item = Option<Found>>, wants_list: bool) -> Option<Found> {
    if !wants_list {
        return nodes.find_map(|node| node);
    }
    let mut nodes = nodes.collect::<Vec<_>>();
    if nodes.len() == 1 {
        return nodes.pop().flatten();
    }
    let texts = nodes.into_iter().map(|node| match node {
        Some(Found::Text(text)) => Some(text),
        _ => None,
    });
    let texts = texts.collect::<Vec<_>>();
    texts.iter().any(Option::is_some).then_some(Found::List(texts))
}
