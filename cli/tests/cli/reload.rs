//! Reload on SIGHUP: what the log says of it, and that a mistake changes nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
};

use crate::{configured::Configured, run, signalbox, stdout};

/// Lines of a gateway's log.
fn log(gateway: &mut Configured) -> impl FnMut(&str) -> String + use<> {
    let mut lines = BufReader::new(gateway.process.child.stderr.take().unwrap()).lines();
    move |part: &str| {
        let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("the log never said: {part}"))
    }
}

#[test]
fn the_log_names_each_changed_setting_and_each_that_needs_a_restart() {
    let mut gateway = Configured::start();
    let mut says = log(&mut gateway);
    gateway.add("webhook = { url = \"https://a.example/HUSH\", secret = \"whsec_SFVTSEhVU0hIVVNISFVTSEhVU0hIVVNI\" }");
    gateway.add("[limits]\nconnections = 7\n[process]\nthreads = 2\n[log]\nfilter = \"debug\"");
    says("changed settings not applied; reload the gateway");
    gateway.process.signal("-HUP");
    for line in [
        "setting changed setting=\"limits.connections\" from=250000 to=7",
        "setting changed setting=\"log.filter\" from=\"info\" to=\"debug\"",
        "setting not changed: it needs a restart setting=\"process.threads\" from=1 to=2",
        "configuration reloaded changed=",
    ] {
        let said = says(line);
        assert!(!said.contains("HUSH"), "{said}");
    }
    let key = gateway.announcement["project"]["key"].as_str().unwrap().to_owned();
    // The level is in effect.
    let secret = gateway.announcement["project"]["secret"].as_str().unwrap().to_owned();
    let session = stdout(&run(&["session", "new", "--key", &key]));
    let new = ["token", "--key", &key, "--secret", &secret, "--session", &session];
    let token = stdout(&run(&new));
    assert!(gateway.lets_in(&token));
    says("connection joined");
}

#[test]
fn a_mistake_is_named_with_its_place_and_nothing_changes() {
    let mut gateway = Configured::start();
    let mut says = log(&mut gateway);
    let good = fs::read_to_string(&gateway.file).unwrap();
    let ops = format!("http://{}", gateway.announcement["ops"].as_str().unwrap());
    for (wrong, said) in [
        ("[limits]\nconnections = 7\noutbox_bytes = 1\n", "limits.outbox_bytes is 1, but must be"),
        ("[limits]\nconnections = 7\n[log]\nfilter = \"inof\"\n", "log.filter "),
        ("[limits\nconnections = 7\n", "is not valid TOML"),
    ] {
        fs::write(&gateway.file, format!("{good}{wrong}")).unwrap();
        gateway.process.signal("-HUP");
        let line = says("configuration not reloaded; the current one stays in effect");
        assert!(line.contains("gateway.toml:") && line.contains(said), "{line}");
    }
    fs::write(&gateway.file, &good).unwrap();
    let mut check = signalbox();
    check.args(["config", "check", "--against", &ops]).arg(&gateway.file);
    check.env("SIGNALBOX_OPS__LISTEN", "127.0.0.1:0");
    check.env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0").env("SIGNALBOX_LISTEN__TCP", "127.0.0.1:0");
    assert_eq!(stdout(&check.output().unwrap()), "valid; nothing differs");
}
