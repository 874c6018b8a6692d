//! A code that the executor shows at its own terminal, with which one person there approves at L3.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clawmesh::domain::base::Code;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::{Decision, NodeCode, SignedDecision};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::{self, Minted};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::harness::*;
use crate::main_job::{decision, mint, operator, status};

/// A terminal, and what is shown there.
struct Screen {
    path: PathBuf,
    shown: Arc<Mutex<String>>,
    /// Keeps the terminal open while nobody writes to it.
    _open: std::fs::File,
}

fn screen() -> Screen {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let path = PathBuf::from(name.to_str().unwrap());
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let open = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut ours, said) = (std::fs::File::from(ours), shown.clone());
    std::thread::spawn(move || {
        let mut piece = [0; 1_024];
        // It ends with the terminal.
        while let Ok(n @ 1..) = ours.read(&mut piece) {
            let text = String::from_utf8_lossy(&piece[..n]).into_owned();
            said.lock().unwrap().push_str(&text);
        }
    });
    Screen {
        path,
        shown,
        _open: open.into(),
    }
}

impl Screen {
    fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// The n-th code that was shown, from 0.
    async fn code(&self, n: usize) -> NodeCode {
        until("a code is shown", || async {
            let text = self.text();
            let (_, after) = text
                .match_indices("Code at the node: ")
                .nth(n)
                .map(|(at, found)| text.split_at(at + found.len()))?;
            after.get(..9)?.parse().ok()
        })
        .await
    }
}

const POLICY: &str = r#"
version = 1
[[rule]]
name = "two, or one at the node"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L3"
at_node = true
safe_state = "close"
deadline_sec = 5
duration_param = "durationSec"
requesters = ["person"]
[rule.params.durationSec]
type = "integer"
min = 1
max = 5
"#;

async fn started(screen: Option<&Screen>) -> TestNode {
    let mut setup = field().with_operator(operator(), "L3");
    setup.policy = Some(POLICY.to_owned());
    setup.raw.code_display = screen.map(|screen| screen.path.clone());
    setup.start().await
}

fn with(
    node: &TestNode,
    minted: &Minted,
    key: &OperatorKey,
    code: Option<NodeCode>,
) -> SignedDecision {
    let plain = decision(node.shared(), &minted.signed, key, Verdict::Approve);
    Decision {
        at_node: code,
        ..plain.decision
    }
    .sign(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_with_the_code_that_the_node_shows_is_enough_at_l3() {
    let screen = screen();
    let node = started(Some(&screen)).await;
    let minted = mint(&node, 1).await;
    let record = minted.signed.record();
    assert!(record.at_node);
    let decide = |code: Option<NodeCode>| {
        proposals::decide(node.shared(), with(&node, &minted, &operator(), code))
    };
    let code = screen.code(0).await;
    assert!(
        screen.text().contains(record.proposal_id.short()),
        "{}",
        screen.text()
    );
    assert!(screen.text().contains("valve-1"));

    // Without it a second person is needed.
    let standing = decide(None).await.unwrap();
    assert_eq!((standing.approvals, standing.required), (1, 2));
    // A wrong one does nothing, also in the hands of the same person.
    let wrong: NodeCode = if code.shown() == "0000 0000" {
        "00000001"
    } else {
        "00000000"
    }
    .parse()
    .unwrap();
    let refused = decide(Some(wrong)).await.unwrap_err();
    assert_eq!(refused.code, Code::ApprovalInvalid);
    assert!(refused.message.contains("4 more tries"), "{refused}");
    assert_eq!(
        status(node.shared(), &minted).await,
        Status::AwaitingApproval
    );
    let kept = node
        .shared()
        .store
        .read("t", |c| {
            clawmesh::adapters::store::kv::get(c, "at_node.tries")
        })
        .await
        .unwrap()
        .unwrap();
    assert!(
        String::from_utf8(kept)
            .unwrap()
            .contains(record.proposal_id.as_str())
    );
    // A stranger's key is refused before a code is looked at.
    let stranger = OperatorKey::from_seed(&[88; 32]);
    let asked = with(&node, &minted, &stranger, Some(code.clone()));
    let tries = || async {
        let read = |c: &_| clawmesh::adapters::store::kv::get(c, "at_node.tries");
        node.shared().store.read("t", read).await.unwrap()
    };
    let wipe = |c: &_| clawmesh::adapters::store::kv::delete(c, "at_node.tries");
    let class = clawmesh::adapters::store::Class::Durable;
    node.shared().store.write(class, "t", wipe).await.unwrap();
    let refused = proposals::decide(node.shared(), asked).await.unwrap_err();
    assert_eq!(refused.code, Code::OperatorUnknown);
    assert!(tries().await.is_none(), "a stranger has nothing written");

    let standing = decide(Some(code.clone())).await.unwrap();
    assert_eq!(standing.status, Status::Executing);
    assert!(
        standing.detail.contains("with the code shown at the node"),
        "{}",
        standing.detail
    );
    until("it has run", || async {
        (status(node.shared(), &minted).await == Status::Completed).then_some(())
    })
    .await;

    let shown = screen.text().matches("Code at the node").count();
    assert_eq!(shown, 1, "what was approved has no further code");
    // It is in no answer, record, event or metric before it is used, and good for no other proposal.
    let next = mint(&node, 1).await;
    let fresh = screen.code(1).await;
    assert_ne!(fresh, code);
    let old = with(&node, &next, &operator(), Some(code));
    let refused = proposals::decide(node.shared(), old).await.unwrap_err();
    assert!(refused.message.contains("not the code"), "{refused}");
    let digits: String = fresh.shown().replace(' ', "");
    let state = node.state().root().to_path_buf();
    let dir = node.stop().await;
    for entry in walk(&state) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let holds = |what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
        assert!(
            !holds(&digits) && !holds(&fresh.shown()),
            "{}",
            entry.display()
        );
    }
    drop(dir);
}

fn walk(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().filter_map(Result::ok);
    let each = entries.map(|e| e.path());
    each.flat_map(|path| {
        if path.is_dir() {
            walk(&path)
        } else {
            vec![path]
        }
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_given_is_used_up_and_another_is_shown() {
    let screen = screen();
    let node = started(Some(&screen)).await;
    let minted = mint(&node, 1).await;
    let first = screen.code(0).await;
    clawmesh::node::proposals::estop::engage(
        node.shared(),
        "ada",
        "smoke",
        clawmesh::node::proposals::estop::Told::Always,
    )
    .await
    .unwrap();
    let decide = |code: NodeCode| {
        proposals::decide(node.shared(), with(&node, &minted, &operator(), Some(code)))
    };
    let refused = decide(first.clone()).await.unwrap_err();
    assert_eq!(refused.code, Code::Estop);
    let second = screen.code(1).await;
    clawmesh::node::proposals::estop::release(node.shared(), None, "ada", "it was steam")
        .await
        .unwrap();
    let refused = decide(first).await.unwrap_err();
    assert_eq!(refused.code, Code::ApprovalInvalid, "{refused}");
    assert_eq!(decide(second).await.unwrap().status, Status::Executing);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_code_can_be_shown_two_decide_and_an_alarm_says_why() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write!(file.as_file(), "not a screen").unwrap();
    let no_terminal = Screen {
        path: file.path().to_path_buf(),
        shown: Arc::default(),
        _open: file.reopen().unwrap(),
    };
    for (screen, why) in [
        (None, "code_display is not set"),
        (Some(&no_terminal), "not a terminal"),
    ] {
        let node = started(screen).await;
        let minted = mint(&node, 1).await;
        until("the alarm stands", || async {
            let alarms = node.shared().alarms.list();
            let found = alarms
                .into_iter()
                .find(|a| a.kind.as_str() == "at_node.codes")?;
            found.message.contains(why).then_some(())
        })
        .await;
        let guess: NodeCode = "12345678".parse().unwrap();
        let asked = with(&node, &minted, &operator(), Some(guess));
        let refused = proposals::decide(node.shared(), asked).await.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalInvalid, "{refused}");
        assert_eq!(
            status(node.shared(), &minted).await,
            Status::AwaitingApproval
        );
        node.stop().await;
    }
    let kept = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(kept, "not a screen");
}
