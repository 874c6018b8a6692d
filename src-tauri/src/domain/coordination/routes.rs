//! The rules by which a message finds a node: a text in TOML that people edit and that carries its own tests. A rule looks at
//! the message and at the nodes; the first that takes the message and has a node for it decides.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::domain::base::limits::{
    GROUPS_MAX, MESSAGE_TIMEOUT_MAX_MS, NAME_MAX_BYTES, ROUTE_LIST_MAX,
    ROUTE_PATTERN_COMPILED_MAX_BYTES, ROUTE_PATTERN_MAX_BYTES, ROUTE_PATTERN_TEXT_MAX_BYTES,
    ROUTE_PATTERNS_MAX, ROUTE_RULES_MAX, ROUTE_TESTS_MAX, ROUTES_MAX_BYTES,
};
use crate::domain::base::text::one_line;

use super::profile::SkillKind;

/// Where a message comes from, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The text.
    pub text: &'a str,
    /// The surface: `cli`, `console`, `telegram`, `mcp`, `http`.
    pub source: &'a str,
    /// Who sent it, as that surface names them. `sticky` keeps one sender at one node.
    pub sender: &'a str,
}

/// What a rule wants of a message; everything that is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageMatch {
    /// The surface it comes from is one of these.
    pub source: Vec<String>,
    /// Who sent it is one of these.
    pub sender: Vec<String>,
    /// It begins so, whatever its letters' case.
    pub prefix: Option<String>,
    /// It has each of these words, whatever their letters' case.
    pub words: Vec<String>,
    /// A regular expression that is found in it.
    pub regex: Option<String>,
}

/// What a rule wants of a node; everything that is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeMatch {
    /// It is one of these, by name or device id.
    pub name: Vec<String>,
    /// It is in this group.
    pub group: Option<String>,
    /// Its operating system.
    pub os: Option<String>,
    /// Its processor architecture.
    pub arch: Option<String>,
    /// Whether it has a graphics processor that models can use.
    pub gpu: Option<bool>,
    /// It has each of these skills, and can use them.
    pub skills: Vec<String>,
    /// It has one of these skills, and can use it.
    pub any_skill: Vec<String>,
    /// It has a skill of this kind that it can use.
    pub skill_kind: Option<SkillKind>,
    /// It has each of these tags.
    pub tags: Vec<String>,
}

/// How one of several nodes that fit is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The one with the fewest messages under way.
    #[default]
    LeastBusy,
    /// Each in turn.
    RoundRobin,
    /// Each in turn, as often as its weight says.
    Weighted,
    /// One sender's messages at one node while it is there.
    Sticky,
    /// The one whose link answers fastest.
    Latency,
}

/// What becomes of a message whose node stopped answering after it took it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// It goes to another node only when nothing was run for it.
    #[default]
    Safe,
    /// It goes to another node, also where the first may have acted on it.
    Always,
    /// It goes to one node, once.
    Never,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for people; no two have the same.
    pub name: String,
    /// Whether it is left out.
    #[serde(default)]
    pub disabled: bool,
    /// What it wants of the message.
    #[serde(default)]
    pub message: MessageMatch,
    /// What it wants of the node.
    #[serde(default)]
    pub node: NodeMatch,
    /// The gateway whose agents it goes to.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The agent it goes to; the node's first where absent.
    #[serde(default)]
    pub agent: Option<String>,
    /// How one of several nodes is chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// How often each node is chosen, by name or device id, for `weighted`; 1 where it is not named.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// What becomes of a message whose node stopped answering.
    #[serde(default)]
    pub retry: Retry,
    /// How long a message of this rule may take, in seconds.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// One test that the rules carry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTest {
    /// The text of the message.
    pub message: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: String,
    /// Who sent it.
    #[serde(default)]
    pub sender: String,
    /// The first rule that looks for a node for it; absent where none does.
    #[serde(default)]
    pub rule: Option<String>,
}

/// A group of nodes: those that are named, or that are as it says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Which nodes are in it.
    pub node: NodeMatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
    #[serde(default, rename = "test")]
    tests: Vec<RouteTest>,
    #[serde(default, rename = "group")]
    groups: Vec<Group>,
}

/// A rule that can be used, its pattern compiled.
#[derive(Debug, Clone)]
pub struct Ready {
    rule: Rule,
    pattern: Option<Regex>,
}

impl std::ops::Deref for Ready {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        &self.rule
    }
}

/// Rules whose own tests hold.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    rules: Vec<Ready>,
    groups: BTreeMap<String, NodeMatch>,
    tests: usize,
}

impl Routes {
    /// Reads rules and tries their tests.
    ///
    /// # Errors
    /// A sentence that says which rule or test is at fault, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > ROUTES_MAX_BYTES {
            return Err(format!("the rules have more than {ROUTES_MAX_BYTES} bytes"));
        }
        let written: Written = toml::from_str(text).map_err(|e| e.to_string())?;
        if written.version != 1 {
            return Err(format!(
                "version = {} is not known here; write version = 1",
                written.version
            ));
        }
        if written.rules.len() > ROUTE_RULES_MAX {
            return Err(format!("there are more than {ROUTE_RULES_MAX} rules"));
        }
        if written.tests.len() > ROUTE_TESTS_MAX {
            return Err(format!("there are more than {ROUTE_TESTS_MAX} tests"));
        }
        if written.groups.len() > GROUPS_MAX {
            return Err(format!("there are more than {GROUPS_MAX} groups"));
        }
        let mut groups = BTreeMap::new();
        for group in written.groups {
            let name = group.name;
            let bad = |why: String| format!("group {name:?}: {why}");
            plain("its name", &name).map_err(bad)?;
            group.node.checked().map_err(bad)?;
            if group.node == NodeMatch::default() || group.node.group.is_some() {
                let why = "node must say which nodes are in it, and name no other group";
                return Err(bad(why.to_owned()));
            }
            if groups.insert(name.clone(), group.node).is_some() {
                return Err(format!("two groups are called {name:?}"));
            }
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(written.rules.len());
        for rule in written.rules {
            if !names.insert(rule.name.clone()) {
                return Err(format!("two rules are called {:?}", rule.name));
            }
            let name = rule.name.clone();
            let ready = Ready::new(rule).map_err(|why| format!("rule {name:?}: {why}"))?;
            if let Some(group) = ready
                .node
                .group
                .as_ref()
                .filter(|g| !groups.contains_key(*g))
            {
                return Err(format!("rule {name:?}: there is no group {group:?}"));
            }
            rules.push(ready);
        }
        let patterns = rules.iter().filter(|rule| rule.pattern.is_some()).count();
        if patterns > ROUTE_PATTERNS_MAX {
            return Err(format!("more than {ROUTE_PATTERNS_MAX} rules have a regex"));
        }
        let tests = written.tests.len();
        let routes = Self {
            rules,
            groups,
            tests,
        };
        for (at, test) in written.tests.iter().enumerate() {
            let failed = routes.fails(test);
            if let Some(why) = failed {
                return Err(format!("test {} ({:?}): {why}", at + 1, test.message));
            }
        }
        Ok(routes)
    }

    /// The rules in their order, those that are left out too.
    pub fn rules(&self) -> &[Ready] {
        &self.rules
    }

    /// Which nodes are in a group.
    pub fn group(&self, name: &str) -> Option<&NodeMatch> {
        self.groups.get(name)
    }

    /// The names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &String> {
        self.groups.keys()
    }

    /// How many tests hold.
    pub fn tests(&self) -> usize {
        self.tests
    }

    fn fails(&self, test: &RouteTest) -> Option<String> {
        let message = Incoming {
            text: &test.message,
            source: &test.source,
            sender: &test.sender,
        };
        let message = Reading::of(&message);
        let first = self
            .rules
            .iter()
            .find(|rule| rule.refuses(&message).is_none());
        let first = first.map(|rule| rule.name.as_str());
        let words =
            |name: Option<&str>| name.map_or("no rule".to_owned(), |n| format!("rule {n:?}"));
        (first != test.rule.as_deref()).then(|| {
            format!(
                "{} takes it, not {}",
                words(first),
                words(test.rule.as_deref())
            )
        })
    }
}

fn plain(what: &str, text: &str) -> Result<(), String> {
    let good =
        !text.is_empty() && text.len() <= NAME_MAX_BYTES && one_line(text, NAME_MAX_BYTES) == text;
    match good {
        true => Ok(()),
        false => Err(format!(
            "{what} must have 1 to {NAME_MAX_BYTES} bytes in one line"
        )),
    }
}

/// Checks lists and texts by their names.
fn bounded(
    lists: &[(&str, &Vec<String>)],
    texts: &[(&str, &Option<String>)],
) -> Result<(), String> {
    for (what, list) in lists {
        if list.len() > ROUTE_LIST_MAX {
            return Err(format!("{what} has more than {ROUTE_LIST_MAX} entries"));
        }
        list.iter().try_for_each(|entry| plain(what, entry))?;
    }
    let mut texts = texts.iter();
    texts.try_for_each(|(what, text)| text.as_deref().map_or(Ok(()), |text| plain(what, text)))
}

impl NodeMatch {
    fn checked(&self) -> Result<(), String> {
        if self.skill_kind == Some(SkillKind::Other) {
            return Err("node.skill_kind must be \"tool\"".to_owned());
        }
        bounded(
            &[
                ("node.name", &self.name),
                ("node.skills", &self.skills),
                ("node.any_skill", &self.any_skill),
                ("node.tags", &self.tags),
            ],
            &[
                ("node.group", &self.group),
                ("node.os", &self.os),
                ("node.arch", &self.arch),
            ],
        )
    }
}

impl Ready {
    fn new(rule: Rule) -> Result<Self, String> {
        plain("its name", &rule.name)?;
        let message = &rule.message;
        rule.node.checked()?;
        bounded(
            &[
                ("message.source", &message.source),
                ("message.sender", &message.sender),
                ("message.words", &message.words),
            ],
            &[
                ("message.prefix", &message.prefix),
                ("gateway", &rule.gateway),
                ("agent", &rule.agent),
            ],
        )?;
        if rule.weights.len() > ROUTE_LIST_MAX || rule.weights.values().any(|w| *w > 1_000) {
            return Err(format!(
                "weights: at most {ROUTE_LIST_MAX} nodes, each from 0 to 1000"
            ));
        }
        if !rule.weights.is_empty() && rule.strategy != Strategy::Weighted {
            return Err("weights count with strategy = \"weighted\" alone".to_owned());
        }
        let most = MESSAGE_TIMEOUT_MAX_MS / 1_000;
        if rule.timeout_s.is_some_and(|s| s == 0 || s > most) {
            return Err(format!("timeout_s must be from 1 to {most}"));
        }
        let pattern = message.regex.as_deref().map(|pattern| {
            if pattern.len() > ROUTE_PATTERN_MAX_BYTES {
                return Err(format!(
                    "message.regex has more than {ROUTE_PATTERN_MAX_BYTES} bytes"
                ));
            }
            let built = RegexBuilder::new(pattern)
                .size_limit(ROUTE_PATTERN_COMPILED_MAX_BYTES)
                .build();
            built.map_err(|e| format!("message.regex: {e}"))
        });
        Ok(Self {
            pattern: pattern.transpose()?,
            rule,
        })
    }

    /// Why it does not take a message; `None` where it does.
    pub fn refuses(&self, message: &Reading<'_>) -> Option<String> {
        if self.disabled {
            return Some("it is disabled".to_owned());
        }
        let (wants, said) = (&self.message, message.message);
        let listed = |list: &[String], is: &str| list.is_empty() || list.iter().any(|s| s == is);
        if !listed(&wants.source, said.source) {
            return Some(format!("the message comes from {:?}", said.source));
        }
        if !listed(&wants.sender, said.sender) {
            return Some(format!("{:?} sent it", said.sender));
        }
        if let Some(prefix) = &wants.prefix
            && !message.folded.starts_with(&prefix.to_lowercase())
        {
            return Some(format!("it does not begin with {prefix:?}"));
        }
        let words = &message.words;
        let missing = |word: &&String| !words.contains(&word.to_lowercase());
        if let Some(word) = wants.words.iter().find(missing) {
            return Some(format!("the word {word:?} is not in it"));
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(message.begin)
        {
            return Some(format!("{pattern} is not found in it"));
        }
        None
    }
}

/// A message as rules read it, made once for all of them.
#[derive(Debug)]
pub struct Reading<'a> {
    message: &'a Incoming<'a>,
    folded: String,
    words: HashSet<String>,
    /// As far as patterns look.
    begin: &'a str,
}

impl<'a> Reading<'a> {
    /// Reads a message.
    pub fn of(message: &'a Incoming<'a>) -> Self {
        let folded = message.text.to_lowercase();
        let apart = |c: char| !c.is_alphanumeric() && c != '-' && c != '_';
        let words = folded.split(apart).filter(|w| !w.is_empty());
        let words = words.map(str::to_owned).collect();
        let mut end = message.text.len().min(ROUTE_PATTERN_TEXT_MAX_BYTES);
        while !message.text.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            message,
            words,
            folded,
            begin: message.text.get(..end).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
