//! Requests to the operations listener of a gateway.

use tokio::net::TcpStream;

use crate::{
    World,
    rest::{Answer, ask_on},
};

/// Sends a request with these headers (each ending with a line end) to a gateway's operations
/// listener.
pub async fn ask_ops(world: &World, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let address = world.addresses().ops.expect("the gateway has an operations listener");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    ask_on(&mut stream, request).await.expect("an answer")
}

/// `GET path`, without further headers.
pub async fn get_ops(world: &World, path: &str) -> Answer {
    ask_ops(world, "GET", path, "", "").await
}
