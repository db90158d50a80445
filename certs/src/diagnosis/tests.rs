//! Files with typical mistakes, made by OpenSSL as operators would.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{path::PathBuf, process::Command};

use crate::pem::{load, problems};

/// A folder with an EC key and its certificate.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.run("openssl ecparam -name prime256v1 -genkey -noout -out ec.pem");
        folder.run("openssl pkcs8 -topk8 -nocrypt -in ec.pem -out key.pem");
        folder.run("openssl req -x509 -key key.pem -subj /CN=x -days 1 -out cert.pem");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line of commands in the folder.
    fn run(&self, commands: &str) {
        let mut shell = Command::new("sh");
        let ended = shell.args(["-ec", commands]).current_dir(self.0.path()).output().unwrap();
        assert!(ended.status.success(), "{commands}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// The error of loading these.
    fn said(&self, cert: &str, key: &str) -> String {
        let problems = problems(&self.path(cert), &self.path(key));
        let said: Vec<_> = problems.iter().map(|(error, _)| error.to_string()).collect();
        let first = load(&self.path(cert), &self.path(key)).err();
        assert_eq!(
            said.first().cloned(),
            first.map(|error| error.to_string()),
            "load says the same"
        );
        said.join("\n")
    }
}

#[test]
fn each_file_is_called_what_it_is() {
    let folder = Folder::new();
    // Commands that make the file, whether it is configured as the certificate, and parts of the error.
    for (commands, is_cert, parts) in [
        (
            "openssl pkcs8 -topk8 -in key.pem -passout pass:x -out bad",
            false,
            &["encrypted", "openssl pkey -in"][..],
        ),
        (
            "openssl rsa -aes128 -passout pass:x -traditional -out bad < rsa2048",
            false,
            &["encrypted", "openssl pkey"],
        ),
        ("openssl ec -aes128 -passout pass:x -in key.pem -out bad", false, &["encrypted"]),
        ("cp rsa1024 bad", false, &["RSA key of 1024 bits", "too short"]),
        ("openssl rsa -traditional -in rsa1024 -out bad", false, &["RSA key of 1024 bits"]),
        ("openssl ecparam -name secp256k1 -genkey -noout -out bad", false, &["curve", "P-256"]),
        (
            "openssl ecparam -name secp256k1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out bad",
            false,
            &["curve"],
        ),
        ("openssl genpkey -algorithm X25519 -out bad", false, &["algorithm", "ECDSA"]),
        (
            "openssl pkey -in key.pem -pubout -out bad",
            false,
            &["public key", "file of the private key"],
        ),
        (
            "openssl pkey -in key.pem -outform DER -out bad",
            false,
            &["key as DER", "openssl pkey -inform DER"],
        ),
        ("cp cert.pem bad", false, &["certificate and no private key", "each other's place"]),
        ("printf '' > bad", false, &["is empty"]),
        ("printf 'hello\\n' > bad", false, &["is not PEM", "-----BEGIN"]),
        ("sed 's/^/  /' key.pem > bad", false, &["BEGIN line not at the beginning"]),
        ("head -2 key.pem > bad", false, &["cut off", "-----END PRIVATE KEY-----"]),
        ("sed '2s/./!/' key.pem > bad", false, &["not base64"]),
        ("sed '2s/....//' key.pem > bad", false, &["damaged"]),
        ("(printf '\\377\\376'; cat key.pem) > bad", false, &["UTF-16"]),
        (
            "ssh-keygen -q -t ed25519 -N '' -f bad 2>/dev/null || printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\\nAAAA\\n-----END OPENSSH PRIVATE KEY-----\\n' > bad",
            false,
            &["OpenSSH"],
        ),
        (
            "openssl req -new -key key.pem -subj /CN=x -out csr; openssl x509 -req -in csr -signkey key.pem -days 1 -out bad",
            true,
            &["version 1", "version 3"],
        ),
        ("cp csr bad", true, &["certificate request"]),
        ("cp key.pem bad", true, &["private key and no certificate", "each other's place"]),
        (
            "openssl x509 -in cert.pem -outform DER -out bad",
            true,
            &["certificate as DER", "openssl x509 -inform DER"],
        ),
        (
            "openssl pkcs12 -export -in cert.pem -inkey key.pem -passout pass:x -out bad",
            true,
            &["PKCS#12", "openssl pkcs12"],
        ),
        (
            "openssl crl2pkcs7 -nocrl -certfile cert.pem -out bad",
            true,
            &["PKCS#7", "openssl pkcs7"],
        ),
        (
            "openssl x509 -in cert.pem -trustout -out bad",
            true,
            &["a format of OpenSSL only", "openssl x509 -in"],
        ),
        ("head -3 cert.pem > bad", true, &["cut off", "-----END CERTIFICATE-----"]),
        ("sed 's/^/ /' cert.pem > bad", true, &["BEGIN line not at the beginning"]),
        (
            "printf -- '-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n' > bad",
            true,
            &["damaged"],
        ),
        ("head -c 2000000 /dev/zero > bad", true, &["cannot read"]),
    ] {
        folder.run("test -e rsa1024 || openssl genrsa -out rsa1024 1024; test -e rsa2048 || openssl genrsa -out rsa2048 2048; rm -f bad bad.pub");
        folder.run(commands);
        let said =
            if is_cert { folder.said("bad", "key.pem") } else { folder.said("cert.pem", "bad") };
        for part in parts {
            assert!(said.contains(part), "{commands}: {said:?} has no {part:?}");
        }
        assert!(!said.contains('`') && said.contains("/bad"), "{commands}: {said}");
        assert_eq!(said.lines().count(), 1, "{commands}: {said}");
    }
    let swapped = folder.said("key.pem", "cert.pem");
    assert_eq!(swapped.matches("each other's place").count(), 2, "{swapped}");
}

#[test]
fn changes_that_editors_make_are_accepted() {
    let folder = Folder::new();
    for commands in [
        "true",
        // A key in the older form, with its parameters before it.
        "(openssl ecparam -name prime256v1; cat ec.pem) > key.pem",
        "(printf '\\357\\273\\277'; cat ec.pem) > key.pem; (printf '\\357\\273\\277'; cat cert.pem) > c; mv c cert.pem",
        "sed -i 's/$/\\r/' cert.pem; sed -i 's/$/\\r/' key.pem",
        "sed -i 's/$/  /' cert.pem; (echo; echo 'Bag Attributes'; cat ec.pem; echo) > k; mv k key.pem",
    ] {
        folder.run(commands);
        assert_eq!(folder.said("cert.pem", "key.pem"), "", "{commands}");
    }
}
