//! Files that documents for contributors name in code spans exist.

use std::path::Path;

use super::{files, root};

/// Documents that name files of the repository.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Extensions of files that they name.
const EXTENSIONS: &[&str] = &["json", "js", "md", "py", "rs", "svg", "toml", "ts", "yml"];

#[test]
fn named_files_exist() {
    let existing: Vec<_> =
        EXTENSIONS.iter().flat_map(|extension| files(&root(), extension)).collect();
    let mut missing = Vec::new();
    let mut checked = 0;
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        // Every second part is a code span; fences are pairs as well.
        for span in text.split('`').skip(1).step_by(2).filter(|span| is_path(span)) {
            // The name of a file may be without its folders.
            if !existing.iter().any(|file| file.ends_with(span)) {
                missing.push(format!("{document}: {span}"));
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "found only {checked} files");
    assert!(missing.is_empty(), "missing files:\n{}", missing.join("\n"));
}

fn is_path(span: &str) -> bool {
    let extension = Path::new(span).extension().and_then(|it| it.to_str());
    extension.is_some_and(|it| EXTENSIONS.contains(&it))
        && span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}
