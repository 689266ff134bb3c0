//! What the site was asked for: the last requests, and figures on all of them, from which tests tell whether a
//! crawl was polite and fetched each product once.

mod traffic;

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

pub(crate) use traffic::PathKind;
use traffic::Traffic;

/// Ids that the summary names at most.
const MOST_NAMED: usize = 20;

/// Characters of a path or a user agent that are kept.
const LONGEST_TEXT: usize = 200;

/// One request that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// Counts from 1 in the order in which requests end, so that a reader who continues after the last `seq` it
    /// has seen misses none.
    pub(crate) seq: u64,
    /// Arrival, ms since the start.
    pub(crate) millis: u64,
    pub(crate) path: String,
    /// Null when the client went away before the answer.
    pub(crate) status: Option<u16>,
    pub(crate) user_agent: String,
}

/// A request that is being answered.
pub(crate) struct Arrival {
    millis: u64,
    path: String,
    user_agent: String,
}

pub(crate) struct RequestLog {
    capacity: usize,
    last_seq: u64,
    requests: VecDeque<Request>,
    all: Traffic,
    by_kind: BTreeMap<PathKind, Traffic>,
    served: HashMap<u64, u32>,
}

/// The requests after a `seq`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Excerpt {
    /// How many of the requests after that `seq` the log no longer holds.
    pub(crate) dropped: u64,
    pub(crate) requests: Vec<Request>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    all: Traffic,
    #[serde(flatten)]
    by_kind: BTreeMap<PathKind, Traffic>,
    /// Products whose whole page was sent once.
    served_once: usize,
    served_more_than_once: usize,
    /// The smallest ids of those, 20 at most.
    more_than_once: Vec<u64>,
}

impl RequestLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            last_seq: 0,
            requests: VecDeque::new(),
            all: Traffic::default(),
            by_kind: BTreeMap::new(),
            served: HashMap::new(),
        }
    }

    pub(crate) fn arrive(&mut self, millis: u64, path: &str, user_agent: &str) -> Arrival {
        self.all.arrive(millis);
        self.by_kind.entry(PathKind::of(path)).or_default().arrive(millis);
        let cut = |text: &str| text.chars().take(LONGEST_TEXT).collect();
        Arrival {
            millis,
            path: cut(path),
            user_agent: cut(user_agent),
        }
    }

    /// Ends a request; `served` is the id of a product whose whole page is the answer.
    pub(crate) fn leave(&mut self, arrival: Arrival, status: Option<u16>, served: Option<u64>) {
        self.all.leave();
        self.by_kind
            .entry(PathKind::of(&arrival.path))
            .or_default()
            .leave();
        if let Some(id) = served {
            *self.served.entry(id).or_default() += 1;
        }
        self.last_seq += 1;
        if self.requests.len() == self.capacity {
            self.requests.pop_front();
        }
        let Arrival {
            millis,
            path,
            user_agent,
        } = arrival;
        self.requests.push_back(Request {
            seq: self.last_seq,
            millis,
            path,
            status,
            user_agent,
        });
    }

    pub(crate) fn since(&self, seq: u64) -> Excerpt {
        let requests: Vec<_> = self
            .requests
            .iter()
            .filter(|request| request.seq > seq)
            .cloned()
            .collect();
        let dropped = self.last_seq.saturating_sub(seq) - requests.len() as u64;
        Excerpt { dropped, requests }
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut more_than_once: Vec<_> = self
            .served
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(id, _)| *id)
            .collect();
        more_than_once.sort_unstable();
        let served_more_than_once = more_than_once.len();
        more_than_once.truncate(MOST_NAMED);
        let by_kind = PathKind::ALL
            .map(|kind| (kind, self.by_kind.get(&kind).cloned().unwrap_or_default()))
            .into();
        Summary {
            all: self.all.clone(),
            by_kind,
            served_once: self.served.len() - served_more_than_once,
            served_more_than_once,
            more_than_once,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(excerpt: &Excerpt) -> Vec<u64> {
        excerpt.requests.iter().map(|request| request.seq).collect()
    }

    #[test]
    fn the_log_says_how_many_requests_it_no_longer_holds() {
        let mut log = RequestLog::new(3);
        for millis in 0..5 {
            let arrival = log.arrive(millis, "/robots.txt", "tester");
            log.leave(arrival, Some(200), None);
        }
        let all = log.since(0);
        assert_eq!((all.dropped, seqs(&all)), (2, vec![3, 4, 5]));
        let rest = log.since(3);
        assert_eq!((rest.dropped, seqs(&rest)), (0, vec![4, 5]));
        let none = log.since(5);
        assert_eq!((none.dropped, seqs(&none)), (0, vec![]));
        assert_eq!(log.since(99).dropped, 0);
    }

    #[test]
    fn the_summary_tells_kinds_and_repeated_products() {
        let mut log = RequestLog::new(10);
        for (path, served) in [
            ("/product/1", Some(1)),
            ("/product/2", Some(2)),
            ("/product/2", Some(2)),
            ("/product/3", None),
            ("/sitemap/recent-product-1.xml", None),
            ("/robots.txt", None),
            ("/elsewhere", None),
        ] {
            let arrival = log.arrive(0, path, "");
            log.leave(arrival, Some(200), served);
        }
        let summary = serde_json::to_value(log.summary()).unwrap();
        for (kind, requests) in [
            ("all", 7),
            ("product", 4),
            ("sitemap", 1),
            ("robots", 1),
            ("other", 1),
        ] {
            assert_eq!(summary[kind]["requests"], requests, "{kind}");
        }
        assert_eq!(summary["servedOnce"], 1);
        assert_eq!(summary["servedMoreThanOnce"], 1);
        assert_eq!(summary["moreThanOnce"], serde_json::json!([2]));
    }
}
