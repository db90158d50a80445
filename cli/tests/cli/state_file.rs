//! Restart with a state file, as seen by `join` at a terminal.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{Gateway, Process, TIMEOUT, drain::serve};

/// A gateway with a state file, and two clients that have seen each other.
struct Scene {
    dir: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    gateway: Gateway,
    people: [Person; 2],
}

struct Person {
    id: String,
    terminal: Process,
}

impl Person {
    fn join(gateway: &Gateway, scheme: &str) -> Self {
        let mut terminal = gateway.join(scheme, "publisher");
        let id = terminal.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
        Self { id, terminal }
    }
}

impl Scene {
    fn new(others: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state").to_str().unwrap().to_owned();
        let mut settings = vec![("SIGNALBOX_RESUME__STATE_FILE", file)];
        settings.extend(others.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let gateway = start(dir.path(), None, &settings);
        let mut people = ["quic", "wss"].map(|scheme| Person::join(&gateway, scheme));
        let ids = people.each_ref().map(|person| person.id.clone());
        for (person, other) in people.iter_mut().zip(ids.iter().rev()) {
            assert!(person.terminal.line().contains(&format!("{other} is here")));
        }
        Self { dir, settings, gateway, people }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Stops the gateway and waits for its exit.
    fn stop(&mut self) {
        self.gateway.process.terminate();
        assert!(self.gateway.process.child.wait().unwrap().success());
    }

    /// Starts another gateway on the same ports.
    fn restart(&mut self) {
        let ports = (self.gateway.text("/quic").to_owned(), self.gateway.text("/https").to_owned());
        self.gateway = start(self.dir.path(), Some((&ports.0, &ports.1)), &self.settings);
    }

    /// All lines of each client until it has received `last` from both.
    fn seen_until(&mut self, last: &str) -> [Vec<String>; 2] {
        self.people.each_mut().map(|person| {
            let (mut lines, mut heard) = (Vec::new(), 0);
            while heard < 2 {
                let line = person.terminal.line();
                heard += usize::from(line.ends_with(&format!(": {last}")));
                lines.push(line);
            }
            lines
        })
    }

    fn everybody_says(&mut self, text: &str) {
        for person in &mut self.people {
            person.terminal.type_line(text);
        }
    }
}

fn start(dir: &Path, ports: Option<(&str, &str)>, settings: &[(&str, String)]) -> Gateway {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    serve(dir, ports, &settings)
}

/// The signals, without the lines about the client's own reconnect, which are asserted.
fn said(lines: Vec<String>) -> Vec<String> {
    let (own, mut said): (Vec<_>, Vec<_>) = lines.into_iter().partition(|it| it.starts_with('*'));
    let [away, back] = &own[..] else { panic!("{own:?}") };
    assert!(away.starts_with("* connection lost (shuttingDown)"), "{away}");
    assert!(back.starts_with("* reconnected, nothing lost"), "{back}");
    said.sort();
    said
}

#[test]
fn clients_report_a_restart_as_a_lost_connection_only() {
    let mut scene = Scene::new(&[]);
    scene.stop();
    let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.everybody_says("meanwhile");
    scene.restart();
    scene.everybody_says("after");
    let [quic, wss] = scene.people.each_ref().map(|person| person.id.clone());
    let [by_quic, by_wss] = scene.seen_until("after");
    assert!(!scene.file().exists(), "it is good once");
    let expected = |other: &str| {
        let mut lines = vec![format!("{other}: after"), format!("{other}: meanwhile")];
        lines.extend(["you: after".to_owned(), "you: meanwhile".to_owned()]);
        lines.sort();
        lines
    };
    assert_eq!(said(by_quic), expected(&wss));
    assert_eq!(said(by_wss), expected(&quic));
    // Both are the same connections as before, and leave normally.
    let [mut first, mut second] = scene.people;
    first.terminal.type_line("/quit");
    assert!(first.terminal.line().starts_with("* session ended (clientDisconnected)"));
    assert!(first.terminal.succeeds());
    assert_eq!(second.terminal.line(), format!("* {quic} left: clientDisconnected"));
    second.terminal.type_line("/quit");
    assert!(second.terminal.succeeds());
    scene.gateway.process.terminate();
    assert!(scene.gateway.process.succeeds());
}

/// A second signal ends the links at once, and the file is written all the same.
#[test]
fn a_second_signal_still_writes_the_state_file() {
    let mut scene = Scene::new(&[
        ("SIGNALBOX_DRAIN__READINESS_DELAY_MS", "60000"),
        ("SIGNALBOX_DRAIN__TIMEOUT_MS", "60000"),
        ("SIGNALBOX_DRAIN__SPREAD_MS", "60000"),
    ]);
    let started = Instant::now();
    scene.gateway.process.terminate();
    scene.gateway.process.signal("-INT");
    assert!(scene.gateway.process.child.wait().unwrap().success());
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    scene.restart();
    scene.everybody_says("after");
    for lines in scene.seen_until("after") {
        assert_eq!(said(lines).len(), 2);
    }
    for person in &scene.people {
        person.terminal.terminate();
    }
    assert!(scene.people.into_iter().all(|person| person.terminal.succeeds()));
}

#[test]
fn a_damaged_state_file_is_logged_and_clients_rejoin() {
    let mut scene = Scene::new(&[]);
    scene.stop();
    let mut bytes = fs::read(scene.file()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(scene.file(), bytes).unwrap();
    scene.restart();
    for person in &mut scene.people {
        let away = person.terminal.line();
        assert!(away.starts_with("* connection lost (shuttingDown)"), "{away}");
        let back = person.terminal.line_with("* ");
        assert!(back.starts_with("* rejoined as "), "{back}");
        assert!(!back.contains(&person.id), "{back}");
    }
    scene.everybody_says("after");
    scene.seen_until("after");
    for person in &mut scene.people {
        person.terminal.type_line("/quit");
    }
    assert!(scene.people.into_iter().all(|person| person.terminal.succeeds()));
    let mut process = scene.gateway.process;
    process.terminate();
    assert!(process.child.wait().unwrap().success());
    let mut said = String::new();
    process.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let mut warnings = said.lines().filter(|line| line.contains("WARN"));
    let (warning, more) = (warnings.next().unwrap_or_default(), warnings.next());
    for part in [
        "state file rejected",
        scene.dir.path().join("state").to_str().unwrap(),
        "it is damaged, or was written with another key file",
    ] {
        assert!(warning.contains(part), "{part}: {said}");
    }
    assert_eq!(more, None, "{said}");
}
