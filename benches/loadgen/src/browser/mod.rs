//! A page in headless Chromium that uses the TypeScript SDK.
//!
//! There is no driver: the page gets its task from a web server of the benchmark, and reports to it.
//!
//! ```text
//! chromium     finds and starts the browser
//! sdk_build    compiles the SDK for pages
//! site         the web server
//! ```

mod chromium;
mod sdk_build;
mod site;

use std::time::Duration;

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};
use signalbox_netem::namespace::Network;
use tempfile::TempDir;

use self::{
    chromium::Chromium,
    sdk_build::SdkSource,
    site::{PageReport, Site},
};
use crate::{process::Process, target::gateway::Launcher};

/// What a measurement in a page needs: a browser, and the SDK with what compiles it.
#[derive(Debug)]
pub struct PageRequirements {
    chromium: Chromium,
    sdk: SdkSource,
}

impl PageRequirements {
    /// Looks for them on this machine.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self { chromium: Chromium::find()?, sdk: SdkSource::find()? })
    }

    /// Compiles the SDK.
    pub fn prepare(self) -> anyhow::Result<PageBrowser> {
        let Self { chromium, sdk } = self;
        Ok(PageBrowser { chromium, sdk: sdk.compile()? })
    }
}

/// A browser, and the files of the SDK for its pages.
#[derive(Debug)]
pub struct PageBrowser {
    chromium: Chromium,
    sdk: TempDir,
}

impl PageBrowser {
    /// Name and version of the browser.
    pub fn version(&self) -> &str {
        &self.chromium.version
    }

    /// Opens a page in a browser of its own, with a new profile. `script` is its module; it gets
    /// `task` from `/task`. On an emulated network the browser is on the client's host.
    pub fn open(
        &self,
        launcher: &Launcher,
        emulation: Option<&Network>,
        script: &'static str,
        task: &impl Serialize,
    ) -> anyhow::Result<OpenPage> {
        let inside = emulation.map(|it| it.server().enter()).transpose()?;
        let site = Site::start(self.sdk.path(), script, serde_json::to_string(task)?)?;
        drop(inside);
        let directory = launcher.directory_on(emulation.map(Network::client))?;
        let browser = self.chromium.start(&directory, &site.url)?;
        Ok(OpenPage { site, browser })
    }
}

/// A page. Dropping it ends its browser.
pub struct OpenPage {
    site: Site,
    browser: Process,
}

impl OpenPage {
    /// Waits until the page has begun to measure.
    pub async fn begun(&mut self, within: Duration) -> anyhow::Result<()> {
        match self.report(within).await? {
            PageReport::Begun => Ok(()),
            // It failed first.
            PageReport::Ended(result) => {
                result_of::<()>(&result)?;
                anyhow::bail!("the page ended without having begun")
            }
        }
    }

    /// Waits for the result of the page.
    pub async fn result<T: DeserializeOwned>(&mut self, within: Duration) -> anyhow::Result<T> {
        match self.report(within).await? {
            PageReport::Begun => anyhow::bail!("the page began twice"),
            PageReport::Ended(result) => result_of(&result),
        }
    }

    async fn report(&mut self, within: Duration) -> anyhow::Result<PageReport> {
        let report = tokio::time::timeout(within, self.site.reports.recv()).await;
        let report = report.with_context(|| {
            let words = self.browser.last_words();
            format!(
                "the page reported nothing for {within:?}; the end of the browser's log:\n{words}"
            )
        })?;
        report.context("the web server of the page ended")
    }
}

/// The result that a page reports.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
enum PageResult<T> {
    Measured(T),
    Failed(String),
}

fn result_of<T: DeserializeOwned>(result: &[u8]) -> anyhow::Result<T> {
    match serde_json::from_slice(result).context("the page reported something else")? {
        PageResult::Measured(measured) => Ok(measured),
        PageResult::Failed(error) => anyhow::bail!("in the page: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_the_page_is_an_error() {
        assert_eq!(result_of::<Vec<u32>>(br#"{"measured":[1,2]}"#).unwrap(), [1, 2]);
        let error = result_of::<u32>(br#"{"failed":"no route"}"#).unwrap_err();
        assert_eq!(error.to_string(), "in the page: no route");
        result_of::<u32>(b"[]").unwrap_err();
    }
}
