//! Certificates by ACME, from a real certificate authority for tests (Pebble).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod pebble;

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::ExitCode};

use signalbox_test_harness::{Requirement, run, trials};
use signalbox_tests::{
    World, on_runtime,
    ops::{Scrape, get_ops, with_ops},
    raw::{served_leaf, served_leaf_over_tcp},
    unix_time, within_timeout,
};
use tempfile::TempDir;

use self::pebble::{BLOCKED, Pebble, Ports};

const PEBBLE: Requirement = Requirement { name: "pebble", unavailable: pebble::unavailable };

/// Domains of a gateway.
const DOMAINS: [&str; 2] = ["signal.example.test", "www.example.test"];

/// Validity of a certificate that is not to be renewed during a test.
const LONG_S: u32 = 3600;

/// The metric of the certificate's end.
const EXPIRY: &str = "signalbox_certificate_expiry_timestamp_seconds";

/// A gateway without a certificate of its own.
struct Scene {
    ports: Ports,
    storage: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { ports: Ports::free(), storage: tempfile::tempdir().unwrap() }
    }

    async fn gateway(&self, domains: &[&str]) -> World {
        World::with(|config| {
            with_ops(config);
            config.listen.tcp = self.ports.gateway;
            config.tls.certificate = None;
            config.tls.key = None;
            config.tls.acme.domains = domains.iter().map(ToString::to_string).collect();
            config.tls.acme.directory = self.ports.directory();
            config.tls.acme.terms_of_service_agreed = true;
            config.tls.acme.contact = vec!["ops@example.test".into()];
            config.tls.acme.storage = Some(self.storage.path().join("acme"));
            config.tls.acme.ca = Some(signalbox_tests::authority().ca_pem_path().to_owned());
        })
        .await
    }

    async fn pebble(&self, validity_s: u32) -> Pebble {
        Pebble::start(self.ports, validity_s, self.ports.gateway.port()).await
    }

    /// A file of the storage.
    fn file(&self, name: &str) -> PathBuf {
        let folder = fs::read_dir(self.storage.path().join("acme")).unwrap().next().unwrap();
        folder.unwrap().path().join(name)
    }
}

/// Waits until the readiness of a gateway has this text, and returns all of it.
async fn readiness(world: &World, part: &str) -> String {
    let asking = async {
        loop {
            let answer = get_ops(world, "/readyz").await;
            assert_eq!(answer.status == 200, answer.body == "ready\n", "{answer:?}");
            if answer.body.contains(part) {
                return answer.body;
            }
        }
    };
    within_timeout(part, asking).await
}

/// The same certificate serves QUIC and TCP, and its successor too, without an interruption.
fn a_certificate_is_issued_and_renewed() {
    on_runtime(async {
        let scene = Scene::new();
        let pebble = scene.pebble(9).await;
        let world = scene.gateway(&DOMAINS).await;
        readiness(&world, "ready\n").await;
        let root = pebble.root().await;
        let leaf = async |name| {
            let over_quic = served_leaf(world.addresses().quic, name, &root).await;
            let over_tcp = served_leaf_over_tcp(world.addresses().tcp, name, &root).await;
            (over_quic, over_tcp)
        };
        let (first, over_tcp) = leaf(DOMAINS[0]).await;
        assert_eq!(first, over_tcp);
        let expiry = async || Scrape::of(&world).await.sum(EXPIRY, &[]);
        let first_expiry = expiry().await;
        assert!((0.0..10.0).contains(&(first_expiry - unix_time().as_secs_f64())));
        for file in ["certificate.pem", "account.json", "gateway.key"] {
            let mode = fs::metadata(scene.file(file)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let renewal = async { while expiry().await == first_expiry {} };
        within_timeout("the certificate is renewed", renewal).await;
        assert!(unix_time().as_secs_f64() < first_expiry, "it was renewed too late");
        let (second, over_tcp) = leaf(DOMAINS[1]).await;
        assert_eq!(second, over_tcp);
        assert_ne!(first, second);
    });
}

/// A gateway that has its certificate needs no authority to start; one whose domains have changed does.
fn a_kept_certificate_is_presented_at_once() {
    on_runtime(async {
        let scene = Scene::new();
        let pebble = scene.pebble(LONG_S).await;
        let mut world = scene.gateway(&DOMAINS).await;
        readiness(&world, "ready\n").await;
        world.stop().await;
        let root = pebble.root().await;
        drop(pebble);
        let mut world = scene.gateway(&DOMAINS).await;
        assert_eq!(get_ops(&world, "/readyz").await.body, "ready\n");
        let before = served_leaf(world.addresses().quic, DOMAINS[0], &root).await;
        world.stop().await;
        let pebble = scene.pebble(LONG_S).await;
        let world = scene.gateway(&DOMAINS[..1]).await;
        let other = async {
            // The authority has another root since it was started again.
            let root = [root.clone(), pebble.root().await].concat();
            while served_leaf(world.addresses().quic, DOMAINS[0], &root).await == before {}
        };
        within_timeout("a certificate with other names", other).await;
    });
}

fn a_directory_that_is_down_is_asked_again() {
    on_runtime(async {
        let scene = Scene::new();
        let world = scene.gateway(&DOMAINS).await;
        let said = readiness(&world, "does not answer").await;
        assert!(
            said.contains("no certificate yet: the directory does not answer: check"),
            "{said}"
        );
        let _pebble = scene.pebble(LONG_S).await;
        readiness(&world, "ready\n").await;
    });
}

fn a_refused_domain_is_named_with_the_next_step() {
    on_runtime(async {
        let scene = Scene::new();
        let _pebble = scene.pebble(LONG_S).await;
        let world = scene.gateway(&[DOMAINS[0], BLOCKED]).await;
        let said = readiness(&world, "rejectedIdentifier").await;
        assert!(said.contains(BLOCKED) && said.contains("correct tls.acme.domains"), "{said}");
    });
}

fn a_domain_that_leads_elsewhere_is_not_validated() {
    on_runtime(async {
        let scene = Scene::new();
        let elsewhere = Ports::free().gateway.port();
        let _pebble = Pebble::start(scene.ports, LONG_S, elsewhere).await;
        let world = scene.gateway(&DOMAINS[..1]).await;
        let said = readiness(&world, "was not validated").await;
        assert!(said.contains(DOMAINS[0]) && said.contains("port 443 of it must lead"), "{said}");
    });
}

/// The authority has lost its accounts.
fn an_unknown_account_is_replaced() {
    on_runtime(async {
        let scene = Scene::new();
        let pebble = scene.pebble(LONG_S).await;
        let mut world = scene.gateway(&DOMAINS).await;
        readiness(&world, "ready\n").await;
        world.stop().await;
        let account = fs::read(scene.file("account.json")).unwrap();
        fs::remove_file(scene.file("certificate.pem")).unwrap();
        drop(pebble);
        let _pebble = scene.pebble(LONG_S).await;
        let world = scene.gateway(&DOMAINS).await;
        readiness(&world, "ready\n").await;
        assert_ne!(fs::read(scene.file("account.json")).unwrap(), account);
    });
}

fn a_storage_that_cannot_be_written_is_reported_and_tried_again() {
    on_runtime(async {
        let scene = Scene::new();
        let _pebble = scene.pebble(LONG_S).await;
        let mut world = scene.gateway(&[BLOCKED]).await;
        readiness(&world, "rejectedIdentifier").await;
        world.stop().await;
        let account = scene.file("account.json");
        fs::remove_file(&account).unwrap();
        // A folder, which not even root can replace by a file.
        fs::create_dir(account.with_extension("json.tmp")).unwrap();
        let world = scene.gateway(&DOMAINS).await;
        let said = readiness(&world, "cannot keep").await;
        assert!(said.contains("account.json") && said.contains("tls.acme.storage"), "{said}");
        fs::remove_dir(account.with_extension("json.tmp")).unwrap();
        readiness(&world, "ready\n").await;
    });
}

fn main() -> ExitCode {
    run(trials![
        PEBBLE;
        a_certificate_is_issued_and_renewed,
        a_kept_certificate_is_presented_at_once,
        a_directory_that_is_down_is_asked_again,
        a_refused_domain_is_named_with_the_next_step,
        a_domain_that_leads_elsewhere_is_not_validated,
        an_unknown_account_is_replaced,
        a_storage_that_cannot_be_written_is_reported_and_tried_again,
    ])
}
