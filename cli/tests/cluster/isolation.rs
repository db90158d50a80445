//! What must not reach other gateways, and what must not matter: namespaces, crafted session ids,
//! clocks.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use signalbox_tests::{Member, PROJECT, TransportMode, within_timeout};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};

use crate::{
    scene::{GATEWAYS, Scene, SceneSettings, with_scene},
    traffic::join,
};

pub(crate) fn namespaces_on_one_nats_do_not_meet() {
    let namespaces = ["signalbox", "signalbox", "other"];
    with_scene(SceneSettings { namespaces, ..SceneSettings::default() }, async |scene| {
        let mut members = Vec::new();
        for gateway in 0..GATEWAYS {
            let url = scene.urls(gateway, TransportMode::Quic).remove(0);
            members.push(join(scene, &[url]).await);
        }
        let [a, b, c] = &mut members[..] else { panic!("three gateways") };
        assert_eq!(a.sees_created().await, b.id());
        assert_eq!(b.sees_present().await, [a.id()]);
        assert_eq!(c.client.present_on_joining(), 0);
        for (number, member) in [&*a, b, c].into_iter().enumerate() {
            member.client.signal().data(number.to_string()).send().await.unwrap();
        }
        for member in [&mut *a, b] {
            let heard = BTreeSet::from([member.hear_data().await, member.hear_data().await]);
            assert_eq!(heard, BTreeSet::from(["0".to_owned(), "1".to_owned()]));
        }
        // Its first event.
        assert_eq!(c.hear_data().await, "2");
        let ids = |members: &[&Member]| {
            members.iter().map(|member| member.id().to_string()).collect::<BTreeSet<_>>()
        };
        for gateway in 0..GATEWAYS {
            let expected = if gateway == 2 { ids(&[c]) } else { ids(&[a, b]) };
            assert_eq!(scene.listed(gateway).await, expected, "gw-{gateway}");
        }
    });
}

/// A session id is chosen by the project's server. This one has a command for NATS in it.
pub(crate) fn session_ids_are_in_no_subject() {
    with_scene(SceneSettings::default(), async |scene| {
        let seen = SeenSubjects::watch(scene).await;
        let crafted = format!("1~{}~.*.>.signalbox.all~\r\nPUB crafted 4\r\nevil\r\n", PROJECT.0);
        scene.session = format!("2_{}", URL_SAFE_NO_PAD.encode(crafted)).parse().unwrap();
        let mut a = join(scene, &scene.urls(0, TransportMode::Quic)).await;
        let mut b = join(scene, &scene.urls(1, TransportMode::WebSocketPostcard)).await;
        assert_eq!(a.sees_created().await, b.id());
        assert_eq!(b.sees_present().await, [a.id()]);
        a.say("to all").await;
        assert_eq!(b.hear_data().await, "to all");
        let mut server = scene.server(2).await;
        assert_eq!(server.signal(Some(a.id()), r#"{"data":"to a"}"#).await.status, 204);
        while a.hear_data().await != "to a" {}

        let gateways = (0..GATEWAYS).map(|gateway| format!("signalbox.gw.gw-{gateway}"));
        let expected: BTreeSet<_> = gateways.chain(["signalbox.all".to_owned()]).collect();
        assert_eq!(seen.until(&expected).await, expected);
    });
}

/// The subjects of all messages that NATS carries.
struct SeenSubjects {
    seen: Arc<Mutex<BTreeSet<String>>>,
    changed: Arc<Notify>,
    reading: JoinHandle<()>,
}

impl SeenSubjects {
    async fn watch(scene: &Scene) -> Self {
        let address = scene.nats[0].url().replace("nats://0.0.0.0", "127.0.0.1");
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n").await.unwrap();
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "NATS has closed");
        }
        let seen = Arc::<Mutex<BTreeSet<String>>>::default();
        let changed = Arc::<Notify>::default();
        let (subjects, change, mut line) = (seen.clone(), changed.clone(), Vec::new());
        let reading = tokio::spawn(async move {
            while stream.read_until(b'\n', &mut line).await.unwrap() > 0 {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if text == "PING\r\n" {
                    stream.write_all(b"PONG\r\n").await.unwrap();
                }
                let fields: Vec<_> = text.split_whitespace().collect();
                if let ["MSG", subject, "1", length] = fields[..]
                    && let Ok(length) = length.parse::<usize>()
                {
                    subjects.lock().insert(subject.to_owned());
                    change.notify_one();
                    let mut payload = vec![0; length + 2];
                    stream.read_exact(&mut payload).await.unwrap();
                }
            }
        });
        Self { seen, changed, reading }
    }

    /// Waits until these have been seen, and returns all that have been.
    async fn until(self, expected: &BTreeSet<String>) -> BTreeSet<String> {
        let all_seen = async {
            while !self.seen.lock().is_superset(expected) {
                self.changed.notified().await;
            }
        };
        within_timeout("messages of all gateways", all_seen).await;
        self.reading.abort();
        self.seen.lock().clone()
    }
}
