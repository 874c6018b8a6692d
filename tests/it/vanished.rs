//! Peers that vanish in the middle of something: stopped processes, and connections whose other end is
//! gone without a word. Each costs one link, nobody else's time, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clawmesh::node::peers::State;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::harness::{self, Probe, Setup, centre, field, key};
use crate::process::{Place, eventually};

/// Pause between two pings, in milliseconds, the shortest there is.
const PINGS: u64 = 1_500;
/// Far longer than a dead peer then takes to be noticed (twice the pause), for a busy machine.
const NOTICED: Duration = Duration::from_secs(90);

/// Waits as long as [`NOTICED`], asking now and then.
fn in_time<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + NOTICED;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

fn state_of(place: &Place, device: &str) -> Option<String> {
    let peers = place.json(&["peers"]);
    let peer = peers
        .as_array()?
        .iter()
        .find(|p| p["deviceId"] == device)?
        .clone();
    Some(peer["state"].as_str()?.to_owned())
}

fn frames(place: &Place) -> u64 {
    place.json(&["status"])["frames"].as_u64().unwrap()
}

#[test]
fn a_stopped_peer_costs_one_link_and_nobody_elses_time_and_comes_back() {
    let (field, alive, stopped) = (Place::new(), Place::new(), Place::new());
    let id = field.device();
    for other in [&alive, &stopped] {
        field.json(&["trust", "add", &other.device(), "--as", "command-center"]);
        other.json(&["trust", "add", &id, "--as", "field"]);
    }
    field.write("config.toml", &format!("ping_interval_ms = {PINGS}\n"));
    let executor = field.field(&[]);
    field.enrolled();
    let peer = format!("{id}=ws://127.0.0.1:{}||local", executor.port());
    let flags = ["--mesh-name", "test", "--peer", &peer];
    let (living, gone) = (alive.start(&flags), stopped.start(&flags));
    let (well, ill) = (alive.device(), stopped.device());
    for device in [&well, &ill] {
        eventually("both are connected", || {
            (state_of(&field, device)? == "connected").then_some(())
        });
    }
    gone.signal("STOP");
    // While the link stands, and after it: decisions, readings and answers go on.
    let before = frames(&alive);
    let wish = field.propose(1);
    field.json(&["approve", &wish]);
    field.await_status(&wish, &["completed"]);
    alive.await_status(&wish, &["completed"]);
    eventually("readings go on to the other peer", || {
        (frames(&alive) > before + 10).then_some(())
    });
    in_time("the dead link is given up", || {
        let state = state_of(&field, &ill)?;
        (!["connected", "suspect"].contains(&state.as_str())).then_some(())
    });
    assert_eq!(state_of(&field, &well).as_deref(), Some("connected"));
    gone.signal("CONT");
    in_time("the stopped peer is back", || {
        (state_of(&field, &ill)? == "connected").then_some(())
    });
    let newest = frames(&field);
    in_time("it has caught up", || {
        (frames(&stopped) >= newest).then_some(())
    });
    // One that is stopped again does not keep the others from ending.
    gone.signal("STOP");
    assert_eq!(executor.stop(), 0);
    assert_eq!(living.stop(), 0);
    gone.kill();
}

/// Carries connections to an address; while it is blocked, bytes go nowhere and nobody is told.
struct Relay {
    address: SocketAddr,
    open: watch::Sender<bool>,
    tasks: TaskTracker,
}

impl Relay {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = watch::channel(true).0;
        let tasks = TaskTracker::new();
        let (flow, inner) = (open.subscribe(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else {
                    continue;
                };
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                inner.spawn(carry(near_in, far_out, flow.clone()));
                inner.spawn(carry(far_in, near_out, flow.clone()));
            }
        });
        Self {
            address,
            open,
            tasks,
        }
    }
}

async fn blocked(open: &mut watch::Receiver<bool>) {
    let _ = open.wait_for(|open| !*open).await;
}

/// Carries bytes one way. What came while it was blocked is lost with its connection, which both
/// ends keep for alive.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut open: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            () = blocked(&mut open) => return std::future::pending().await,
            read = from.read(&mut bytes) => match read {
                Ok(n) if n > 0 && to.write_all(&bytes[..n]).await.is_ok() => {}
                _ => return,
            }
        }
    }
}

fn kin(me: u8, other: u8) -> Setup {
    let mut setup = match me {
        1 => field(),
        _ => centre(),
    };
    setup.raw.name = Some(format!("node-{me}"));
    setup.raw.ping_interval_ms = Some(PINGS);
    let setup = setup.trusting(key(3), "observe:T2,read");
    setup.trusting(key(other), "observe:T2,relay,read,plan")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_found_and_replaced_from_both_sides() {
    let place = || Arc::new(tempfile::tempdir().unwrap());
    let node = kin(1, 2).start_in(place(), Some(1)).await;
    let relay = Relay::to(node.address).await;
    let mut setup = kin(2, 1);
    // A relay may stand between the two only where TLS is bound to their keys.
    setup.raw.peers = vec![format!("{}=wss://{}||local", key(1).id(), relay.address)];
    let peer = setup.start_in(place(), Some(2)).await;
    let linked = |node: &harness::TestNode, other: u8| {
        let link = node.shared().links.get(key(other).id())?;
        (!link.stop.is_cancelled()).then_some(link)
    };
    let first = harness::until("they are connected", || async { linked(&node, 2) }).await;
    harness::until("from both sides", || async { linked(&peer, 1) }).await;
    relay.open.send_replace(false);
    // Whoever asks for something meanwhile hears in the time a request may take, or with the end of the
    // link, that there is no answer.
    let asked = first.request("mesh.ping", &json!({})).await;
    let code = asked.unwrap_err().code;
    assert!(
        ["TIMEOUT", "EXECUTOR_UNREACHABLE"].contains(&code.as_str()),
        "{code}"
    );
    // Another peer is answered at once.
    let mut probe = Probe::connect(node.address, &key(3), harness::MESH).await;
    let answer = probe.ask("mesh.ping", json!({})).await;
    assert_eq!(answer["ok"], true);
    drop(probe);
    let deadline = Instant::now() + NOTICED;
    while linked(&peer, 1).is_some() || !first.stop.is_cancelled() {
        assert!(Instant::now() < deadline, "the dead link stands");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    relay.open.send_replace(true);
    while linked(&peer, 1).is_none() || linked(&node, 2).is_none() {
        assert!(
            Instant::now() < deadline + NOTICED,
            "the link does not come back"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let standing = peer.shared().peers.get(key(1).id()).unwrap();
    assert_eq!(standing.state, State::Connected, "{}", standing.why);
    relay.tasks.close();
    peer.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_and_a_state_directory_that_is_gone_are_alarms_until_they_are_mended() {
    use clawmesh::adapters::store::{Class, StoreError, kv};
    use clawmesh::node::context::alarms::AlarmKind;
    let mut setup = field();
    setup.raw.store.max_bytes = Some(4 * 1024 * 1024);
    let node = setup.start().await;
    let shared = node.shared();
    let fill = |name: String| {
        shared.store.write(Class::Durable, "test", move |c| {
            kv::put(c, &name, &[7; 200_000])
        })
    };
    let mut names = Vec::new();
    loop {
        names.push(format!("fill-{}", names.len()));
        match fill(names.last().unwrap().clone()).await {
            Ok(()) => {}
            Err(StoreError::Full) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let stands = |kind| async move { shared.alarms.stands(kind, "").then_some(()) };
    let over = |kind| async move { (!shared.alarms.stands(kind, "")).then_some(()) };
    harness::until("the full store is an alarm", || {
        stands(AlarmKind::StoreFull)
    })
    .await;
    assert!(shared.alarms.list()[0].advice.contains("free disk space"));
    // Reads go on.
    let kept = shared.store.read("test", |c| kv::get(c, "fill-0")).await;
    assert_eq!(kept.unwrap().map(|b| b.len()), Some(200_000));
    let empty = shared.store.write(Class::Durable, "test", move |c| {
        names.iter().try_for_each(|name| kv::put(c, name, &[]))
    });
    empty.await.unwrap();
    harness::until("there is room again", || over(AlarmKind::StoreFull)).await;
    let (state, away) = (
        node.state().root().to_path_buf(),
        node.dir.path().join("away"),
    );
    std::fs::rename(&state, &away).unwrap();
    harness::until("the lost directory is an alarm", || {
        stands(AlarmKind::StateLost)
    })
    .await;
    std::fs::rename(&away, &state).unwrap();
    harness::until("it is back", || over(AlarmKind::StateLost)).await;
    node.stop().await;
}
