//! Reverse proxies with a pool of connections to the gateway: real nginx and haproxy, on loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use signalbox_client::Role;
use signalbox_tests::{
    PROJECT, TIMEOUT, World, credential,
    raw::{WebSocket, hello},
    rest::{ask_on, request, session_path},
    within_timeout,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// The configuration of its documentation for WebSockets, with the pool that newer versions have by default.
const NGINX: &str = r#"
daemon off;
master_process off;
pid DIR/pid;
events {}
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    map $http_upgrade $connection_upgrade {
        default upgrade;
        "" "";
    }
    upstream gateway {
        server GATEWAY;
        keepalive 8;
    }
    server {
        listen unix:DIR/socket;
        location / {
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
}
"#;

/// One thread, as each has a pool of its own.
const HAPROXY: &str = "
global
    nbthread 1
defaults
    mode http
    timeout connect 20s
    timeout client 20s
    timeout server 20s
    timeout tunnel 1h
    http-reuse always
frontend clients
    bind unix@DIR/socket
    default_backend gateway
backend gateway
    server gateway GATEWAY
";

/// A proxy in front of a gateway, which ends with its test.
struct Proxy {
    child: Child,
    dir: tempfile::TempDir,
}

impl Proxy {
    async fn start(program: &str, config: &str, gateway: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let config = config.replace("DIR", path).replace("GATEWAY", &gateway.to_string());
        let file = dir.path().join("config");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(find(program));
        match program {
            "nginx" => command.args(["-e", "stderr", "-p", path, "-c"]).arg(file),
            _ => command.args(["-db", "-f"]).arg(file),
        };
        let mut proxy = Self { child: command.stdin(Stdio::null()).spawn().unwrap(), dir };
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        let listening = async {
            while UnixStream::connect(proxy.socket()).await.is_err() {
                let ended = proxy.child.try_wait().unwrap();
                assert!(ended.is_none(), "{program} has ended: {ended:?}");
                looks.tick().await;
            }
        };
        tokio::time::timeout(TIMEOUT, listening).await.expect("the proxy listens");
        proxy
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian installs both in /usr/sbin, which may not be in the PATH.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(program))
        .find(|file| Path::is_file(file))
        .unwrap_or_else(|| panic!("the tests need {program}; on Debian: apt-get install {program}"))
}

/// Passes connections on to the gateway, and counts them.
async fn counted(gateway: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(gateway).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, connections)
}

/// Sends a server's requests, then a WebSocket over the connection that they leave in the pool, and a signal
/// by REST to that client.
async fn requests_and_links_share_connections(program: &str, config: &str) {
    let world = World::with(|config| config.tls.plaintext_tcp = true).await;
    let (address, connections) = counted(world.addresses().tcp).await;
    let proxy = Proxy::start(program, config, address).await;
    let (path, credential) = (session_path(&world), credential(PROJECT));
    let list = request("GET", &format!("{path}/connection"), &credential, None);
    let signal = request("POST", &format!("{path}/signal"), &credential, Some(r#"{"data":"x"}"#));
    for round in 1..=3 {
        // Each leaves its connection to the gateway in the pool when it is gone.
        let mut server = proxy.connect().await;
        let answer = ask_on(&mut server, &list).await.expect("an answer");
        assert_eq!(answer.status, if round == 1 { 404 } else { 200 });
        drop(server);
        let mut link = WebSocket::on(proxy.connect().await).await;
        link.say(&hello(&world.token(Role::Publisher))).await;
        assert!(link.hear().await.starts_with("Welcome"));
        // A connection with a WebSocket is not reused, so each round needs one.
        assert_eq!(connections.load(Ordering::Relaxed), round, "the pool is used");
        let mut server = proxy.connect().await;
        assert_eq!(ask_on(&mut server, &signal).await.expect("an answer").status, 204);
        drop(server);
        let heard = within_timeout("the signal", link.hear()).await;
        assert!(heard.starts_with("Signal"), "{heard}");
        std::mem::forget(link);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_with_a_pool_of_connections() {
    requests_and_links_share_connections("nginx", NGINX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_that_reuses_connections_always() {
    requests_and_links_share_connections("haproxy", HAPROXY).await;
}
