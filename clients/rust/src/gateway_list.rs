//! The URLs of a client's gateways, and the order in which they are tried.

use crate::{
    error::ConnectError,
    gateway_url::{GatewayUrl, Scheme},
};

/// One URL or several, in order of preference, for [`ConnectOptions::new`] and
/// [`Client::connect`](crate::Client::connect).
///
/// [`ConnectOptions::new`]: crate::ConnectOptions::new
///
/// ```
/// use signalbox_client::GatewayUrls;
///
/// let one = GatewayUrls::from("quic://signal.example.com");
/// let several = GatewayUrls::from(["quic://a.example", "wss://a.example", "quic://b.example"]);
/// ```
#[derive(Debug, Clone)]
pub struct GatewayUrls(Vec<String>);

impl From<&str> for GatewayUrls {
    fn from(url: &str) -> Self {
        Self(vec![url.to_owned()])
    }
}

impl From<String> for GatewayUrls {
    fn from(url: String) -> Self {
        Self(vec![url])
    }
}

impl From<&String> for GatewayUrls {
    fn from(url: &String) -> Self {
        Self(vec![url.clone()])
    }
}

impl<T: Into<String>> From<Vec<T>> for GatewayUrls {
    fn from(urls: Vec<T>) -> Self {
        Self(urls.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for GatewayUrls {
    fn from(urls: [T; N]) -> Self {
        Self(urls.map(Into::into).into())
    }
}

impl<T: AsRef<str>> From<&[T]> for GatewayUrls {
    fn from(urls: &[T]) -> Self {
        Self(urls.iter().map(|url| url.as_ref().to_owned()).collect())
    }
}

/// The parsed URLs, and what is known about their gateways.
#[derive(Debug)]
pub(crate) struct GatewayList {
    /// In order of preference, each once: the application's, then those of the last welcome.
    urls: Vec<GatewayUrl>,
    /// Number of the application's.
    given: usize,
    /// The URL whose gateway has answered last. It is tried first.
    current: Option<GatewayUrl>,
    /// Host and port of a gateway that shuts down, or has left an opening unanswered. It is tried
    /// last.
    avoided: Option<String>,
}

impl GatewayList {
    pub(crate) fn parse(texts: &GatewayUrls) -> Result<Self, ConnectError> {
        let mut urls = Vec::with_capacity(texts.0.len());
        for text in &texts.0 {
            let url = GatewayUrl::parse(text)?;
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        if urls.is_empty() {
            return Err(ConnectError::Url("no URL is given".into()));
        }
        Ok(Self { given: urls.len(), urls, current: None, avoided: None })
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.urls.len()).unwrap_or(u32::MAX)
    }

    /// Takes the other gateways of a welcome, in place of those of an earlier one. What is not the
    /// URL of a gateway is ignored.
    pub(crate) fn welcomed(&mut self, texts: &[String]) {
        self.urls.truncate(self.given);
        // A ticket that has travelled over TLS must not be sent without it.
        let allow_plain = self.urls.iter().any(|url| url.scheme == Scheme::Ws);
        let welcome = texts.iter().filter_map(|text| GatewayUrl::parse(text).ok());
        let usable = welcome.filter(|url| allow_plain || url.scheme != Scheme::Ws);
        // A welcome does not name the gateway that sends it.
        for url in self.current.clone().into_iter().chain(usable) {
            if !self.urls.contains(&url) {
                self.urls.push(url);
            }
        }
    }

    /// The URLs in the order in which to try them.
    pub(crate) fn in_order(&self) -> Vec<GatewayUrl> {
        let mut urls = self.urls.clone();
        urls.sort_by_key(|url| {
            let is_avoided = self.avoided.as_ref() == Some(&url.address());
            (is_avoided, self.current.as_ref() != Some(url))
        });
        urls
    }

    /// Records that the gateway at this URL has answered an opening.
    pub(crate) fn answered(&mut self, url: GatewayUrl) {
        self.avoided.take_if(|avoided| *avoided == url.address());
        self.current = Some(url);
    }

    /// Puts the other gateways before this one until it answers again.
    pub(crate) fn avoid(&mut self, url: &GatewayUrl) {
        self.avoided = Some(url.address());
    }

    /// The same for the gateway that has answered last.
    pub(crate) fn avoid_current(&mut self) {
        self.avoided = self.current.as_ref().map(GatewayUrl::address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: [&str; 5] = ["quic://a", "wss://a", "quic://b", "wss://b", "quic://c"];

    fn url(text: &str) -> GatewayUrl {
        GatewayUrl::parse(text).unwrap()
    }

    #[track_caller]
    fn assert_order(list: &GatewayList, expected: [&str; 5]) {
        assert_eq!(list.in_order(), expected.map(url));
    }

    #[test]
    fn urls_are_tried_as_given_and_the_current_one_first() {
        let mut list = GatewayList::parse(&URLS.into()).unwrap();
        assert_order(&list, URLS);
        list.answered(url("wss://b"));
        assert_order(&list, ["wss://b", "quic://a", "wss://a", "quic://b", "quic://c"]);
        list.answered(url("quic://c"));
        assert_order(&list, ["quic://c", "quic://a", "wss://a", "quic://b", "wss://b"]);
    }

    #[test]
    fn a_gateway_that_shuts_down_is_tried_last_on_all_its_urls() {
        let mut list = GatewayList::parse(&URLS.into()).unwrap();
        list.answered(url("wss://a"));
        list.avoid_current();
        assert_order(&list, ["quic://b", "wss://b", "quic://c", "wss://a", "quic://a"]);
        // Another one refuses the ticket: it is the first to be asked to join.
        list.answered(url("wss://b"));
        assert_order(&list, ["wss://b", "quic://b", "quic://c", "quic://a", "wss://a"]);
        // The next one shuts down, and the first is running again.
        list.avoid_current();
        assert_order(&list, ["quic://a", "wss://a", "quic://c", "wss://b", "quic://b"]);
        list.answered(url("quic://b"));
        assert_order(&list, ["quic://b", "quic://a", "wss://a", "wss://b", "quic://c"]);
    }

    #[test]
    fn a_gateway_that_leaves_an_opening_unanswered_is_tried_last() {
        let mut list = GatewayList::parse(&URLS.into()).unwrap();
        list.avoid(&url("quic://a"));
        assert_order(&list, ["quic://b", "wss://b", "quic://c", "quic://a", "wss://a"]);
        let mut list = GatewayList::parse(&["quic://a", "wss://a"].into()).unwrap();
        list.avoid(&url("quic://a"));
        assert_eq!(list.in_order(), [url("quic://a"), url("wss://a")], "it is the only one");
    }

    #[test]
    fn gateways_of_a_welcome_come_after_those_of_the_application() {
        let mut list = GatewayList::parse(&["quic://a", "wss://b"].into()).unwrap();
        let add = |list: &mut GatewayList, texts: &[&str]| {
            list.welcomed(&texts.iter().copied().map(String::from).collect::<Vec<_>>());
            list.in_order().iter().map(|it| it.host.clone()).collect::<String>()
        };
        assert_eq!(add(&mut list, &["wss://c", "wss://b:4433/", "wss://c"]), "abc");
        // No URL, and one without TLS.
        assert_eq!(add(&mut list, &["d", "ws://e", "quic://f"]), "abf", "the last welcome counts");
        list.answered(url("quic://f"));
        assert_eq!(add(&mut list, &["quic://g"]), "fabg", "the current one stays");
        list.avoid_current();
        assert_eq!(add(&mut list, &[]), "abf");
        let mut plain = GatewayList::parse(&"ws://a".into()).unwrap();
        assert_eq!(add(&mut plain, &["ws://b"]), "ab");
    }

    #[test]
    fn a_url_counts_once_and_a_list_has_at_least_one() {
        let list = GatewayList::parse(&vec!["quic://a", "quic://a:4433/", "wss://a"].into());
        assert_eq!(list.unwrap().in_order(), [url("quic://a"), url("wss://a")]);
        let none = GatewayList::parse(&Vec::<String>::new().into()).unwrap_err();
        assert!(none.to_string().starts_with("no URL is given: use quic://"), "{none}");
        assert!(GatewayList::parse(&["quic://a", "b"].into()).is_err());
    }
}
