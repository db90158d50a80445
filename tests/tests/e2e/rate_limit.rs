//! Signals queued while a client was disconnected are sent at the rate that the gateway allows.

use std::time::Duration;

use signalbox_client::{ConnectOptions, Event, Role};
use signalbox_tests::{TransportMode, World, proxy::Proxy, within_timeout};

/// Three seconds' worth.
const PER_SECOND: u32 = 20;
const SIGNALS: usize = 60;

#[tokio::test]
async fn signals_queued_while_detached_keep_the_rate_limit() {
    let world = World::with(|config| {
        config.timeouts.idle_ms = 1500;
        config.limits.signals_per_second_per_connection = PER_SECOND;
    })
    .await;
    let proxy = Proxy::new(&world).await;
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let mut bob = world.join(TransportMode::WebSocketJson, Role::Subscriber).await;
        let options = ConnectOptions::new(proxy.url(transport), world.token(Role::Publisher));
        let options = transport.options(options).rejoin(false).presence(false);
        let alice = world.try_join(&options.keep_alive(Duration::from_millis(300))).await.unwrap();
        let (alice, mut events) = (alice.client, alice.events);
        assert_eq!(alice.signal().data("first").send().await, Ok(1), "resumption is enabled");
        proxy.cut_connections().await;
        let away = within_timeout("the loss is noticed", events.next()).await;
        assert!(matches!(away, Some(Event::Signal { .. })), "{away:?}");
        let away = within_timeout("the loss is noticed", events.next()).await;
        assert!(matches!(away, Some(Event::SessionReconnecting { .. })), "{away:?}");
        for number in 0..SIGNALS {
            alice.signal().data(number.to_string()).enqueue().await.unwrap();
        }
        let mut heard = Vec::new();
        while heard.len() <= SIGNALS {
            if let Event::Signal { data: Some(data), .. } = bob.next().await {
                heard.push(data);
            }
        }
        let said = (0..SIGNALS).map(|number| number.to_string());
        let said: Vec<_> = ["first".to_owned()].into_iter().chain(said).collect();
        assert_eq!(heard, said);
        alice.disconnect().await;
    }
}
