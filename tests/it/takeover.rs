//! Two nodes with one bot as real processes: the one that answers is killed where it matters, or stands still for a while. The
//! other takes over, and no update is answered twice.

use serde_json::Value;

use crate::bot_api::{BotApi, TOKEN};
use crate::process::{FIELD, Place, Running, eventually};
use crate::telegram::ADA;

struct Pair {
    bot: BotApi,
    places: [Place; 2],
    ids: [String; 2],
}

impl Pair {
    /// Two places with the same bot, at both of which the chat is the operator's.
    fn new(bot: BotApi) -> Self {
        let places = [Place::new(), Place::new()];
        let pair = Self {
            ids: [places[0].device(), places[1].device()],
            places,
            bot,
        };
        for (n, place) in pair.places.iter().enumerate() {
            place.write(
                "config.toml",
                &format!("[telegram]\napi = \"{}\"\n", pair.bot.url),
            );
            let set = ["credential", "set", "channel/telegram"];
            let said = place.typing(&place.state(), &set, &format!("{TOKEN}\n"));
            assert_eq!(said.code, 0, "{said:?}");
            place.enrolled();
            let node = place.field(&[]);
            let made = place.json(&["telegram", "enroll", "--yes"]);
            let code = made["code"].as_str().unwrap();
            pair.bot.says(ADA, &format!("/start {code}"));
            eventually("the chat is the operator's", || {
                (pair.count("decides for operator") > n).then_some(())
            });
            assert_eq!(node.stop(), 0);
        }
        for n in [0, 1] {
            let trust = ["trust", "add", &pair.ids[1 - n], "--as", "command-center"];
            assert_eq!(pair.places[n].run(&trust).code, 0);
        }
        pair
    }

    fn count(&self, what: &str) -> usize {
        let sent = self.bot.sent(ADA).into_iter();
        sent.filter(|m| m.text.contains(what)).count()
    }

    fn bot_at(&self, n: usize) -> Option<Value> {
        let said = self.places[n].run(&["channel", "list", "--json"]);
        let view: Value = serde_json::from_str(&said.out).ok()?;
        Some(view["bots"][0].clone())
    }

    fn answers(&self, n: usize) {
        eventually(&format!("node {n} answers"), || {
            let bot = self.bot_at(n)?;
            let well =
                bot["standsBy"].is_null() && bot["problem"].is_null() && bot["name"].is_string();
            well.then_some(())
        });
    }

    fn stands_by(&self, n: usize) {
        eventually(&format!("node {n} stands by"), || {
            let bot = self.bot_at(n)?;
            let said = bot["standsBy"].as_str()?;
            (said.starts_with("stands by: ") && said.ends_with("answers")).then_some(())
        });
    }

    /// The status of a node says that it answers, and its events that the bot has changed hands.
    fn took_over(&self, n: usize) {
        let said = self.places[n].run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&said.out).unwrap();
        let bot = &status["bots"][0];
        assert!(
            bot["answeredBy"] == "field-1" && bot["heardAt"].is_u64(),
            "{bot}"
        );
        let shown = self.places[n].run(&["status"]);
        assert!(shown.out.contains("field-1 answers"), "{shown:?}");
        let hands = self.places[n].json(&["events", "--kind", "channel.hands"]);
        let last = hands.as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["data"]["answers"], true, "{hands}");
    }

    /// The second, linked with the first.
    fn second(&self, first: &Running) -> Running {
        let peer = format!("{}=ws://{}||local", self.ids[0], first.address);
        self.places[1].field(&["--peer", &peer])
    }

    fn asks(&self, what: &str, answer: &str) {
        let before = self.count(answer);
        self.bot.says(ADA, what);
        eventually(what, || (self.count(answer) > before).then_some(()));
    }
}

/// The first dies at a point while it has this update; how often it is answered in the end.
async fn dies_at(point: &'static str, wrote: &'static str, answer: &'static str, times: usize) {
    let bot = BotApi::start().await;
    tokio::task::block_in_place(|| {
        let pair = Pair::new(bot);
        let first = pair.places[0].start_to_crash(point, &FIELD);
        pair.answers(0);
        let second = pair.second(&first);
        pair.stands_by(1);
        pair.bot.says(ADA, wrote);
        first.was_killed(point);
        pair.answers(1);
        pair.asks("/alerts on", "New proposals are told here.");
        pair.took_over(1);
        eventually(point, || (pair.count(answer) == times).then_some(()));
        // Back again, it has nothing to add.
        let first = pair.places[0].field(&[]);
        pair.asks("/help", "/alerts on|off");
        assert_eq!(pair.count(answer), times, "{point}");
        assert_eq!(pair.bot.wrong(), Vec::<String>::new(), "{point}");
        assert_eq!((first.stop(), second.stop()), (0, 0));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_before_its_update_is_confirmed_the_other_answers_it() {
    dies_at("channel update.after", "/alerts", "Alerts are", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_after_its_update_is_confirmed_nobody_answers_it() {
    dies_at("chat.confirmed", "/alerts", "Alerts are", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn killed_after_a_stop_the_other_stops_too_and_says_so() {
    dies_at("chat.stopped", "/stop fire", "EMERGENCY STOP", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_stood_still_learns_that_another_answers_before_it_speaks() {
    let bot = BotApi::start().await;
    tokio::task::block_in_place(|| {
        let pair = Pair::new(bot);
        let first = pair.places[0].field(&[]);
        pair.answers(0);
        let second = pair.second(&first);
        pair.stands_by(1);
        pair.asks("/alerts", "Alerts are on");
        first.signal("STOP");
        pair.answers(1);
        pair.asks("/alerts off", "not told here any more");
        pair.asks("/alerts", "Alerts are off");
        first.signal("CONT");
        pair.bot.says(ADA, "/proposals");
        pair.stands_by(0);
        pair.asks("/alerts on", "New proposals are told here.");
        eventually("all is answered", || {
            (pair.count("Nothing waits") > 0).then_some(())
        });
        assert_eq!(
            (pair.count("Alerts are on"), pair.count("Alerts are off")),
            (1, 1)
        );
        assert_eq!(pair.count("Nothing waits"), 1);
        pair.answers(1);
        assert_eq!(pair.bot.wrong(), Vec::<String>::new());
        assert_eq!((first.stop(), second.stop()), (0, 0));
    });
}
