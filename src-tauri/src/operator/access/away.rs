//! Browsers of other machines: where the console is open for them, and how much their sessions may do at most.

use super::Scope;
use crate::domain::base::{Code, Refusal};
use crate::node::config::console::{ConsoleConfig, MostAway};
use crate::node::context::alarms::AlarmKind;
use crate::operator::{Answer, Door};

/// The most that a session of another machine may do.
fn most(console: &ConsoleConfig) -> Scope {
    match console.most {
        MostAway::Read => Scope::Read,
        MostAway::Operate => Scope::Operate,
        MostAway::Admin => Scope::Admin,
    }
}

fn refused(code: Code, why: impl Into<String>) -> Refusal {
    Refusal::new(code, why)
}

impl Door {
    /// The most that a session of another machine may do; `None` where the console is not open for them.
    pub fn most_away(&self) -> Option<Scope> {
        self.handles.config.console.as_ref().map(most)
    }

    /// Whether a browser of another machine may name this node so in `Host`.
    pub fn is_host_away(&self, host: &str) -> bool {
        let console = self.handles.config.console.as_ref();
        console.is_some_and(|console| {
            let mut known = console.authorities();
            known.any(|(_, text)| text.eq_ignore_ascii_case(host))
        })
    }

    /// What stands before the path in a link for a browser of another machine: of `console.hosts` the one that is named,
    /// or the first; for a session that may do `scope`.
    ///
    /// # Errors
    /// `NOT_FOUND` without `[console]`, `DELIVERY_FAILED` with why while it is not open; `INVALID_PARAMS` for a host that is none
    /// of them; `NOT_AUTHORIZED` for a scope that is not given there.
    pub fn address_away(&self, host: Option<&str>, scope: Scope) -> Answer<String> {
        let Some(console) = &self.handles.config.console else {
            return Err(refused(
                Code::NotFound,
                "this node's console is for browsers of its own machine alone; [console] in config.toml opens it for a phone (docs/phone.md)",
            ));
        };
        let most = most(console);
        if scope > most {
            let why = format!(
                "a session of another machine may do {most} at most here, not {scope}: give --scope {most}, or change console.scope in config.toml"
            );
            return Err(refused(Code::NotAuthorized, why));
        }
        if console.port.get().is_none() {
            let mut alarms = self.handles.alarms.list().into_iter();
            let why = alarms.find(|alarm| alarm.kind == AlarmKind::ConsoleCertificate);
            let why = why.map_or_else(
                || "the console is being opened for other machines; try again".to_owned(),
                |alarm| format!("{}; {}", alarm.message, alarm.advice),
            );
            return Err(refused(Code::DeliveryFailed, why));
        }
        let mut all = console.authorities();
        let found = match host {
            None => all.next(),
            Some(asked) => all.find(|(known, text)| {
                known.name.eq_ignore_ascii_case(asked) || text.eq_ignore_ascii_case(asked)
            }),
        };
        found
            .map(|(_, text)| format!("https://{text}"))
            .ok_or_else(|| {
                let names: Vec<&str> = console
                    .hosts
                    .iter()
                    .map(|host| host.name.as_str())
                    .collect();
                let why = format!(
                    "host: {:?} is none of console.hosts in config.toml, which has {}",
                    host.unwrap_or_default(),
                    names.join(", ")
                );
                refused(Code::InvalidParams, why)
            })
    }
}
