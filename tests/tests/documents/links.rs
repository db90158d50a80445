//! Relative links of the Markdown documents lead to files, and their anchors to headings.

use std::{collections::HashSet, path::Path};

use super::{files, root};

#[test]
fn relative_links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut checked = 0;
    // The parts from which the benchmark writes `docs/benchmarks.md` have links for their place there.
    let parts = root().join("benches/src");
    for document in files(&root(), "md").iter().filter(|it| !it.starts_with(&parts)) {
        let text = std::fs::read_to_string(document).unwrap();
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let found = target.exists() && (anchor.is_empty() || has_anchor(&target, anchor));
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "found only {checked} links: has the format of links changed?");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// Targets of `[…](target)` that are no URLs, outside code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let outside_code: String = line.split('`').step_by(2).collect();
        for part in outside_code.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if !target.contains("://") && !target.is_empty() {
                links.push(target.to_owned());
            }
        }
    }
    links
}

/// Headings become anchors as the forges make them: lower case, hyphens for spaces, no punctuation.
fn has_anchor(document: &Path, anchor: &str) -> bool {
    let text = std::fs::read_to_string(document).unwrap();
    if text.contains(&format!("<a id=\"{anchor}\""))
        || text.contains(&format!("<a name=\"{anchor}\""))
    {
        return true;
    }
    let anchors: HashSet<String> = prose(&text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it))
                .map(|it| if it == ' ' { '-' } else { it })
                .collect()
        })
        .collect();
    anchors.contains(anchor)
}

/// Lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}
