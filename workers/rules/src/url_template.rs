//! The address of a product page with a place for its id.

use snafu::{ResultExt, Snafu, ensure};
use url::Url;

/// Where the id stands.
const PLACE: &str = "{id}";

#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
pub enum UrlTemplateError {
    #[snafu(display("URL template {template:?} has no \"{PLACE}\", expected one where a page's id stands"))]
    NoPlace { template: String },
    #[snafu(display("URL template {template:?} is not a URL"))]
    NoUrl {
        source: url::ParseError,
        template: String,
    },
    #[snafu(display("URL template {template:?} has scheme {scheme:?}, expected http or https"))]
    WrongScheme { template: String, scheme: String },
    #[snafu(display("the host of URL template {template:?} depends on the id, expected one host"))]
    HostDepends { template: String },
    #[snafu(display("URL template {template:?} holds a user name or password, expected none"))]
    Credentials { template: String },
}

/// A template that gives a URL for every id, all of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    template: String,
    /// Any of its URLs.
    sample: Url,
}

impl UrlTemplate {
    pub fn parse(template: &str) -> Result<Self, UrlTemplateError> {
        ensure!(template.contains(PLACE), NoPlaceSnafu { template });
        let [sample, other] = [1, 2].map(|id| Url::parse(&fill(template, id)));
        let (sample, other) = (
            sample.context(NoUrlSnafu { template })?,
            other.context(NoUrlSnafu { template })?,
        );
        let scheme = sample.scheme();
        ensure!(
            matches!(scheme, "http" | "https"),
            WrongSchemeSnafu { template, scheme }
        );
        ensure!(
            sample.username().is_empty() && sample.password().is_none(),
            CredentialsSnafu {
                // Not the template itself: it holds a password.
                template: sample.host_str().unwrap_or_default(),
            }
        );
        ensure!(sample.origin() == other.origin(), HostDependsSnafu { template });
        Ok(Self {
            template: template.to_owned(),
            sample,
        })
    }

    /// The address of page `id`.
    pub fn url(&self, id: u64) -> Url {
        Url::parse(&fill(&self.template, id)).expect("a number parses where another did")
    }

    /// Address of the site: scheme, host and port, with `path`.
    pub fn site(&self, path: &str) -> Url {
        let mut url = self.sample.clone();
        url.set_path(path);
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}

fn fill(template: &str, id: u64) -> String {
    template.replace(PLACE, &id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_put_in_every_place() {
        let template = UrlTemplate::parse("https://a.test:8443/product/{id}?from={id}#x").unwrap();
        assert_eq!(template.url(u64::MAX).path(), format!("/product/{}", u64::MAX));
        assert_eq!(template.url(7).as_str(), "https://a.test:8443/product/7?from=7#x");
        assert_eq!(
            template.site("/robots.txt").as_str(),
            "https://a.test:8443/robots.txt"
        );
    }

    #[test]
    fn what_gives_no_address_is_refused_in_words_for_its_author() {
        for (template, expected) in [
            (
                "https://a.test/product",
                "has no \"{id}\", expected one where a page's id stands",
            ),
            ("/product/{id}", "is not a URL"),
            ("ftp://a.test/{id}", "has scheme \"ftp\", expected http or https"),
            ("https://a{id}.test/", "depends on the id, expected one host"),
            ("https://a.test:{id}/", "depends on the id, expected one host"),
        ] {
            let error = UrlTemplate::parse(template).unwrap_err().to_string();
            assert!(error.contains(&format!("{template:?}")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_refused_password_is_not_repeated() {
        let error = UrlTemplate::parse("https://me:secret@a.test/{id}")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected none") && !error.contains("secret"),
            "{error}"
        );
    }
}
