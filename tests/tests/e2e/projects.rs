//! Projects of a running gateway: changes, limits, removal.

use signalbox_client::{CloseReason, ConnectError, ErrorCode, Event, Role};
use signalbox_gateway::{ProjectConfig, ProjectLimitOverrides};
use signalbox_tests::{
    PROJECT, TransportMode, World,
    background::BackgroundTraffic,
    credential, new_session,
    rest::{Server, ask, request, session_path},
    token,
};

use std::time::Duration;

fn refusal(result: Result<signalbox_tests::Member, ConnectError>) -> CloseReason {
    match result {
        Err(ConnectError::Refused { reason, .. }) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_rotate_without_a_gap() {
    let mut world = World::new().await;
    let background = BackgroundTraffic::start(&world).await;
    let new = (PROJECT.0, "a-secret-of-next-year");
    let join = async |world: &World, with| {
        let token = token(with, world.session(), Role::Publisher, Duration::from_secs(60));
        let url = world.url(TransportMode::WebSocketJson);
        world.try_join(&signalbox_client::ConnectOptions::new(url, token)).await
    };
    let list = async |world: &World, with| {
        let path = format!("{}/connection", session_path(world));
        ask(world, request("GET", &path, &credential(with), None)).await.status
    };
    assert_eq!(refusal(join(&world, new).await), CloseReason::InvalidToken);
    assert_eq!(list(&world, new).await, 403);
    // Both are accepted …
    assert_eq!(world.change_projects(|it| it[0].secrets.push(new.1.into())), Ok(true));
    assert_eq!(world.change_projects(|_| {}), Ok(false));
    for secret in [PROJECT, new] {
        join(&world, secret).await.unwrap();
        assert_eq!(list(&world, secret).await, 200);
    }
    // … and then only the new one is.
    assert_eq!(world.change_projects(|it| drop(it[0].secrets.remove(0))), Ok(true));
    assert_eq!(refusal(join(&world, PROJECT).await), CloseReason::InvalidToken);
    assert_eq!(list(&world, PROJECT).await, 403);
    join(&world, new).await.unwrap();
    // Invalid projects change nothing.
    let problems = world.change_projects(|it| it[0].secrets.clear()).unwrap_err();
    assert!(problems[0].kind.to_string().contains("no secret"), "{problems:?}");
    join(&world, new).await.unwrap();
    background.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_come_and_go() {
    let mut world = World::new().await;
    let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
    let newcomer = ("33333333", "a secret of its own");
    let entry = ProjectConfig::with_secret(newcomer.0.parse().unwrap(), newcomer.1);
    assert_eq!(world.change_projects(|it| *it = vec![entry]), Ok(true));
    let session = new_session(newcomer.0);
    let token = token(newcomer, &session, Role::Publisher, Duration::from_secs(60));
    let options = signalbox_client::ConnectOptions::new(world.url(TransportMode::Quic), token);
    world.try_join(&options).await.unwrap();
    // Connected clients stay, but no new client can join, and no server reaches the session.
    member.say("still here").await;
    assert_eq!(member.hear_data().await, "still here");
    let again = world.try_join(&world.options(TransportMode::Quic, Role::Publisher)).await;
    assert_eq!(refusal(again), CloseReason::InvalidToken);
    let path = format!("{}/connection", session_path(&world));
    let answer = ask(&world, request("GET", &path, &credential(PROJECT), None)).await;
    assert_eq!(answer.error(), (403, -1, "Issuer not found".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_has_limits_of_its_own() {
    let mut world = World::new().await;
    let limits = ProjectLimitOverrides {
        connections: Some(3),
        sessions: Some(1),
        signals_per_second: Some(5),
        ..ProjectLimitOverrides::default()
    };
    assert_eq!(world.change_projects(|it| it[0].limits = limits), Ok(true));
    let elsewhere = {
        let token =
            token(PROJECT, &new_session(PROJECT.0), Role::Publisher, Duration::from_secs(60));
        signalbox_client::ConnectOptions::new(world.url(TransportMode::Quic), token)
    };
    let mut members = Vec::new();
    for transport in
        [TransportMode::Quic, TransportMode::WebSocketJson, TransportMode::WebSocketPostcard]
    {
        members.push(world.join(transport, Role::Publisher).await);
    }
    let full = world.try_join(&world.options(TransportMode::Quic, Role::Publisher)).await;
    assert_eq!(refusal(full), CloseReason::ConnectionLimit);
    drop(members.pop());
    let leaver = members[0].id();
    while !matches!(members[0].next().await, Event::ConnectionDestroyed { id, .. } if id != leaver)
    {
    }
    assert_eq!(refusal(world.try_join(&elsewhere).await), CloseReason::ConnectionLimit);
    // Clients and servers share the project's rate.
    for n in 0..3 {
        members[0].say(n.to_string()).await;
    }
    let mut server = Server::of(&world).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = server.signal(None, "{\"data\":\"x\"}").await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.error().1, 429);
        }
    }
    assert!(statuses.contains(&204) && statuses.contains(&429), "{statuses:?}");
    members[0].say("too much").await;
    loop {
        match members[0].next().await {
            Event::Rejected { code, .. } => break assert_eq!(code, ErrorCode::RateLimited),
            Event::SessionDisconnected { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
}
