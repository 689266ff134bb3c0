//! Looking for the newest id.

use std::cmp::Reverse;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use naru_contract::Retry;
use regex::Regex;
use reqwest::{StatusCode, Url};
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tracing::debug;

use crate::body::{self, BodyError};
use crate::fetch::{Meaning, meaning};
use crate::job::PlanJob;
use crate::polite::{Answer, AskError, Refusal, Site};
use crate::retry::{Attempts, Next};

/// Largest document, compressed and not, bytes. The sitemap protocol's own limit is 50 MB.
const LARGEST: usize = 52_428_800;
/// Most sitemaps of an index that are read: the newest, or where it does not say how old they are, the first and the last.
const MOST_SITEMAPS: usize = 50;

#[derive(Debug, Snafu)]
pub(super) enum HeadError {
    #[snafu(display("head.url leads where nothing may be asked for: {source}"))]
    Refused { source: Refusal },
    #[snafu(display("unable to fetch {url}"))]
    Fetch { source: AskError, url: Url },
    /// `held`: by which the site wants to be left alone, and will be.
    #[snafu(display("{url} was answered with status {status}"))]
    Status {
        status: StatusCode,
        url: Url,
        held: bool,
    },
    #[snafu(display("unable to read {url}"))]
    Body { source: BodyError, url: Url },
    #[snafu(display("{url} begins like gzip but is not"))]
    Gzip { source: std::io::Error, url: Url },
    #[snafu(display("{url} is larger than {LARGEST} bytes when decompressed"))]
    Bomb { url: Url },
    #[snafu(display("head.pattern {pattern:?} matches no id in {url}"))]
    NoMatch { pattern: String, url: Url },
    #[snafu(display(
        "the largest id that head.pattern {pattern:?} finds is {newest}, {ranges} ranges after what is planned so far, \
         expected at most {MOST_RANGES}: does it match something that is no id? If it does not, let the job start at \
         a later id or have larger ranges"
    ))]
    Leap {
        pattern: String,
        newest: u64,
        ranges: u64,
    },
}

/// Most ranges that one look at the head may bring: at a polite two pages a second, more than half a year's work. What
/// a pattern takes for an id by mistake, such as a time, is far beyond.
const MOST_RANGES: u64 = 1_000_000;

/// An address in an index, and when what is there was last changed.
static SITEMAP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"<loc>\s*([^<\s]+)\s*</loc>(?:\s*<lastmod>\s*([^<\s]+)\s*</lastmod>)?")
        .expect("it is a regular expression")
});

impl HeadError {
    /// Whether asking again soon may help.
    fn is_passing(&self) -> bool {
        match self {
            Self::Fetch { .. }
            | Self::Body {
                source: BodyError::CutOff { .. },
                ..
            } => true,
            Self::Status { status, .. } => meaning(*status) == Meaning::TryAgain,
            _ => false,
        }
    }
}

/// The newest id that the head document, or a sitemap that it lists, names. `seen` is told the newest one so far after
/// each document: it may take many, and a long time.
pub(super) async fn newest(site: &Site, job: &PlanJob, mut seen: impl FnMut(u64)) -> Result<u64, HeadError> {
    let document = fetch(site, &job.head).await?;
    let mut newest = largest(&job.pattern, &document);
    newest.into_iter().for_each(&mut seen);
    if document.contains("<sitemapindex") {
        for url in sitemaps(&document, &job.head) {
            let sitemap = fetch_patiently(site, &url, &job.retry).await?;
            newest = newest.max(largest(&job.pattern, &sitemap));
            newest.into_iter().for_each(&mut seen);
        }
    }
    newest.context(NoMatchSnafu {
        pattern: job.pattern.as_str(),
        url: job.head.clone(),
    })
}

/// Refuses a head so far away that it is hardly an id.
pub(super) fn check(newest: u64, ranges: u64, job: &PlanJob) -> Result<u64, HeadError> {
    let pattern = job.pattern.as_str();
    ensure!(
        ranges <= MOST_RANGES,
        LeapSnafu {
            pattern,
            newest,
            ranges
        }
    );
    Ok(newest)
}

/// One of many documents: a look that began anew with each failure might never end.
async fn fetch_patiently(site: &Site, url: &Url, retry: &Retry) -> Result<String, HeadError> {
    let mut attempts = Attempts::new(retry);
    loop {
        let error = match fetch(site, url).await {
            Err(error) if error.is_passing() => error,
            settled => return settled,
        };
        match attempts.failed(matches!(error, HeadError::Status { held: true, .. })) {
            Next::Free => debug!(%url, %error, "waiting for the site"),
            Next::After(delay) => {
                debug!(%url, %error, ?delay, "trying again");
                tokio::time::sleep(delay).await;
            }
            Next::GiveUp => return Err(error),
        }
    }
}

async fn fetch(site: &Site, url: &Url) -> Result<String, HeadError> {
    site.allows(url).await.context(RefusedSnafu)?;
    // The permit is kept until the body is read.
    let Answer {
        response,
        held,
        permit: _permit,
    } = site.get(url).await.map_err(|error| match error {
        AskError::Refused { source } => HeadError::Refused { source },
        source => HeadError::Fetch {
            source,
            url: url.clone(),
        },
    })?;
    let status = response.status();
    ensure!(
        status.is_success(),
        StatusSnafu {
            status,
            url: url.clone(),
            held
        }
    );
    let body = body::read(response, LARGEST)
        .await
        .context(BodySnafu { url: url.clone() })?;
    decompress(body, url)
}

/// A `.gz` document arrives as it is stored: gzip is its content, not its encoding on the way.
fn decompress(body: Vec<u8>, url: &Url) -> Result<String, HeadError> {
    let body = if body.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let limit = LARGEST as u64 + 1;
        MultiGzDecoder::new(body.as_slice())
            .take(limit)
            .read_to_end(&mut plain)
            .context(GzipSnafu { url: url.clone() })?;
        ensure!(plain.len() <= LARGEST, BombSnafu { url: url.clone() });
        plain
    } else {
        body
    };
    // Ids and addresses are ASCII; what is not UTF-8 around them does not matter.
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn largest(pattern: &Regex, document: &str) -> Option<u64> {
    let ids = pattern
        .captures_iter(document)
        .filter_map(|found| found.get(1)?.as_str().parse().ok());
    ids.max()
}

fn sitemaps(index: &str, base: &Url) -> Vec<Url> {
    let found = SITEMAP.captures_iter(index).filter_map(|found| {
        let address = found.get(1)?.as_str().replace("&amp;", "&");
        let url = base.join(&address).ok()?;
        let changed = found.get(2).map(|changed| changed.as_str());
        matches!(url.scheme(), "http" | "https").then_some((changed, url))
    });
    let mut found = found.collect::<Vec<_>>();
    if found.iter().all(|(changed, _)| changed.is_some()) {
        // Dates of one index are written in one way, whose order is that of the text.
        found.sort_by_key(|(changed, _)| Reverse(*changed));
        found.truncate(MOST_SITEMAPS);
    } else if found.len() > MOST_SITEMAPS {
        found.drain(MOST_SITEMAPS / 2..found.len() - MOST_SITEMAPS / 2);
    }
    found.into_iter().map(|(_, url)| url).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::fake_site::FakeSite;

    fn url() -> Url {
        Url::parse("https://a.test/index.xml.gz").unwrap()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_recognised_by_its_first_bytes() {
        assert_eq!(decompress(b"plain".to_vec(), &url()).unwrap(), "plain");
        assert_eq!(decompress(gzip(b"packed"), &url()).unwrap(), "packed");
        assert!(matches!(
            decompress(vec![0x1f, 0x8b, 0, 1], &url()),
            Err(HeadError::Gzip { .. })
        ));
    }

    #[test]
    fn a_small_body_that_grows_beyond_the_limit_is_refused() {
        let bomb = gzip(&vec![b'a'; LARGEST + 1]);
        assert!(bomb.len() < 1_000_000);
        assert!(matches!(decompress(bomb, &url()), Err(HeadError::Bomb { .. })));
    }

    #[test]
    fn the_largest_id_counts_wherever_it_stands() {
        let pattern = Regex::new(r"/product/(\d+)").unwrap();
        let document = "/product/9 /product/100 /product/99 /product/999999999999999999999";
        assert_eq!(largest(&pattern, document), Some(100));
        assert_eq!(largest(&pattern, "nothing"), None);
    }

    #[test]
    fn the_sitemaps_of_an_index_are_the_first_and_the_last() {
        let entry =
            |number| format!("<sitemap><loc> https://a.test/{number}.xml?a=1&amp;b=2 </loc></sitemap>");
        let index = (0..200).map(entry).collect::<String>();
        let urls = sitemaps(&index, &url());
        assert_eq!(urls.len(), MOST_SITEMAPS);
        assert_eq!(urls[0].as_str(), "https://a.test/0.xml?a=1&b=2");
        assert_eq!(urls[MOST_SITEMAPS - 1].path(), "/199.xml");
        assert_eq!(sitemaps("<loc>file:///etc/passwd</loc>", &url()), []);
    }

    #[test]
    fn the_sitemaps_of_an_index_are_the_newest_where_it_says_how_old_they_are() {
        let entry = |day: u32| {
            format!(
                "<sitemap><loc>https://a.test/{day}.xml</loc>\n<lastmod>2026-{:02}-{:02}</lastmod></sitemap>",
                1 + day / 28,
                1 + day % 28
            )
        };
        // The newest stand in the middle.
        let index = (0..60)
            .chain(100..160)
            .chain(60..100)
            .map(entry)
            .collect::<String>();
        let urls = sitemaps(&index, &url());
        let paths = urls.iter().map(Url::path).collect::<Vec<_>>();
        assert_eq!(
            paths,
            (110..160)
                .rev()
                .map(|day| format!("/{day}.xml"))
                .collect::<Vec<_>>()
        );
        let mixed = format!("{}{index}", entry(7).replace("lastmod", "changefreq"));
        assert_eq!(sitemaps(&mixed, &url())[1].path(), "/0.xml");
    }

    fn job(site: &FakeSite) -> PlanJob {
        PlanJob {
            head: site.url("/index.xml"),
            robots: site.url("/robots.txt"),
            pattern: Regex::new(r"/product/(\d+)").unwrap(),
            retry: Retry {
                fixed_times: 1,
                fixed_delay_ms: 1,
                exponential_times: 1,
                exponential_base_ms: 1,
                exponential_max_ms: 1,
            },
        }
    }

    /// An index of thirty sitemaps, of which every tenth fails as often as said.
    async fn thirty(failures: usize) -> FakeSite {
        FakeSite::start(move |path, before| {
            let number = path.trim_start_matches("/sitemap-").parse::<usize>();
            match number {
                Ok(number) if number % 10 == 3 && before < failures => {
                    ("503 Service Unavailable", String::new())
                }
                Ok(number) => ("200 OK", format!("<loc>/product/{number}00</loc>")),
                Err(_) if path == "/index.xml" => {
                    let entries = (0..30).map(|number| format!("<loc>/sitemap-{number}</loc>"));
                    (
                        "200 OK",
                        format!("<sitemapindex>{}</sitemapindex>", entries.collect::<String>()),
                    )
                }
                Err(_) => ("404 Not Found", String::new()),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_sitemap_that_cannot_be_had_at_once_is_asked_for_again_and_not_the_others() {
        let site = thirty(2).await;
        let mut seen = Vec::new();
        let found = newest(&site.site(true), &job(&site), |newest| seen.push(newest)).await;
        assert_eq!((found.unwrap(), seen.len()), (2_900, 30));
        assert_eq!(seen[..3], [0, 100, 200], "it is told as soon as it is known");
        // robots.txt, the index, its sitemaps, and three of them twice more.
        assert_eq!(site.asked().len(), 1 + 1 + 30 + 3 * 2);
        let site = thirty(3).await;
        let failure = newest(&site.site(true), &job(&site), |_| ()).await;
        assert!(matches!(failure, Err(HeadError::Status { .. })), "{failure:?}");
    }

    #[tokio::test]
    async fn a_sitemap_that_the_site_wants_to_be_asked_for_later_is_and_no_try_is_used_up() {
        let site = FakeSite::start(|path, before| match path {
            "/index.xml" => ("200 OK", "<sitemapindex><loc>/sitemap</loc></sitemapindex>"),
            // More often than the job tries a page.
            "/sitemap" if before < 5 => ("429 Too Many Requests\r\nretry-after: 0", ""),
            "/sitemap" => ("200 OK", "/product/7"),
            _ => ("404 Not Found", ""),
        })
        .await;
        let found = newest(&site.site(true), &job(&site), |_| ()).await;
        assert_eq!(found.unwrap(), 7);
        let asked = site.asked().into_iter().filter(|path| path == "/sitemap");
        assert_eq!(asked.count(), 6);
    }

    #[tokio::test]
    async fn a_sitemap_on_another_site_is_not_asked_for() {
        let other = FakeSite::start(|_, _| ("200 OK", "/product/7")).await;
        let address = other.url("/sitemap.xml");
        let site = FakeSite::start(move |path, _| match path {
            "/index.xml" => (
                "200 OK",
                format!("<sitemapindex><loc>{address}</loc></sitemapindex>"),
            ),
            _ => ("404 Not Found", String::new()),
        })
        .await;
        let failure = newest(&site.site(true), &job(&site), |_| ()).await.unwrap_err();
        assert!(matches!(failure, HeadError::Refused { .. }), "{failure:?}");
        assert_eq!(other.asked(), Vec::<String>::new());
    }
}
