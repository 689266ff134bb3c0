//! Where a Connect cluster is.

use std::fmt;

use reqwest::Url;

/// Base address of a Connect cluster's REST interface: `http` or `https`, and a host. Shown without credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Url);

impl Address {
    /// The address in this text, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "the scheme is {:?}, expected \"http\" or \"https\"",
                url.scheme()
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a query or a fragment, expected only scheme, host, port and path".to_owned());
        }
        Ok(Self(url))
    }

    /// The address of something below this one.
    pub(super) fn join(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        url.path_segments_mut()
            .expect("http addresses have a path")
            .pop_if_empty()
            .extend(path);
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        // Both fail only for addresses without a host, which `parse` has refused.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        f.write_str(url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_show() {
        let address = Address::parse("https://ada:lovelace@connect:8083/").unwrap();
        assert_eq!(address.to_string(), "https://connect:8083");
        assert_eq!(format!("{address:?}"), "Address(https://connect:8083)");
        assert_eq!(address.join(&["connectors"]).password(), Some("lovelace"));
    }

    #[test]
    fn paths_are_below_the_base_and_escaped() {
        for base in ["http://connect:8083/kafka", "http://connect:8083/kafka/"] {
            let url = Address::parse(base)
                .unwrap()
                .join(&["connectors", "a/b c", "config"]);
            assert_eq!(
                url.as_str(),
                "http://connect:8083/kafka/connectors/a%2Fb%20c/config"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "connect:8083",
            "ftp://connect",
            "http://",
            "http://connect:99999",
            "http://connect?a=b",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
