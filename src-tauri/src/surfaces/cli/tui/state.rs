//! What is shown and what the keys do. Pure: it asks nothing and draws nothing.

use std::cell::Cell;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::acts::Done;
use super::news::{News, Shown};
use super::screen::Input;
use super::sheet::{Sheet, SheetKey};
use super::views::{self, Row};
use super::wish::{Asking, Signing, Tab, Wish};
use crate::adapters::keystore::Passphrase;
use crate::domain::base::limits::{PASSPHRASE_MAX_BYTES, TEXT_MAX_CHARS};
use crate::domain::gate::approval::Verdict;
use crate::domain::policy::Level;
use crate::operator::dto::StatusView;
use crate::operator::estop::EstopView;

use super::super::clean;
use super::super::format;
use super::super::record::Checked;

/// The state of the program.
pub(super) struct App {
    person: String,
    tab: Tab,
    /// The node at a glance, as it last said.
    pub(super) status: Option<StatusView>,
    /// Its emergency stop, as it last said.
    pub(super) stop: Option<EstopView>,
    /// What the shown view needs, if that has come.
    pub(super) shown: Option<Shown>,
    /// When the node last answered.
    pub(super) heard: Option<Instant>,
    /// Why the node does not answer.
    pub(super) problem: Option<String>,
    /// The text that rows must hold.
    pub(super) filter: String,
    /// Key of the selected row; the first one where it is none of them.
    selected: Option<String>,
    /// What is shown over the view.
    pub(super) sheet: Option<Sheet>,
    /// What is asked for, and what was typed.
    asking: Option<(Asking, Zeroizing<String>)>,
    /// The last message, and whether it is bad news.
    pub(super) message: Option<(String, bool)>,
    /// Whether the terminal is too small to show anything; drawing tells.
    pub(super) small: Cell<bool>,
    over: bool,
    hurry: bool,
}

impl App {
    /// Before the node has answered.
    pub(super) fn new(person: String) -> Self {
        Self {
            person,
            tab: Tab::Approvals,
            status: None,
            stop: None,
            shown: None,
            heard: None,
            problem: None,
            filter: String::new(),
            selected: None,
            sheet: None,
            asking: None,
            message: None,
            small: Cell::new(false),
            over: false,
            hurry: false,
        }
    }

    /// The shown view.
    pub(super) fn tab(&self) -> Tab {
        self.tab
    }

    /// Whether the person has left.
    pub(super) fn over(&self) -> bool {
        self.over
    }

    /// Whether the node is to be asked at once; the answer takes the question back.
    pub(super) fn take_hurry(&mut self) -> bool {
        std::mem::take(&mut self.hurry)
    }

    /// A failure to be shown.
    pub(super) fn say_bad(&mut self, text: String) {
        self.message = Some((clean::line(&text), true));
    }

    fn say(&mut self, text: &str) {
        self.message = Some((clean::line(text), false));
    }

    /// What the node answered, or why it did not.
    pub(super) fn hear(&mut self, news: Result<News, String>) {
        match news {
            Ok(news) => {
                self.status = Some(news.status);
                self.stop = Some(news.stop);
                self.heard = Some(news.at);
                self.problem = None;
                // An answer for a view that was left meanwhile shows nothing of this one.
                if news.shown.tab() == self.tab {
                    self.shown = Some(news.shown);
                }
            }
            Err(why) => self.problem = Some(clean::line(&why)),
        }
    }

    /// What a wish came to.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Record(checked) => self.sheet = Some(Sheet::record(checked)),
            Done::NeedsPassphrase(signing) => self.ask(Asking::Passphrase(signing)),
            Done::Good(text) => self.say(&text),
            Done::Bad(text) => self.say_bad(text),
            Done::Text(title, lines) => self.sheet = Some(Sheet::text(title, lines)),
        }
    }

    /// The rows of the shown view.
    pub(super) fn rows(&self, now: u64) -> Vec<Row> {
        let (Some(status), Some(shown)) = (&self.status, &self.shown) else {
            return Vec::new();
        };
        let since = self.heard.map_or(0, |at| {
            u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
        });
        let mut rows = views::rows(shown, status, now, since);
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| wanted.is_empty() || row.text().to_lowercase().contains(&wanted));
        rows
    }

    /// The place of the selected row.
    pub(super) fn place(&self, rows: &[Row]) -> usize {
        let found = rows
            .iter()
            .position(|row| Some(&row.key) == self.selected.as_ref());
        found.unwrap_or(0)
    }

    /// The prompt of the line at the bottom and what is seen of what was typed.
    pub(super) fn prompt(&self) -> Option<(String, String)> {
        let (asking, typed) = self.asking.as_ref()?;
        let prompt = match asking {
            Asking::Filter => "filter: ".to_owned(),
            Asking::Command => ":".to_owned(),
            Asking::Word(checked) => {
                format!("Type {} to approve exactly this: ", word(checked))
            }
            Asking::Reason(_) => "Why? (Enter signs the refusal, Esc leaves it) ".to_owned(),
            Asking::Passphrase(_) => "Passphrase of your key: ".to_owned(),
            Asking::Estop => "Type stop to stop everything that can be reached: ".to_owned(),
        };
        let seen = match asking {
            Asking::Passphrase(_) => "*".repeat(typed.chars().count()),
            _ => typed.to_string(),
        };
        Some((prompt, seen))
    }

    fn ask(&mut self, asking: Asking) {
        let typed = match asking {
            Asking::Filter => self.filter.clone(),
            _ => String::new(),
        };
        self.message = None;
        self.asking = Some((asking, Zeroizing::new(typed)));
    }

    /// One input.
    pub(super) fn input(&mut self, input: Input) -> Option<Wish> {
        let Input::Key(key) = input else { return None };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            self.over = true;
            return None;
        }
        // What cannot be seen is not answered.
        if self.small.get() {
            self.over = key.code == KeyCode::Char('q');
            return None;
        }
        match self.asking.take() {
            Some((asking, typed)) => self.typed(asking, typed, key),
            None => self.pressed(key),
        }
    }

    /// A key while something is asked for.
    fn typed(
        &mut self,
        asking: Asking,
        mut typed: Zeroizing<String>,
        key: KeyEvent,
    ) -> Option<Wish> {
        let most = match asking {
            Asking::Passphrase(_) => PASSPHRASE_MAX_BYTES,
            _ => TEXT_MAX_CHARS,
        };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => {
                if matches!(asking, Asking::Filter) {
                    self.filter.clear();
                }
                if matches!(
                    asking,
                    Asking::Word(_) | Asking::Reason(_) | Asking::Passphrase(_)
                ) {
                    self.say("left as it is; nothing was signed");
                }
                return None;
            }
            KeyCode::Enter => return self.entered(asking, typed),
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char('u') if control => typed.clear(),
            KeyCode::Char(c) if !control && typed.len() + c.len_utf8() <= most => typed.push(c),
            _ => {}
        }
        if matches!(asking, Asking::Filter) {
            self.filter = typed.to_string();
        }
        self.asking = Some((asking, typed));
        None
    }

    /// What was asked for is there.
    fn entered(&mut self, asking: Asking, typed: Zeroizing<String>) -> Option<Wish> {
        let text = typed.trim();
        match asking {
            Asking::Filter => None,
            Asking::Command => self.command(text),
            Asking::Word(checked) if text == word(&checked) => {
                let (verdict, note) = (Verdict::Approve, None);
                Some(self.signs(
                    Signing {
                        checked,
                        verdict,
                        note,
                    },
                    None,
                ))
            }
            Asking::Word(_) => {
                self.say_bad("that is another word; nothing was signed".to_owned());
                None
            }
            Asking::Reason(checked) => {
                let note = (!text.is_empty()).then(|| text.to_owned());
                let verdict = Verdict::Reject;
                Some(self.signs(
                    Signing {
                        checked,
                        verdict,
                        note,
                    },
                    None,
                ))
            }
            Asking::Passphrase(signing) => Some(self.signs(signing, Some(Passphrase::new(typed)))),
            Asking::Estop if text.eq_ignore_ascii_case("stop") => {
                self.say("stopping everything that can be reached");
                Some(Wish::Estop(None))
            }
            Asking::Estop => {
                self.say_bad("nothing was stopped: that is another word".to_owned());
                None
            }
        }
    }

    fn signs(&mut self, signing: Signing, passphrase: Option<Passphrase>) -> Wish {
        self.sheet = None;
        self.say("signing");
        Wish::Sign(signing, passphrase)
    }

    /// A key while nothing is asked for.
    fn pressed(&mut self, key: KeyEvent) -> Option<Wish> {
        if let Some(sheet) = &mut self.sheet {
            return match sheet.key(key) {
                SheetKey::None => None,
                SheetKey::Close => {
                    self.sheet = None;
                    None
                }
                SheetKey::Approve => self.decides(Verdict::Approve),
                SheetKey::Reject => self.decides(Verdict::Reject),
                SheetKey::Stop(id) => Some(Wish::Stop(id)),
                SheetKey::Estop => {
                    self.ask(Asking::Estop);
                    None
                }
            };
        }
        self.message = None;
        match key.code {
            KeyCode::Char('q') => self.over = true,
            KeyCode::Char('?') | KeyCode::F(1) => {
                self.sheet = Some(Sheet::text("Keys and commands".to_owned(), views::help()));
            }
            KeyCode::Char('/') => self.ask(Asking::Filter),
            KeyCode::Char(':') => self.ask(Asking::Command),
            KeyCode::Char('!') => self.ask(Asking::Estop),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.go(self.tab.beside(true)),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => {
                self.go(self.tab.beside(false));
            }
            KeyCode::Char(c @ '1'..='5') => {
                let at = c.to_digit(10).and_then(|n| usize::try_from(n).ok());
                if let Some(tab) = at.and_then(|n| Tab::ALL.get(n - 1)) {
                    self.go(*tab);
                }
            }
            KeyCode::Down | KeyCode::Char('j') => self.walk(1),
            KeyCode::Up | KeyCode::Char('k') => self.walk(-1),
            KeyCode::PageDown => self.walk(10),
            KeyCode::PageUp => self.walk(-10),
            KeyCode::Home | KeyCode::Char('g') => self.walk(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.walk(isize::MAX),
            KeyCode::Enter => return self.open(),
            _ => {}
        }
        None
    }

    fn go(&mut self, tab: Tab) {
        if tab != self.tab {
            self.tab = tab;
            self.shown = None;
            self.selected = None;
            self.filter.clear();
            self.hurry = true;
        }
    }

    fn walk(&mut self, by: isize) {
        // Places do not depend on ages.
        let rows = self.rows(0);
        let last = rows.len().saturating_sub(1);
        let at = self.place(&rows).saturating_add_signed(by).min(last);
        self.selected = rows.get(at).map(|row| row.key.clone());
    }

    /// Opens the selected row.
    fn open(&mut self) -> Option<Wish> {
        let rows = self.rows(0);
        let row = rows.get(self.place(&rows))?;
        if self.tab == Tab::Approvals {
            return Some(Wish::Look(row.key.clone()));
        }
        self.sheet = Some(Sheet::text(row.title(), row.more.clone()));
        None
    }

    /// Asks for the word that the decision needs.
    fn decides(&mut self, verdict: Verdict) -> Option<Wish> {
        let sheet = self.sheet.as_ref()?;
        let checked = sheet.checked()?.clone();
        if verdict == Verdict::Approve && !sheet.read.get() {
            self.say_bad("read it to its end first: ↓, PgDn or End".to_owned());
            return None;
        }
        if let Err(failure) = checked.fit_to_sign() {
            self.say_bad(failure.message);
            return None;
        }
        self.ask(match verdict {
            Verdict::Approve => Asking::Word(checked),
            Verdict::Reject => Asking::Reason(checked),
        });
        None
    }

    /// A line of the command line.
    fn command(&mut self, line: &str) -> Option<Wish> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match (word, rest) {
            ("", _) => {}
            ("q" | "quit" | "exit", "") => self.over = true,
            ("help" | "?", "") => {
                self.sheet = Some(Sheet::text("Keys and commands".to_owned(), views::help()));
            }
            // Deciding begins with seeing: the sheet has the keys for it.
            ("show" | "approve" | "reject", id) if !id.is_empty() => {
                return Some(Wish::Look(id.to_owned()));
            }
            ("stop", id) if !id.is_empty() => return Some(Wish::Stop(id.to_owned())),
            ("estop", reason) => return Some(Wish::Estop(some(reason))),
            ("pause", reason) => return Some(Wish::Pause(some(reason))),
            ("resume", "") => return Some(Wish::Resume),
            ("ask", question) if !question.is_empty() => {
                self.say(&format!("asking the planner as {}", self.person));
                return Some(Wish::Ask(question.to_owned()));
            }
            ("filter", text) => self.filter = text.to_owned(),
            (name, "") => match Tab::ALL
                .iter()
                .find(|tab| tab.name().eq_ignore_ascii_case(name))
            {
                Some(tab) => self.go(*tab),
                None => self.unknown(name),
            },
            (name, _) => self.unknown(name),
        }
        None
    }

    fn unknown(&mut self, name: &str) {
        let name = format::cut(name, 40);
        self.say_bad(format!(
            "{name:?} is no command here, or something is missing or too much after it; press ? for the commands"
        ));
    }
}

/// What a person types to approve a record: the start of its id; for L3 what it moves.
fn word(checked: &Checked) -> String {
    match checked.record().level {
        Level::L3 => checked.record().target.as_str().to_owned(),
        _ => checked.short(),
    }
}
