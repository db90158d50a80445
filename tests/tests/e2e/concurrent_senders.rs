//! Fifty clients on mixed transports send concurrently: every receiver gets the signals of every sender,
//! complete and in order.

use std::collections::HashMap;

use signalbox_client::{ConnectionId, Event, Role, Sender};
use signalbox_tests::{Member, TransportMode, World};
use tokio::sync::{Semaphore, mpsc};

const CLIENTS: usize = 50;
const SIGNALS: u64 = 2000;

/// Every fifth signal is to all, the others to a random one.
const TO_ALL_EVERY: u64 = 5;

/// Signals to all in flight, per sender. They come back to their sender, so this keeps the clients at the
/// speed of the machine.
const WINDOW: usize = 8;

/// The receiver of the n-th signal of a sender; none means all.
fn target(sender: usize, n: u64) -> Option<usize> {
    // A splitmix step: random enough, and every client can compute it.
    let mut x = (sender as u64) << 32 | n;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (!n.is_multiple_of(TO_ALL_EVERY)).then_some((x ^ (x >> 31)) as usize % CLIENTS)
}

/// Sends and receives until all expected signals have arrived. Returns the sequence numbers per sender.
async fn take_part(
    me: usize,
    member: Member,
    ids: Vec<ConnectionId>,
    done: mpsc::Sender<()>,
    mut all_done: tokio::sync::watch::Receiver<bool>,
) {
    let Member { client, mut events } = member;
    let window = Semaphore::new(WINDOW);
    let sending = async {
        for n in 1..=SIGNALS {
            let signal = client.signal().data(n.to_string());
            match target(me, n) {
                None => {
                    window.acquire().await.unwrap().forget();
                    signal.enqueue().await.unwrap();
                }
                Some(to) => {
                    signal.to(ids[to]).enqueue().await.unwrap();
                }
            }
        }
    };
    let listening = async {
        let due: Vec<Vec<u64>> = (0..CLIENTS)
            .map(|sender| {
                (1..=SIGNALS).filter(|n| target(sender, *n).is_none_or(|to| to == me)).collect()
            })
            .collect();
        let index: HashMap<_, _> = ids.iter().zip(0..).map(|(id, n)| (*id, n)).collect();
        let mut heard = vec![0; CLIENTS];
        let mut missing: usize = due.iter().map(Vec::len).sum();
        while missing > 0 {
            match events.next().await.expect("the session is not over") {
                Event::Signal { from: Sender::Connection(from), seq, data, .. } => {
                    let sender: usize = index[&from];
                    assert_eq!(data, Some(seq.to_string()));
                    assert_eq!(
                        due[sender].get(heard[sender]),
                        Some(&seq),
                        "complete, in order, none twice"
                    );
                    heard[sender] += 1;
                    missing -= 1;
                    if from == ids[me] && target(me, seq).is_none() {
                        window.add_permits(1);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        done.send(()).await.unwrap();
        // Nothing else comes while the others finish.
        tokio::select! {
            event = events.next() => panic!("one too many: {event:?}"),
            _ = all_done.wait_for(|done| *done) => {}
        }
    };
    tokio::join!(sending, listening);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_receive_all_signals_in_order() {
    let world = World::new().await;
    let mut members = Vec::new();
    for n in 0..CLIENTS {
        let options = world
            .options(TransportMode::ALL[n % TransportMode::ALL.len()], Role::Publisher)
            .presence(false);
        members.push(world.try_join(&options).await.unwrap());
    }
    let ids: Vec<_> = members.iter().map(Member::id).collect();
    let (done, mut dones) = mpsc::channel(CLIENTS);
    let (all_done, waiting) = tokio::sync::watch::channel(false);
    let mut tasks: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(me, member)| {
            tokio::spawn(take_part(me, member, ids.clone(), done.clone(), waiting.clone()))
        })
        .collect();
    let crowd = async {
        for _ in 0..CLIENTS {
            tokio::select! {
                one = dones.recv() => one.unwrap(),
                // A task ends before the others only by a failed assertion.
                failed = futures_util::future::select_all(&mut tasks) => failed.0.unwrap(),
            }
        }
        all_done.send(true).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    };
    // A debug build on a busy machine takes its time.
    let patience = signalbox_tests::TIMEOUT * 15;
    tokio::time::timeout(patience, crowd).await.expect("the crowd comes to its end");
    world.is_empty().await;
}
