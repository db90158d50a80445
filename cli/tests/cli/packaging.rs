//! The files in `deploy/` and the manual pages fit the program.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{run, stdout};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["man-pages", dir.path().to_str().unwrap()]).status.success());
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    for command in [
        "serve",
        "drain",
        "health",
        "cluster-status",
        "project-new",
        "completions",
        "config-check",
        "tail",
        "doctor",
        "token-check",
    ] {
        assert!(page(&format!("signalbox-{command}.1")).contains("EXAMPLES"), "{command}");
    }
    assert!(page("signalbox.1").contains("signalbox\\-serve(1)"));
    assert!(!dir.path().join("signalbox-man-pages.1").exists(), "it is for packages");
    let missing = run(&["man-pages", "no/such"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such"), "{missing:?}");
}

#[test]
fn the_configuration_of_the_package_lacks_only_a_certificate() {
    let file = deploy().join("config/signalbox.toml");
    let output = run(&["config", "--json", "--config", file.to_str().unwrap()]);
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = config["problems"].as_array().unwrap().iter();
    let settings: BTreeSet<_> = problems.map(|it| it["setting"].as_str().unwrap()).collect();
    // The package creates the directory of the state file.
    for setting in &settings {
        assert!(
            ["tls.certificate", "tls.key", "resume.state_file"].contains(setting),
            "{output:?}"
        );
    }
    assert!(settings.contains("tls.certificate"), "{output:?}");
}

/// An environment variable of an unknown setting keeps a gateway from starting.
#[test]
fn the_environment_of_containers_has_known_settings() {
    let known: Value = serde_json::from_slice(&run(&["config", "--json"]).stdout).unwrap();
    for (file, expected) in
        [("Dockerfile", 1), ("compose.yaml", 6), ("helm/signalbox/templates/statefulset.yaml", 9)]
    {
        let text = fs::read_to_string(deploy().join(file)).unwrap();
        let variables: BTreeSet<_> = text
            .split(|it: char| !it.is_ascii_uppercase() && it != '_')
            .filter_map(|word| word.strip_prefix("SIGNALBOX_")?.split_once("__"))
            .filter(|(section, name)| !section.is_empty() && !name.is_empty())
            .map(|(section, name)| format!("{section}.{name}").to_lowercase())
            .collect();
        assert!(variables.len() >= expected, "{file}: {variables:?}");
        for setting in variables {
            assert!(known.get(&setting).is_some(), "{file}: {setting}");
        }
    }
    let overview = stdout(&run(&["--help"]));
    assert!(!overview.contains("man-pages"), "{overview}");
}
