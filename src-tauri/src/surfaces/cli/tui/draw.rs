//! Drawing. Words carry every meaning; colour only repeats it, and none is used where `NO_COLOR` is set.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row as TableRow, Table, TableState};
use unicode_width::UnicodeWidthStr as _;

use super::super::{format, layout};
use super::sheet::Sheet;
use super::state::App;
use super::views::{self, Row, Weight};
use super::wish::Tab;

/// Columns and rows below which nothing can be read.
const NARROWEST: (u16, u16) = (60, 10);
/// Columns that a column other than the last takes at most.
const COLUMN_MAX: usize = 36;
/// Columns that the last one keeps.
const LAST_MIN: usize = 10;

fn style(weight: Weight) -> Style {
    let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match (weight, coloured) {
        (Weight::Plain, _) => Style::new(),
        (Weight::Warning, true) => Style::new().fg(Color::Yellow),
        (Weight::Critical, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (_, false) => Style::new().add_modifier(Modifier::BOLD),
    }
}

/// Draws everything.
pub(super) fn all(frame: &mut Frame<'_>, app: &App, now: u64) {
    let area = frame.area();
    let small = area.width < NARROWEST.0 || area.height < NARROWEST.1;
    app.small.set(small);
    if small {
        let (width, height) = NARROWEST;
        let text = format!("This terminal is too small: {width}×{height} at least. q leaves.");
        let lines = layout::wrap(&text, usize::from(area.width).max(1));
        let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
        frame.render_widget(Paragraph::new(lines), area);
        return;
    }
    let alarms = alarms(app, usize::from(area.width));
    let alarm_rows = u16::try_from(alarms.len()).unwrap_or(u16::MAX);
    let [top, warned, tabs, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(alarm_rows.min(area.height / 3)),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(app)), top);
    frame.render_widget(Paragraph::new(alarms), warned);
    match &app.sheet {
        Some(sheet) => over(frame, sheet, tabs, body, now),
        None => {
            frame.render_widget(Paragraph::new(tab_line(app)), tabs);
            table(frame, app, body, now);
        }
    }
    foot(frame, app, bottom);
}

/// The node, its mesh, and whether what is shown is fresh.
fn heading(app: &App) -> Line<'static> {
    let (node, mesh) = match &app.status {
        Some(s) => (
            format::who(Some(&s.display_name), &s.device_id),
            format::name(s.mesh_name.as_deref().unwrap_or("unnamed")),
        ),
        None => ("asking the node…".to_owned(), String::new()),
    };
    let demo = app.status.as_ref().is_some_and(|s| s.demo);
    let links = app.status.as_ref().map_or(0, |s| s.peers.len());
    let mut spans = vec![
        Span::styled("ClawMesh ", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!(
            "{node}  mesh {mesh}  {links} {}",
            if links == 1 { "link" } else { "links" }
        )),
    ];
    if demo {
        spans.push(Span::raw("  DEMONSTRATION"));
    }
    Line::from(spans)
}

/// What stands: no answer, the emergency stop, alarms. Broken into lines.
fn alarms(app: &App, width: usize) -> Vec<Line<'static>> {
    let mut said = Vec::new();
    if let Some(why) = &app.problem {
        let since = app.heard.map_or_else(String::new, |at| {
            let ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            format!(" What is shown is {} old.", format::span(ms))
        });
        said.push((Weight::Critical, format!("NO ANSWER: {why}.{since}")));
    }
    if let Some(latch) = app.stop.as_ref().and_then(|stop| stop.latch.as_ref()) {
        let text = format!(
            "EMERGENCY STOP latched here by {}: {}",
            latch.by, latch.reason
        );
        said.push((Weight::Critical, text));
    }
    for alarm in app.status.iter().flat_map(|s| &s.alarms) {
        let word = format::code(alarm.severity).to_uppercase();
        said.push((
            views::weight(alarm.severity),
            format!("{word}: {}", alarm.message),
        ));
    }
    let lines = said.into_iter().flat_map(|(weight, text)| {
        let lines = layout::hang(&super::super::clean::line(&text), width);
        lines
            .into_iter()
            .map(move |line| Line::styled(line, style(weight)))
    });
    lines.collect()
}

fn tab_line(app: &App) -> Line<'static> {
    let waiting = app.status.as_ref().map_or(0, |s| s.proposals_waiting);
    let mut spans = Vec::new();
    for (n, tab) in Tab::ALL.into_iter().enumerate() {
        let count = match tab {
            Tab::Approvals if waiting > 0 => format!(" ({waiting})"),
            _ => String::new(),
        };
        let mut style = Style::new();
        if tab == app.tab() {
            style = style.add_modifier(Modifier::REVERSED);
        }
        spans.push(Span::styled(
            format!(" {} {}{count} ", n + 1, tab.name()),
            style,
        ));
    }
    if !app.filter.is_empty() {
        let filter = format::cut(&super::super::clean::line(&app.filter), 20);
        spans.push(Span::raw(format!(" only: {filter}")));
    }
    Line::from(spans)
}

fn table(frame: &mut Frame<'_>, app: &App, area: Rect, now: u64) {
    let Some(shown) = &app.shown else {
        return frame.render_widget(Paragraph::new("asking the node…"), area);
    };
    let rows = app.rows(now);
    if rows.is_empty() {
        let text = match app.filter.is_empty() {
            true => views::nothing(shown),
            false => "No row holds that text; Esc shows all.",
        };
        return frame.render_widget(Paragraph::new(text), area);
    }
    let head = &views::head(shown)[..views::columns(shown, area.width)];
    let widths = widths(head, &rows, usize::from(area.width));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let drawn = rows.iter().map(|row| {
        let cells = row.cells.iter().take(head.len());
        let cells = cells.map(|cell| Cell::from(cell.as_str()));
        TableRow::new(cells).style(style(row.weight))
    });
    let table = Table::new(drawn, widths)
        .header(TableRow::new(head.iter().map(|h| Cell::from(*h))).style(bold))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(app.place(&rows));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Each column as wide as its widest cell, within bounds; the last one has what is left. Where that is too
/// little, the widest give way.
fn widths(head: &[&str], rows: &[Row], width: usize) -> Vec<Constraint> {
    let wide = |n: usize, name: &str| {
        let cells = rows.iter().filter_map(|row| row.cells.get(n));
        let most = cells.map(|cell| cell.width()).max().unwrap_or(0);
        let last = n + 1 == head.len();
        let most = most.max(name.width());
        most.min(if last { LAST_MIN } else { COLUMN_MAX })
    };
    let mut all: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(n, name)| wide(n, name))
        .collect();
    let spaces = all.len().saturating_sub(1);
    let over = |all: &[usize]| (all.iter().sum::<usize>() + spaces).saturating_sub(width);
    while over(&all) > 0 {
        match all.iter_mut().max() {
            Some(widest) if *widest > 6 => *widest -= 1,
            _ => break,
        }
    }
    let last = all.len().saturating_sub(1);
    let constraint = |(n, width): (usize, usize)| {
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        if n == last {
            Constraint::Min(width)
        } else {
            Constraint::Length(width)
        }
    };
    all.into_iter().enumerate().map(constraint).collect()
}

/// A sheet in place of the view.
fn over(frame: &mut Frame<'_>, sheet: &Sheet, title: Rect, body: Rect, now: u64) {
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Line::styled(format!(" {} ", sheet.title), reversed), title);
    frame.render_widget(Clear, body);
    let lines = sheet.lines(now, usize::from(body.width));
    let height = usize::from(body.height);
    let most = lines.len().saturating_sub(height);
    sheet.most.set(most);
    let first = sheet.scroll.min(most);
    let below = lines.len().saturating_sub(first + height);
    if below == 0 {
        sheet.read.set(true);
    }
    let mut shown: Vec<Line<'_>> = lines
        .into_iter()
        .skip(first)
        .take(height)
        .map(Line::from)
        .collect();
    if below > 0
        && let Some(last) = shown.last_mut()
    {
        *last = Line::styled(format!("… {} more lines, ↓", below + 1), reversed);
    }
    frame.render_widget(Paragraph::new(shown), body);
}

/// What is asked for, the last message, or the keys.
fn foot(frame: &mut Frame<'_>, app: &App, area: Rect) {
    if let Some((prompt, typed)) = app.prompt() {
        // The end of what is typed stays in sight.
        let room = usize::from(area.width).saturating_sub(prompt.width() + 1);
        let over = typed.chars().count().saturating_sub(room);
        let seen: String = typed.chars().skip(over).collect();
        let text = format!("{prompt}{}", super::super::clean::clean(&seen));
        let at = u16::try_from(text.width()).unwrap_or(u16::MAX);
        frame.render_widget(Paragraph::new(text), area);
        let x = area
            .x
            .saturating_add(at)
            .min(area.right().saturating_sub(1));
        return frame.set_cursor_position((x, area.y));
    }
    let line = match (&app.message, &app.sheet) {
        (Some((text, true)), _) => Line::styled(text.clone(), style(Weight::Critical)),
        (Some((text, false)), _) => Line::from(text.clone()),
        (None, Some(sheet)) => Line::from(sheet.keys),
        (None, None) => {
            Line::from("Enter open  / filter  : command  ! emergency stop  ? help  q leave")
        }
    };
    frame.render_widget(Paragraph::new(line), area);
}
