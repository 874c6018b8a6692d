//! The chain of models, with scripted ones: who is asked, who answers, what is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::*;
use crate::adapters::clock::{Clock as _, ManualClock};
use crate::adapters::llm::{Address, Model as _, Reply, Scripted, Speech, Step};
use crate::adapters::store::StoreOptions;
use crate::domain::base::TimeMs;
use crate::domain::inference::budget::{Budget, Price};
use crate::domain::inference::{Message, Piece};

struct Place {
    _temp: tempfile::TempDir,
    file: std::path::PathBuf,
    clock: Arc<ManualClock>,
    models: Vec<(ModelSettings, Scripted)>,
    turn_ms: u64,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self {
            file: temp.path().join("clawmesh.db"),
            _temp: temp,
            clock: Arc::new(ManualClock::at(TimeMs(86_400_000 * 20_000))),
            models: Vec::new(),
            turn_ms: 10,
        }
    }

    fn with(mut self, name: &str, url: &str, replies: Vec<Reply>) -> Self {
        let model: ModelRef = name.parse().unwrap();
        let settings = ModelSettings {
            model: model.clone(),
            place: crate::node::config::models::Place::Server(Address::parse(url).unwrap()),
            speech: Speech::OpenAi,
            key: "provider/x".into(),
            usual: false,
            private: None,
            price: Price {
                input_micros: 0,
                output_micros: 1_000_000,
            },
            budget: Budget::default(),
            at_once: 1,
            share: false,
        };
        self.models.push((settings, Scripted::new(model, replies)));
        self
    }

    fn cloud(self, replies: Vec<Reply>) -> Self {
        self.with("cloud/big", "https://cloud.example.org/v1", replies)
    }

    fn local(self, replies: Vec<Reply>) -> Self {
        self.with("local/small", "http://127.0.0.1:9/v1", replies)
    }

    async fn open(&self) -> Inference {
        let store = Store::open(&self.file, StoreOptions::default()).unwrap();
        let served = self
            .models
            .iter()
            .map(|(settings, model)| Served::new(settings.clone(), Arc::new(model.clone())));
        let needs = Needs {
            served: served.collect(),
            edge_first: false,
            use_mesh: true,
            labels: Labels::default(),
            store,
            clock: self.clock.clone(),
            random: SharedRandom::system(),
            pace: Pace {
                retry: Duration::ZERO,
                turn: Duration::from_millis(self.turn_ms),
                yields: Duration::ZERO,
            },
        };
        Inference::open(needs).await.unwrap()
    }
}

fn question() -> InferenceRequest {
    InferenceRequest {
        messages: vec![Message::User("how is zone 1?".into())],
        max_output_tokens: 100,
        ..InferenceRequest::default()
    }
}

async fn ask(inference: &Inference, about: &About) -> (Route, String, Option<Failure>) {
    let (route, mut pieces) = inference.ask(question(), about).await;
    let (mut text, mut failure) = (String::new(), None);
    while let Some(item) = pieces.next().await {
        match item {
            Ok(Piece::Text(more)) => text.push_str(&more),
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
    }
    (route, text, failure)
}

fn fails(kind: FailureKind) -> Reply {
    Reply::fail(kind, "it failed")
}

#[tokio::test]
async fn the_next_model_answers_where_the_first_fails_before_it_spoke() {
    let failing = vec![fails(FailureKind::Server); 3];
    let place = Place::new().cloud(failing).local(vec![Reply::text("dry")]);
    let inference = place.open().await;
    let (route, text, failure) = ask(&inference, &About::public()).await;
    assert_eq!((text.as_str(), failure), ("dry", None));
    assert_eq!(route.chosen.as_ref().unwrap().to_string(), "local/small");
    assert!(route.local);
    assert_eq!(route.skipped[0].skip.kind, SkipKind::Failed);
    assert_eq!(place.models[0].1.asked().len(), 3, "it is tried again");
}

#[tokio::test]
async fn a_wrong_key_is_not_tried_again_and_an_empty_reply_is_none() {
    let place = Place::new()
        .cloud(vec![fails(FailureKind::Unauthorized)])
        .with(
            "other/x",
            "http://127.0.0.1:8/v1",
            vec![Reply::default().ended()],
        )
        .local(vec![Reply::text("dry")]);
    let inference = place.open().await;
    let (route, text, _) = ask(&inference, &About::public()).await;
    assert_eq!((text.as_str(), route.skipped.len()), ("dry", 2));
    assert_eq!(place.models[0].1.asked().len(), 1);
    assert!(route.skipped[1].skip.why.contains("said nothing"));
}

#[tokio::test]
async fn what_was_shown_is_never_begun_anew_by_another_model() {
    let broken = Reply::of(vec![
        Step::Say(Piece::Text("It ".into())),
        Step::Fail(Failure::new(FailureKind::Unreachable, "gone")),
    ]);
    let place = Place::new().cloud(vec![broken]).local(vec![]);
    let inference = place.open().await;
    let (_, text, failure) = ask(&inference, &About::public()).await;
    assert_eq!(text, "It ");
    assert_eq!(failure.unwrap().kind, FailureKind::Unreachable);
    assert!(place.models[1].1.asked().is_empty());
}

#[tokio::test]
async fn private_data_never_reaches_a_model_that_may_not_see_it() {
    let place = Place::new()
        .cloud(vec![Reply::text("leaked")])
        .local(vec![fails(FailureKind::Refused)]);
    let inference = place.open().await;
    let about = About::private("zone bedroom");
    let (route, text, failure) = ask(&inference, &about).await;
    assert_eq!((route.chosen, text.as_str()), (None, ""));
    assert!(failure.unwrap().why.contains("zone bedroom"));
    assert!(
        place.models[0].1.asked().is_empty(),
        "not even when all others fail"
    );
    let place = Place::new().cloud(vec![]);
    let (_, _, failure) = ask(&place.open().await, &about).await;
    assert_eq!(failure.unwrap().kind, FailureKind::NoModel);
}

#[tokio::test]
async fn no_model_at_all_says_how_to_have_one() {
    let inference = Place::new().open().await;
    let (route, _, failure) = ask(&inference, &About::public()).await;
    let failure = failure.unwrap();
    assert_eq!((route.chosen, failure.kind), (None, FailureKind::NoModel));
    assert!(failure.why.contains("--model"), "{failure}");
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_left_alone_and_tried_again_later() {
    let place = Place::new().cloud(vec![fails(FailureKind::Server); 3]);
    let inference = place.open().await;
    ask(&inference, &About::public()).await;
    let (route, _, failure) = ask(&inference, &About::public()).await;
    assert_eq!(route.skipped[0].skip.kind, SkipKind::Resting);
    assert_eq!(failure.unwrap().kind, FailureKind::Unreachable);
    assert_eq!(place.models[0].1.asked().len(), 3);
    assert!(inference.models()[0].unfit.is_some());
    place.models[0].1.push(Reply::text("back"));
    let later = place.clock.now().0 + 400_000;
    place.clock.set(TimeMs(later));
    let (_, text, _) = ask(&inference, &About::public()).await;
    assert_eq!(text, "back");
    assert!(inference.models()[0].unfit.is_none());
}

#[tokio::test]
async fn budgets_are_counted_before_and_after_and_outlive_a_restart() {
    let mut place = Place::new().cloud(vec![Reply::text("a"), Reply::text("b"), Reply::text("c")]);
    place.models[0].0.budget.tokens = Some(130);
    let inference = place.open().await;
    let (_, text, _) = ask(&inference, &About::public()).await;
    assert_eq!(text, "a");
    let spent = inference.models()[0].spent;
    // The script says ten read and five written, at one a token written.
    assert_eq!((spent.requests, spent.tokens, spent.micros), (1, 15, 5));
    ask(&inference, &About::public()).await;
    drop(inference);
    let inference = place.open().await;
    let (route, _, failure) = ask(&inference, &About::public()).await;
    assert_eq!(failure.unwrap().kind, FailureKind::Budget);
    assert!(route.skipped[0].skip.why.contains("tokens a day"));
    assert_eq!(place.models[0].1.asked().len(), 2);
    place.clock.set(TimeMs(place.clock.now().0 + 86_400_000));
    assert_eq!(ask(&inference, &About::public()).await.1, "c");
}

#[tokio::test]
async fn a_request_under_way_is_counted_with_the_most_it_may_take() {
    let waits = Reply::of(vec![Step::Say(Piece::Text("abc".into())), Step::Hang]);
    let place = Place::new().cloud(vec![waits]);
    let inference = place.open().await;
    let (_, mut pieces) = inference.ask(question(), &About::public()).await;
    pieces.next().await.unwrap().unwrap();
    assert_eq!(inference.models()[0].spent.tokens, 105);
    drop(pieces);
    assert_eq!(place.models[0].1.open(), 0, "the request is cancelled");
    let spent = inference.models()[0].spent;
    assert_eq!(spent.tokens, 105, "it may have thought and cost that much");
    assert_eq!(spent.micros, 100);
}

#[tokio::test]
async fn one_that_is_given_up_while_it_thinks_counts_as_the_most_where_it_costs() {
    let hangs = || vec![Reply::hang()];
    let mut place = Place::new().cloud(hangs()).local(hangs());
    place.models[1].0.price = Price::default();
    let inference = place.open().await;
    for model in ["cloud/big", "local/small"] {
        let named = wanted(model);
        tokio::select! {
            biased;
            _ = whole(&inference, &named) => panic!("it hangs"),
            () = until_asked(&place) => {}
        }
    }
    let spent = |n: usize| inference.models()[n].spent.tokens;
    assert_eq!((spent(0), spent(1)), (105, 5));
}

/// Waits until a model is asked and has not answered.
async fn until_asked(place: &Place) {
    while place.models.iter().all(|(_, model)| model.open() == 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lent_turn_that_is_the_only_one_ends_for_this_node() {
    let waits = || Reply::of(vec![Step::Say(Piece::Text("a".into())), Step::Hang]);
    let mut place = Place::new().local(vec![waits(), Reply::text("own")]);
    (place.models[0].0.share, place.turn_ms) = (true, 3_600_000);
    let inference = place.open().await;
    let (shared, about) = (
        Wanted::Shared("local/small".parse().unwrap()),
        About::public(),
    );
    let (_, mut pieces) = inference.ask_of(&shared, question(), &about).await;
    assert!(pieces.next().await.unwrap().is_ok());
    let (own, lent) = tokio::join!(ask(&inference, &about), pieces.next());
    assert_eq!(own.1, "own");
    let failure = lent.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::RateLimited, "{failure}");
}

#[tokio::test]
async fn of_several_turns_one_is_never_lent() {
    let waits = || Reply::of(vec![Step::Say(Piece::Text("a".into())), Step::Hang]);
    let mut place = Place::new().local(vec![waits(), Reply::text("own")]);
    (place.models[0].0.share, place.models[0].0.at_once) = (true, 2);
    let inference = place.open().await;
    let (shared, about) = (
        Wanted::Shared("local/small".parse().unwrap()),
        About::public(),
    );
    let (_, pieces) = inference.ask_of(&shared, question(), &about).await;
    let (_, told) = whole(&inference, &shared).await;
    assert_eq!(told.unwrap_err().kind, FailureKind::RateLimited);
    assert_eq!(ask(&inference, &about).await.1, "own");
    drop(pieces);
}

#[tokio::test]
async fn a_provider_has_no_more_requests_than_it_may() {
    let waits = Reply::of(vec![Step::Say(Piece::Text("a".into())), Step::Hang]);
    let place = Place::new()
        .cloud(vec![waits, Reply::text("c")])
        .local(vec![Reply::text("b")]);
    let inference = place.open().await;
    let (_, pieces) = inference.ask(question(), &About::public()).await;
    let (route, text, _) = ask(&inference, &About::public()).await;
    assert_eq!(
        (route.skipped[0].skip.kind, text.as_str()),
        (SkipKind::Busy, "b")
    );
    drop(pieces);
    assert_eq!(ask(&inference, &About::public()).await.1, "c");
}

#[tokio::test]
async fn a_question_that_is_given_up_leaves_the_breaker_free() {
    let place = Place::new().cloud(vec![
        fails(FailureKind::Server),
        fails(FailureKind::Server),
        fails(FailureKind::Server),
        Reply::hang(),
        Reply::text("back"),
    ]);
    let inference = place.open().await;
    ask(&inference, &About::public()).await;
    place.clock.set(TimeMs(place.clock.now().0 + 400_000));
    let about = About::public();
    let asking = ask(&inference, &about);
    let given_up = tokio::time::timeout(Duration::from_millis(50), asking).await;
    assert!(given_up.is_err());
    assert_eq!(ask(&inference, &About::public()).await.1, "back");
}

/// What other devices offer.
struct Others(std::sync::Mutex<Vec<(u8, &'static str, Scripted)>>);

impl Mesh for Others {
    fn offers(&self) -> Vec<Offer> {
        let all = self.0.lock().unwrap();
        let offer = |(n, name, model): &(u8, &str, Scripted)| Offer {
            device: crate::domain::identity::DeviceKey::from_seed(&[*n; 32])
                .id()
                .clone(),
            names: vec![(*name).to_owned()],
            model: model.name().clone(),
            asked: Arc::new(model.clone()),
        };
        all.iter().map(offer).collect()
    }
}

fn offers(all: &[(u8, &'static str, &Scripted)]) -> Arc<Others> {
    let all = all.iter().map(|(n, name, m)| (*n, *name, (*m).clone()));
    Arc::new(Others(std::sync::Mutex::new(all.collect())))
}

async fn whole(inference: &Inference, wanted: &Wanted) -> (Route, Result<Whole, Failure>) {
    let about = About::public();
    inference.ask_whole(wanted, question(), &about).await
}

fn wanted(model: &str) -> Wanted {
    Wanted::Named(model.parse().unwrap())
}

#[tokio::test]
async fn a_model_of_another_device_stands_in_the_chain_and_is_passed_over_while_it_is_away() {
    let mut place = Place::new()
        .with("mesh/hub/ollama/big", "http://127.0.0.1:9/v1", vec![])
        .local(vec![Reply::text("here"), Reply::text("again")]);
    let there = ModelRef::of_mesh(&place.models[0].0.model).unwrap();
    place.models[0].0.place = crate::node::config::models::Place::Device(there);
    let inference = place.open().await;
    let (route, text, _) = ask(&inference, &About::public()).await;
    assert_eq!(
        (route.skipped[0].skip.kind, text.as_str()),
        (SkipKind::Away, "here")
    );
    let hub = Scripted::new(
        "ollama/Big".parse().unwrap(),
        [Reply::text("there"), fails(FailureKind::RateLimited)],
    );
    let other = Scripted::new("ollama/big".parse().unwrap(), []);
    inference.reach(offers(&[(1, "other", &other), (2, "hub", &hub)]));
    let (route, text, _) = ask(&inference, &About::public()).await;
    let chosen = route.chosen.unwrap().to_string();
    assert_eq!(
        (chosen.as_str(), route.local, text.as_str()),
        ("mesh/hub/ollama/Big", false, "there")
    );
    // It is not tried again: the next model is asked at once.
    let (_, text, _) = ask(&inference, &About::public()).await;
    assert_eq!((text.as_str(), hub.asked().len()), ("again", 2));
    assert!(other.asked().is_empty(), "another device was not named");
    let about = About::private("zone bedroom");
    place.models[1].1.push(Reply::text("in private"));
    assert_eq!(ask(&inference, &about).await.1, "in private");
    assert_eq!(hub.asked().len(), 2);
}

#[tokio::test]
async fn a_named_model_is_asked_here_or_at_whoever_offers_it_where_there_is_none() {
    let down = vec![fails(FailureKind::Refused)];
    let place = Place::new().with("ollama/x", "http://127.0.0.1:9/v1", down);
    let own = place.open().await;
    let inference = Place::new().open().await;
    let one = Scripted::new("ollama/x".parse().unwrap(), [fails(FailureKind::Server)]);
    let two = Scripted::new(
        "ollama/x".parse().unwrap(),
        [Reply::text("two"), Reply::text("by its name")],
    );
    inference.reach(offers(&[(1, "one", &one), (2, "two", &two)]));
    let listed: Vec<_> = inference
        .elsewhere()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(listed, ["mesh/one/ollama/x", "mesh/two/ollama/x"]);
    let (route, told) = whole(&inference, &wanted("ollama/x")).await;
    assert_eq!(told.unwrap().text, "two");
    assert_eq!(route.skipped.len(), 1);
    own.reach(offers(&[(1, "one", &one), (2, "two", &two)]));
    let (_, told) = whole(&own, &wanted("ollama/x")).await;
    assert!(told.is_err() && place.models[0].1.asked().len() == 1);
    let named = wanted("mesh/two/ollama/x");
    let (_, told) = whole(&inference, &named).await;
    assert_eq!(told.unwrap().text, "by its name");
    // Nothing private goes to a device that no configuration names.
    let private = About::private("zone bedroom");
    let asked = inference.ask_whole(&named, question(), &private);
    assert_eq!(asked.await.1.unwrap_err().kind, FailureKind::NoModel);
    let (_, told) = whole(&inference, &wanted("ollama/y")).await;
    let failure = told.unwrap_err();
    assert!(failure.why.contains("no model of this node"), "{failure}");
    assert_eq!((one.asked().len(), two.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_name_that_two_devices_have_means_neither() {
    let inference = Place::new().open().await;
    let model = Scripted::new("ollama/x".parse().unwrap(), []);
    inference.reach(offers(&[(1, "hub", &model), (2, "hub", &model)]));
    let (_, told) = whole(&inference, &wanted("mesh/hub/ollama/x")).await;
    assert_eq!(told.unwrap_err().kind, FailureKind::NoModel);
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn what_reads_as_an_id_means_no_device_that_is_only_called_so() {
    let key = |n: u8| crate::domain::identity::DeviceKey::from_seed(&[n; 32]);
    let hub = key(7);
    let mut place = Place::new().with("local/x", "http://127.0.0.1:9/v1", vec![]);
    let there: ModelRef = format!("mesh/{}/ollama/x", hub.id()).parse().unwrap();
    let meant = there.of_mesh().unwrap();
    let settings = &mut place.models[0].0;
    (settings.model, settings.private) = (there.clone(), Some(true));
    settings.place = crate::node::config::models::Place::Device(meant);
    let inference = place.open().await;
    let evil = Scripted::new("ollama/x".parse().unwrap(), [Reply::text("evil")]);
    let same = Scripted::new("ollama/x".parse().unwrap(), [Reply::text("evil")]);
    let (id, short) = (hub.id().to_string(), hub.id().short().to_owned());
    inference.reach(offers(&[(1, id.leak(), &evil), (2, short.leak(), &same)]));
    let private = About::private("zone bedroom");
    let (_, text, failure) = ask(&inference, &private).await;
    assert_eq!(text, "");
    assert_eq!(failure.unwrap().kind, FailureKind::Unreachable);
    let short = format!("mesh/{}/ollama/x", hub.id().short());
    for name in [there.to_string(), short] {
        assert!(whole(&inference, &wanted(&name)).await.1.is_err(), "{name}");
    }
    assert_eq!((evil.asked().len(), same.asked().len()), (0, 0));
}

#[tokio::test]
async fn where_nothing_is_shown_before_the_end_the_next_model_follows_one_that_broke_off() {
    let broken = Reply::of(vec![
        Step::Say(Piece::Text("It ".into())),
        Step::Fail(Failure::new(FailureKind::Unreachable, "gone")),
    ]);
    let place = Place::new()
        .cloud(vec![broken])
        .local(vec![Reply::text("dry")]);
    let inference = place.open().await;
    let (route, told) = whole(&inference, &Wanted::Chain).await;
    assert_eq!(told.unwrap().text, "dry", "nothing is repeated");
    assert_eq!(route.chosen.unwrap().to_string(), "local/small");
    assert_eq!(route.skipped[0].model.to_string(), "cloud/big");
}

#[tokio::test]
async fn only_what_is_shared_is_asked_for_other_devices() {
    let mut place = Place::new()
        .cloud(vec![Reply::text("secret")])
        .local(vec![Reply::text("shared")]);
    place.models[1].0.share = true;
    let inference = place.open().await;
    inference.reach(offers(&[]));
    let shared = |model: &str| Wanted::Shared(model.parse().unwrap());
    assert!(whole(&inference, &shared("cloud/big")).await.1.is_err());
    let (_, told) = whole(&inference, &shared("local/Small")).await;
    assert_eq!(told.unwrap().text, "shared");
    assert!(place.models[0].1.asked().is_empty());
}
