//! Certificates of operators: expired, renewed with preserved file times, invalid.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::Command,
    sync::mpsc,
    time::SystemTime,
};

use crate::{Process, TIMEOUT, signalbox};

/// Generates a key and a certificate that is valid for this many days from now.
pub(crate) fn issue(dir: &Path, days: i32) {
    let commands = format!(
        "openssl ecparam -name prime256v1 -genkey -noout -out key.new
         openssl req -new -key key.new -subj /CN=localhost -out csr
         echo subjectAltName=DNS:localhost > extensions
         openssl x509 -req -in csr -signkey key.new -days {days} -extfile extensions -out cert.new"
    );
    let mut shell = Command::new("sh");
    let ended = shell.args(["-ec", &commands]).current_dir(dir).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    // Like a tool that preserves times: both files keep their modification time.
    for (new, name) in [("cert.new", "cert.pem"), ("key.new", "key.pem")] {
        let file = File::options().write(true).open(dir.join(new)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(dir.join(new), dir.join(name)).unwrap();
    }
}

#[test]
fn an_expired_certificate_is_logged_and_a_renewal_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path(), -1);
    let mut command = signalbox();
    command.args(["serve", "--quic", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--announce", "json"]);
    command.env("SIGNALBOX_TLS__CERTIFICATE", dir.path().join("cert.pem"));
    command.env("SIGNALBOX_TLS__KEY", dir.path().join("key.pem"));
    let mut process = Process::start(&mut command);
    process.line();
    let (sender, lines) = mpsc::sync_channel(1000);
    let log = BufReader::new(process.child.stderr.take().unwrap());
    std::thread::spawn(move || log.lines().map_while(Result::ok).all(|it| sender.send(it).is_ok()));
    let logs = |part: &str| {
        loop {
            let line = lines.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("{part}: not said"));
            if line.contains(part) {
                return line;
            }
        }
    };
    let said = logs("certificate has expired");
    assert!(said.contains("WARN") && said.contains("cert.pem") && said.contains(" UTC"), "{said}");
    issue(dir.path(), 90);
    logs("reloaded");
    issue(dir.path(), 0);
    logs("reloaded");
    logs("certificate has expired");
}
