//! Bodies of REST requests: limits of length and time, and responses to requests in progress.

use signalbox_tests::{
    PROJECT, World,
    background::BackgroundTraffic,
    credential,
    raw::tls_stream,
    rest::{answer, ask, ask_on, request, session_path},
};
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_bounded_in_length_and_in_time() {
    let world = World::with(|config| config.timeouts.hello_ms = 1000).await;
    let background = BackgroundTraffic::start(&world).await;
    let path = format!("{}/signal", session_path(&world));
    let head = |more: &str| {
        let credential = credential(PROJECT);
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nX-OPENTOK-AUTH: {credential}\r\n{more}\r\n\r\n")
    };
    for length in [65_537, 500_000] {
        let body = "x".repeat(length);
        let whole = format!("{}{body}", head(&format!("Content-Length: {length}")));
        assert_eq!(ask(&world, whole).await.error().0, 413, "{length}");
    }
    // Without a length and without an end: rejected while it is read.
    let mut stream = tls_stream(world.addresses().tcp).await;
    stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let endless = async {
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        while writer.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    let answer_of = async {
        let answer = answer(&mut reader).await.unwrap();
        assert_eq!(answer.error().0, 413);
        assert_eq!(answer.header("connection"), None);
    };
    tokio::join!(answer_of, async {
        // It ends by being closed by the gateway, or by the test when the answer is there.
        let _ = tokio::time::timeout(signalbox_tests::TIMEOUT, endless).await;
    });
    let mut slow = tls_stream(world.addresses().tcp).await;
    let answer = ask_on(&mut slow, format!("{}{{", head("Content-Length: 12"))).await.unwrap();
    assert_eq!(answer.error().0, 408);
    let labelled =
        format!("{}{{\"data\":\"x\"}}", head("Content-Type: text/plain\r\nContent-Length: 12"));
    assert_eq!(ask(&world, labelled).await.error().0, 400);
    background.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_still_sending_its_body_receives_the_response() {
    let world = World::new().await;
    let signal = format!("{}/signal", session_path(&world));
    let body = "x".repeat(200_000);
    for (method, path, status) in
        [("POST", signal.as_str(), 403), ("POST", "/nothing", 404), ("PUT", "/healthz", 405)]
    {
        for _ in 0..20 {
            // All of it is written before the response is read.
            let answer = ask(&world, request(method, path, "no credential", Some(&body))).await;
            assert_eq!(answer.error().0, status, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue_is_answered() {
    let world = World::new().await;
    let body = "x".repeat(200_000);
    let head = |credential: &str| {
        format!(
            "POST {}/signal HTTP/1.1\r\nHost: x\r\nX-OPENTOK-AUTH: {credential}\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            session_path(&world),
            body.len()
        )
    };
    let mut stream = tls_stream(world.addresses().tcp).await;
    let go_on = ask_on(&mut stream, head(&credential(PROJECT))).await.unwrap();
    assert_eq!(go_on.status, 100);
    // All of it is written, as promised, although it is too long.
    assert_eq!(ask_on(&mut stream, &body).await.unwrap().error().0, 413);
    let mut stream = tls_stream(world.addresses().tcp).await;
    assert_eq!(ask_on(&mut stream, head("no credential")).await.unwrap().error().0, 403);
}
