//! Every test opens a folder as of some day, and looks at what is there afterwards.

#![allow(clippy::unwrap_used)]

use std::{error::Error as _, thread};

use super::*;

/// A folder for an authority, and the time at which it was first opened.
struct World {
    dir: tempfile::TempDir,
    start: SystemTime,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), start: UNIX_EPOCH + days(20_000) }
    }

    /// The folder itself is left for the authority to make.
    fn dir(&self) -> PathBuf {
        self.dir.path().join("deep").join("certificates")
    }

    fn open(&self, after: Duration) -> Result<DevAuthority, DevError> {
        DevAuthority::open(&self.dir(), self.start + after)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap()
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.dir().join(name), contents).unwrap();
    }

    fn all(&self) -> [String; 4] {
        ["ca.pem", "ca.key", "leaf.pem", "leaf.key"].map(|name| self.read(name))
    }

    /// Opens, and checks that the refusal names the file and the folder and changes nothing.
    fn refusal(&self, names: &str) -> DevError {
        let before = fs::read_dir(self.dir()).unwrap().count();
        let ca_pem = fs::read(self.dir().join("ca.pem")).ok();
        let error = self.open(Duration::ZERO).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(names), "{message}");
        assert!(message.contains("delete the folder"), "{message}");
        assert!(message.contains(self.dir().to_str().unwrap()), "{message}");
        assert!(error.source().is_some());
        assert_eq!(fs::read_dir(self.dir()).unwrap().count(), before);
        assert_eq!(fs::read(self.dir().join("ca.pem")).ok(), ca_pem);
        error
    }
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[test]
fn files_are_made_once_and_kept() {
    let world = World::new();
    let first = world.open(Duration::ZERO).unwrap();
    let files = world.all();

    let second = world.open(days(9)).unwrap();
    assert_eq!(world.all(), files);
    assert_eq!(second.leaf_sha256(), first.leaf_sha256());
    assert_eq!(second.ca_pem(), world.read("ca.pem"));
    assert_eq!(second.ca_pem_path(), world.dir().join("ca.pem"));
    assert_eq!(second.certificate_path(), world.dir().join("leaf.pem"));
    assert_eq!(second.key_path(), world.dir().join("leaf.key"));
}

#[test]
fn the_chain_is_the_leaf_then_the_authority() {
    let world = World::new();
    let opened = world.open(Duration::ZERO).unwrap();
    let chain = load(opened.certificate_path(), opened.key_path()).unwrap().cert.clone();
    let hashes: Vec<_> = chain.iter().map(|certificate| sha256(certificate)).collect();
    let authority = load(opened.ca_pem_path(), &world.dir().join("ca.key")).unwrap();
    let authority = sha256(authority.end_entity_cert().unwrap());
    assert_eq!(hashes, [opened.leaf_sha256(), authority]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_keys() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for after in [Duration::ZERO, days(11)] {
        world.open(after).unwrap();
        assert_eq!(mode(&world.dir()), 0o700);
        assert_eq!(mode(&world.dir().join("ca.key")), 0o600);
        assert_eq!(mode(&world.dir().join("leaf.key")), 0o600);
    }
}

#[test]
fn the_leaf_is_renewed_and_the_authority_kept() {
    let world = World::new();
    let first = world.open(Duration::ZERO).unwrap();
    let [ca_pem, ca_key, leaf_pem, leaf_key] = world.all();

    let second = world.open(days(11)).unwrap();
    assert_ne!(second.leaf_sha256(), first.leaf_sha256());
    assert_eq!(world.read("ca.pem"), ca_pem);
    assert_eq!(world.read("ca.key"), ca_key);
    assert_ne!(world.read("leaf.pem"), leaf_pem);
    assert_ne!(world.read("leaf.key"), leaf_key);
}

#[test]
fn a_leaf_is_valid_from_before_now_and_for_less_than_14_days() {
    let world = World::new();
    world.open(Duration::ZERO).unwrap();
    let paths = Paths::new(&world.dir());
    let authority = Authority::load(&paths).unwrap();
    let leaf = load(&paths.leaf_pem, &paths.leaf_key).unwrap();
    let leaf = leaf.end_entity_cert().unwrap();

    let start = world.start.duration_since(UNIX_EPOCH).unwrap();
    let (minute, hour) = (Duration::from_secs(60), Duration::from_hours(1));
    for (at, valid) in [
        (start - hour - minute, false),
        (start - hour + minute, true),
        (start + days(13) - minute, true),
        (start + days(13) + minute, false),
    ] {
        assert_eq!(authority.verify(leaf, at).is_ok(), valid, "{at:?}");
    }
    assert!(SKEW + LEAF_VALIDITY <= days(14));
}

/// Signs for a stranger's name with the authority's key, as a thief of the key would.
#[test]
fn the_authority_is_good_for_this_machine_only() {
    let world = World::new();
    world.open(Duration::ZERO).unwrap();
    let authority = Authority::load(&Paths::new(&world.dir())).unwrap();
    let at = world.start.duration_since(UNIX_EPOCH).unwrap();
    let verify = |other: &str| {
        let names: Vec<_> = NAMES.into_iter().chain([other]).map(String::from).collect();
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&KeyPair::generate().unwrap(), &authority.issuer)
            .unwrap();
        authority.verify(leaf.der(), at)
    };
    verify("localhost").unwrap();
    verify("example.com").unwrap_err();
    verify("127.0.0.2").unwrap_err();
    verify("::2").unwrap_err();
}

#[test]
fn a_leaf_from_the_future_is_replaced() {
    let world = World::new();
    let first = world.open(days(30)).unwrap();
    // Close enough that it will be valid for a while when this one would be due for renewal.
    let second = world.open(days(28)).unwrap();
    assert_ne!(second.leaf_sha256(), first.leaf_sha256());
}

#[test]
fn a_leaf_that_cannot_be_used_is_replaced() {
    let stranger = World::new();
    stranger.open(Duration::ZERO).unwrap();
    let spoil: [fn(&World, &World); 5] = [
        |world, _| fs::remove_file(world.dir().join("leaf.pem")).unwrap(),
        |world, _| fs::remove_file(world.dir().join("leaf.key")).unwrap(),
        |world, _| world.write("leaf.pem", "-----BEGIN CERTIFICATE-----\n"),
        |world, stranger| world.write("leaf.key", &stranger.read("leaf.key")),
        |world, stranger| {
            world.write("leaf.key", &stranger.read("leaf.key"));
            world.write("leaf.pem", &stranger.read("leaf.pem"));
        },
    ];
    for spoil in spoil {
        let world = World::new();
        let first = world.open(Duration::ZERO).unwrap();
        spoil(&world, &stranger);
        let second = world.open(Duration::ZERO).unwrap();
        assert_ne!(second.leaf_sha256(), first.leaf_sha256());
        assert_eq!(second.ca_pem(), first.ca_pem());
        load(second.certificate_path(), second.key_path()).unwrap();
    }
}

#[test]
fn a_damaged_authority_is_refused() {
    for name in ["ca.pem", "ca.key"] {
        let damages: [fn(&World, &str); 3] = [
            |world, name| fs::remove_file(world.dir().join(name)).unwrap(),
            |world, name| world.write(name, "damaged"),
            |world, name| {
                let whole = world.read(name);
                world.write(name, whole.split_at(whole.len() / 2).0);
            },
        ];
        for damage in damages {
            let world = World::new();
            world.open(Duration::ZERO).unwrap();
            damage(&world, name);
            let error = world.refusal(name);
            assert!(matches!(error, DevError::Damaged { .. }), "{error:?}");
        }
    }
}

#[test]
fn the_key_of_another_authority_is_refused() {
    let (world, stranger) = (World::new(), World::new());
    world.open(Duration::ZERO).unwrap();
    stranger.open(Duration::ZERO).unwrap();
    world.write("ca.key", &stranger.read("ca.key"));
    world.refusal("ca.key");
}

#[test]
fn a_foreign_authority_is_refused() {
    let world = World::new();
    world.open(Duration::ZERO).unwrap();
    let foreign = rcgen::generate_simple_self_signed(vec!["foreign".into()]).unwrap();
    world.write("ca.pem", &foreign.cert.pem());
    world.write("ca.key", &foreign.signing_key.serialize_pem());
    world.refusal("ca.pem");
}

#[test]
fn files_that_a_crash_left_behind_are_replaced() {
    let world = World::new();
    world.open(Duration::ZERO).unwrap();
    world.write("leaf.key.new", "half a k");
    fs::remove_file(world.dir().join("leaf.key")).unwrap();
    world.open(Duration::ZERO).unwrap();
    assert!(!world.dir().join("leaf.key.new").exists());
}

#[test]
fn opening_at_once_makes_one_authority() {
    let world = World::new();
    let opened: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| world.open(Duration::ZERO).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().leaf_sha256()).collect()
    });
    assert!(opened.windows(2).all(|pair| pair.first() == pair.last()));
}

#[test]
fn an_impossible_clock_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for now in [UNIX_EPOCH - days(1), UNIX_EPOCH + days(3_000_000)] {
        let error = DevAuthority::open(dir.path(), now).unwrap_err();
        assert!(matches!(error, DevError::Clock), "{error:?}");
    }
}
