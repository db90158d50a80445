//! Background traffic: two clients that exchange signals while another one misbehaves.

use signalbox_client::{Event, Role, Sender};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{Member, TransportMode, World, within_timeout};

/// Two clients on different transports that answer each other. Every signal must arrive in order and in
/// time.
pub struct BackgroundTraffic {
    stop: oneshot::Sender<()>,
    talking: JoinHandle<u64>,
}

/// Rounds before and after the disturbance.
const ROUNDS: u64 = 5;

impl BackgroundTraffic {
    /// Starts a pair in the session of `world`.
    pub async fn start(world: &World) -> Self {
        let mut alice = world.join(TransportMode::Quic, Role::Publisher).await;
        let mut bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let (stop, mut stopped) = oneshot::channel();
        let (started_sender, started) = oneshot::channel();
        let talking = tokio::spawn(async move {
            let mut started_sender = Some(started_sender);
            let mut round = 0;
            let mut last = None;
            while last.is_none_or(|last| round < last) {
                round += 1;
                talk(&mut alice, &mut bob, round).await;
                talk(&mut bob, &mut alice, round).await;
                if round == ROUNDS
                    && let Some(started) = started_sender.take()
                {
                    let _ = started.send(());
                }
                // After `stop` some rounds follow, to show that both still work.
                if last.is_none() && stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty)
                {
                    last = Some(round + ROUNDS);
                }
            }
            round
        });
        within_timeout("the background talk", started)
            .await
            .expect("the background understand each other");
        Self { stop, talking }
    }

    /// Stops the traffic. Fails if a signal was lost or out of order.
    pub async fn assert_undisturbed(self) {
        let _ = self.stop.send(());
        let rounds = within_timeout("the background stop", self.talking).await;
        assert!(rounds.expect("the background missed nothing") >= 2 * ROUNDS);
    }
}

/// Sends a number to all. It must be the next signal of this sender for both.
async fn talk(speaker: &mut Member, listener: &mut Member, round: u64) {
    let from = speaker.id();
    let word = round.to_string();
    speaker.say(word.clone()).await;
    for member in [speaker, listener] {
        loop {
            match member.next().await {
                Event::Signal { from: Sender::Connection(id), data, .. } if id == from => {
                    assert_eq!(data.as_ref(), Some(&word), "in order, none lost, none twice");
                    break;
                }
                Event::Signal { .. }
                | Event::ConnectionCreated(_)
                | Event::ConnectionDestroyed { .. } => {}
                other => panic!("a bystander was disturbed: {other:?}"),
            }
        }
    }
}
