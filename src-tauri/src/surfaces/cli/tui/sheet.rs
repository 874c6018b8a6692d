//! A sheet over the view: a proposal before a decision, or a text to read.

use std::cell::Cell;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::super::clean;
use super::super::layout;
use super::super::record::Checked;

/// What a sheet shows.
#[derive(Debug)]
enum Content {
    /// A record, checked here.
    Record(Arc<Checked>),
    /// Lines, broken where they are too wide.
    Lines(Vec<String>),
}

/// What a key on a sheet means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SheetKey {
    /// The sheet has used it.
    None,
    /// The sheet is to be closed.
    Close,
    /// The person wants to approve what is shown.
    Approve,
    /// The person wants to reject what is shown.
    Reject,
    /// The run of this proposal is to be stopped.
    Stop(String),
    /// Everything is to be stopped.
    Estop,
}

/// A sheet.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Its heading.
    pub title: String,
    /// What its keys do, for the last line.
    pub keys: &'static str,
    content: Content,
    /// Lines that have gone up.
    pub scroll: usize,
    /// Whether its end has been on the screen; drawing tells.
    pub read: Cell<bool>,
    /// Most lines that can go up; drawing tells.
    pub most: Cell<usize>,
}

impl Sheet {
    /// A proposal.
    pub(super) fn record(checked: Arc<Checked>) -> Self {
        Self {
            title: format!("Proposal {}", checked.short()),
            keys: "↑↓ read on; at its end: a approve  r reject  s stop its run  Esc close",
            content: Content::Record(checked),
            scroll: 0,
            read: Cell::new(false),
            most: Cell::new(usize::MAX),
        }
    }

    /// A text.
    pub(super) fn text(title: String, lines: Vec<String>) -> Self {
        Self {
            title: clean::line(&title),
            keys: "↑↓ read on  Esc close",
            content: Content::Lines(lines),
            scroll: 0,
            read: Cell::new(false),
            most: Cell::new(usize::MAX),
        }
    }

    /// The record that it shows.
    pub(super) fn checked(&self) -> Option<&Arc<Checked>> {
        match &self.content {
            Content::Record(checked) => Some(checked),
            Content::Lines(_) => None,
        }
    }

    /// A key.
    pub(super) fn key(&mut self, key: KeyEvent) -> SheetKey {
        let of_record = self
            .checked()
            .map(|c| c.record().proposal_id.as_str().to_owned());
        self.scroll = self.scroll.min(self.most.get());
        match (key.code, of_record) {
            (KeyCode::Esc | KeyCode::Char('q') | KeyCode::Backspace, _) => return SheetKey::Close,
            (KeyCode::Char('!'), _) => return SheetKey::Estop,
            (KeyCode::Char('a'), Some(_)) => return SheetKey::Approve,
            (KeyCode::Char('r'), Some(_)) => return SheetKey::Reject,
            (KeyCode::Char('s'), Some(id)) => return SheetKey::Stop(id),
            (KeyCode::End | KeyCode::Char('G'), _) => self.scroll = usize::MAX,
            (KeyCode::Down | KeyCode::Char('j'), _) => self.scroll = self.scroll.saturating_add(1),
            (KeyCode::Up | KeyCode::Char('k'), _) => self.scroll = self.scroll.saturating_sub(1),
            (KeyCode::PageDown | KeyCode::Char(' '), _) => {
                self.scroll = self.scroll.saturating_add(10);
            }
            (KeyCode::PageUp, _) => self.scroll = self.scroll.saturating_sub(10),
            (KeyCode::Home, _) => self.scroll = 0,
            _ => {}
        }
        SheetKey::None
    }

    /// Its lines, none wider than `width` columns.
    pub(super) fn lines(&self, now: u64, width: usize) -> Vec<String> {
        match &self.content {
            Content::Record(checked) => {
                let text = checked.text(now, width);
                text.lines().map(str::to_owned).collect()
            }
            Content::Lines(lines) => {
                let broken = lines.iter().flat_map(|line| {
                    let line = clean::clean(line);
                    layout::hang(&line, width)
                });
                broken.collect()
            }
        }
    }
}
