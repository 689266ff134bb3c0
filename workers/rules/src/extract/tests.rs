//! Whole pages through compiled rules.

use super::*;

fn fields(rules: serde_json::Value) -> Vec<Field> {
    serde_json::from_value(rules).unwrap()
}

fn marketplace() -> Extractor {
    let rules = serde_json::json!([
        {"name": "id", "type": "long", "required": true,
         "from": [{"json": "$..product.productSeq"}, {"url": "/product/(\\d+)"}]},
        {"name": "title", "type": "string", "required": true,
         "from": [{"json": "$..product.productTitle"}, {"css": "main h1"}, {"meta": "og:title"}]},
        {"name": "price", "type": "long", "required": true,
         "from": [{"json": "$..product.productPrice"}, {"css": "main .price", "transform": [{"keep": "digits"}]}]},
        {"name": "description", "type": "string",
         "from": [{"json": "$..product.productDescription"}, {"css": "article"}]},
        {"name": "category", "type": "array<string>",
         "from": [{"json": "$..product.categoryName", "transform": [{"split": ","}, {"padTo": 4}]}]},
        {"name": "places", "type": "array<string>", "from": [{"json": "$..locations[*].locationName"}]},
        {"name": "image", "type": "string", "from": [{"css": "main img", "attribute": "src"}]}
    ]);
    compile(&fields(rules)).unwrap()
}

const URL: &str = "https://example.test/product/7";

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

fn list(items: &[Option<&str>]) -> Option<Value> {
    Some(Value::StringArray(
        items.iter().map(|item| item.map(str::to_owned)).collect(),
    ))
}

fn product() -> serde_json::Value {
    serde_json::json!({
        "productSeq": 7, "productTitle": " 의자 ", "productPrice": 540_000, "productDescription": "낡은 의자",
        "categoryName": "가구,의자", "locations": [{"locationName": "원천동"}, {"locationName": "영통1동"}],
    })
}

fn expected() -> Record {
    vec![
        Some(Value::Long(7)),
        text("의자"),
        Some(Value::Long(540_000)),
        text("낡은 의자"),
        list(&[Some("가구"), Some("의자"), None, None]),
        list(&[Some("원천동"), Some("영통1동")]),
        None,
    ]
}

#[test]
fn the_same_record_is_found_in_every_kind_of_json() {
    let data = serde_json::json!({"props": {"data": {"product": product()}}});
    let mut hoisted = data.clone();
    hoisted["props"]["data"]["product"]["productDescription"] = "$29".into();
    let stream = format!("29:Td,낡은 의자22:[\"$\",\"$L2\",null,{hoisted}]\n");
    let (first, second) = stream.split_at(60);
    let push = |piece: &str| {
        format!(
            "<script>self.__next_f.push({})</script>",
            serde_json::json!([1, piece])
        )
    };
    for page in [
        data.to_string(),
        format!("<html><script id=\"__NEXT_DATA__\" type=\"application/json\">{data}</script>"),
        format!("<html><body>{}{}", push(first), push(second)),
        format!("<html><script type=\"application/ld+json\">{data}</script>"),
    ] {
        assert_eq!(marketplace().extract(&page, URL), Ok(expected()), "{page}");
    }
}

#[test]
fn rules_fall_back_to_elements_and_the_url() {
    let page = "<html><body><main><h1>\n 의자 <b>둘</b></h1><span class=\"big price\">163,000원</span>\
                <img src=\" /a.jpg \"></main><article> </article></body></html>";
    let record = marketplace().extract(page, URL).unwrap();
    let expected = vec![
        Some(Value::Long(7)),
        text("의자 둘"),
        Some(Value::Long(163_000)),
        None,
        None,
        None,
        text("/a.jpg"),
    ];
    assert_eq!(record, expected);
}

#[test]
fn a_page_with_nothing_but_its_address_is_empty() {
    let gone = "<html><main>삭제되거나 없는 게시글</main></html>";
    let missing = Missing {
        field: "title".to_owned(),
        page_is_empty: true,
    };
    assert_eq!(marketplace().extract(gone, URL), Err(missing));
    for rules in [
        serde_json::json!([{"name": "id", "type": "long", "required": true, "from": [{"url": "/(\\d+)"}]},
                           {"name": "title", "type": "string", "from": [{"css": "h1"}]}]),
        serde_json::json!([{"name": "title", "type": "string", "from": [{"css": "h1"}]}]),
    ] {
        let missing = compile(&fields(rules)).unwrap().extract(gone, URL).unwrap_err();
        assert_eq!(
            missing,
            Missing {
                field: "title".to_owned(),
                page_is_empty: true
            }
        );
    }
}

#[test]
fn a_page_that_lacks_only_some_required_fields_is_not_empty() {
    let page = "<html><main><h1>의자</h1></main></html>";
    let missing = Missing {
        field: "price".to_owned(),
        page_is_empty: false,
    };
    assert_eq!(marketplace().extract(page, URL), Err(missing));
}

#[test]
fn a_record_that_needs_only_the_address_is_always_there() {
    let rules =
        serde_json::json!([{"name": "id", "type": "long", "required": true, "from": [{"url": "/(\\d+)"}]}]);
    assert_eq!(
        compile(&fields(rules)).unwrap().extract("", URL),
        Ok(vec![Some(Value::Long(7))])
    );
}

#[test]
fn what_cannot_work_is_refused_in_words_for_its_author() {
    let field =
        |from: serde_json::Value| serde_json::json!([{"name": "price", "type": "long", "from": from}]);
    for (rules, expected) in [
        (
            field(serde_json::json!([{"json": "$.price"}, {"css": "main ..price"}])),
            "field \"price\", rule 2: css selector \"main ..price\" does not parse: class needs ident",
        ),
        (
            field(serde_json::json!([{"json": "$.price["}])),
            "field \"price\", rule 1: JSONPath \"$.price[\" does not parse: at position ",
        ),
        (
            field(serde_json::json!([{"url": "/(\\d+"}])),
            "field \"price\", rule 1: regular expression \"/(\\\\d+\" does not parse: unclosed group",
        ),
        (
            field(serde_json::json!([{"css": "b", "transform": [{"keep": "digits"}, {"regex": "["}]}])),
            "field \"price\", rule 1, transform 2: regular expression \"[\" does not parse: unclosed character class",
        ),
        (
            field(serde_json::json!([{"css": "b", "transform": [{"item": 1}]}])),
            "field \"price\", rule 1, transform 1: works on a list, but what it is given is text: put a split before it",
        ),
        (
            field(serde_json::json!([{"css": "b", "transform": [{"split": ","}, {"keep": "digits"}]}])),
            "field \"price\", rule 1, transform 2: works on text, but the step before it gives a list: put an item \
             before it",
        ),
        (
            field(serde_json::json!([{"css": "b", "transform": [{"split": ","}]}])),
            "field \"price\", rule 1: gives a list, but the field is not one: add an item",
        ),
        (
            field(serde_json::json!([{"css": "b", "meta": "c"}])),
            "field \"price\", rule 1: exactly one of json, css, meta and url must be set",
        ),
        (
            field(serde_json::json!([{"json": "$.a", "attribute": "c"}])),
            "field \"price\", rule 1: attribute is only possible together with css",
        ),
        (
            field(serde_json::json!([{"css": "b", "transform": [{}]}])),
            "field \"price\", rule 1, transform 1: exactly one of keep, regex, split, padTo and item must be set",
        ),
        (
            field(serde_json::json!([])),
            "field \"price\": has no rule, expected at least one under from",
        ),
        (
            serde_json::json!([{"name": "a-b", "type": "long", "from": [{"css": "b"}]}]),
            "field \"a-b\": is not a name, expected letters, digits and _, not beginning with a digit",
        ),
        (
            serde_json::json!([{"name": "a", "type": "long", "from": [{"css": "b"}]},
                               {"name": "a", "type": "long", "from": [{"css": "b"}]}]),
            "field \"a\": is there twice, expected each name once",
        ),
        (
            serde_json::json!([{"name": "a", "type": "array<string>", "from": [{"css": "b"}]}]),
            "field \"a\", rule 1: gives text, but the field is a list: add a split",
        ),
    ] {
        let error = compile(&fields(rules)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_extractor_is_shared_between_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    assert_shared(&marketplace());
}

proptest::proptest! {
    #[test]
    fn no_page_makes_it_panic(page in "(<[a-z/!]*|[>\"'= ]|<script id=\"__NEXT_DATA__\">|[{}\\[\\]:,가1a])*") {
        let _ = marketplace().extract(&page, URL);
    }
}
