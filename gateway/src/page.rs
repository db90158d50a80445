//! The pages: that which shows a session in a browser, with the session that it joins by itself, and the
//! admin page.
//!
//! The files are built from `clients/pages` and committed, so that the gateway builds without Node.

use std::net::SocketAddr;

use serde::Serialize;

/// Whether this build has the pages (feature `pages`).
pub const PAGES: bool = cfg!(feature = "pages");

/// A file of a page.
#[derive(Clone, Copy)]
pub(crate) struct PageFile {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) contents: &'static [u8],
}

#[cfg(feature = "pages")]
macro_rules! built {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/pages/dist/", $name))
    };
}

#[cfg(feature = "pages")]
const HTML: &str = "text/html; charset=utf-8";
#[cfg(feature = "pages")]
const SCRIPT: &str = "text/javascript; charset=utf-8";
#[cfg(feature = "pages")]
const STYLE: &str = "text/css; charset=utf-8";

#[cfg(feature = "pages")]
const ICON: PageFile =
    PageFile { path: "/icon.svg", content_type: "image/svg+xml", contents: built!("icon.svg") };

/// The files of the page that shows a session.
#[cfg(feature = "pages")]
pub(crate) static SESSION_PAGE: &[PageFile] = &[
    PageFile { path: "/", content_type: HTML, contents: built!("index.html") },
    PageFile { path: "/page.js", content_type: SCRIPT, contents: built!("page.js") },
    PageFile { path: "/page.css", content_type: STYLE, contents: built!("page.css") },
    ICON,
];

/// The files of the admin page. They contain nothing of a gateway.
#[cfg(feature = "pages")]
pub(crate) static ADMIN_PAGE: &[PageFile] = &[
    PageFile { path: "/", content_type: HTML, contents: built!("admin.html") },
    PageFile { path: "/admin.js", content_type: SCRIPT, contents: built!("admin.js") },
    PageFile { path: "/admin.css", content_type: STYLE, contents: built!("admin.css") },
    ICON,
];

/// None in this build.
#[cfg(not(feature = "pages"))]
pub(crate) static SESSION_PAGE: &[PageFile] = &[];

/// None in this build.
#[cfg(not(feature = "pages"))]
pub(crate) static ADMIN_PAGE: &[PageFile] = &[];

/// A session that the page joins by itself: that of `serve --dev`.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageSession {
    /// The secret that a browser must present for the rest. The page reads it from the fragment of
    /// its address, which a browser does not send.
    #[serde(skip)]
    pub key: String,
    /// UDP address for WebTransport. The page accepts the gateway's certificate by its hash.
    #[serde(skip)]
    pub quic: SocketAddr,
    /// The session's id.
    pub session: String,
    /// Tokens to join it.
    pub tokens: PageTokens,
    /// The page's address for other devices on the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPage>,
}

/// A token for each role.
#[derive(Clone, Serialize)]
pub struct PageTokens {
    /// Of a moderator.
    pub moderator: String,
    /// Of a publisher.
    pub publisher: String,
    /// Of a subscriber.
    pub subscriber: String,
}

/// The page's address for other devices.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPage {
    /// The address, with the key.
    pub url: String,
    /// The same as a QR code, an SVG image.
    pub qr_svg: String,
}
