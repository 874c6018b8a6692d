//! From the text of `site.toml` to checked sites, or to everything that is wrong with it. It walks
//! the parsed text itself, so that each mistake has its line and none hides the others.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Asset, KINDS, Limits, Metric, Plan, Point, Problem, Site, Zone};
use crate::domain::base::limits::{
    NAME_MAX_BYTES, SITE_ASSETS_MAX, SITE_FILE_MAX_BYTES, SITE_OUTLINE_MAX_POINTS,
    SITE_PROBLEMS_MAX, SITE_ZONE_METRICS_MAX, SITE_ZONES_MAX, SITES_MAX,
};
use crate::domain::base::text::type_in_words;
use crate::domain::capability::Capability;

/// The age after which a value counts as old where the file says nothing, in seconds.
const STALE_SEC: f64 = 60.0;
/// The largest age that can be asked for, in seconds.
const STALE_MAX_SEC: f64 = 30.0 * 86_400.0;
/// The largest coordinate or limit: beyond it nothing is drawn to the point.
const NUMBER_MAX: f64 = 1e15;

const TOP: &[&str] = &["version", "site"];
const SITE: &[&str] = &["id", "name", "plan", "zone", "asset"];
const ZONE: &[&str] = &["id", "name", "outline", "zone", "device", "metrics"];
const METRIC: &[&str] = &[
    "metric",
    "unit",
    "low",
    "high",
    "limits",
    "near",
    "stale_sec",
];
const ASSET: &[&str] = &[
    "id", "name", "kind", "x", "y", "zone", "device", "actuator", "sensor",
];

/// Reads a `site.toml`. `plan_of` gives the plan with that path, or says why there is none.
///
/// Gives the sites in which nothing is wrong, and every mistake in the order of its line, at most
/// [`SITE_PROBLEMS_MAX`]. A mistake outside the sites spoils them all.
pub fn read(
    text: &str,
    plan_of: &mut dyn FnMut(&str) -> Result<Plan, String>,
) -> (Vec<Site>, Vec<Problem>) {
    let whole = |why: String| Problem {
        line: 0,
        key: String::new(),
        why,
    };
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SITE_FILE_MAX_BYTES {
        let why = format!("it is larger than {} KiB", SITE_FILE_MAX_BYTES / 1024);
        return (Vec::new(), vec![whole(why)]);
    }
    let mut reader = Reader {
        text,
        problems: Vec::new(),
        zones: 0,
        assets: 0,
    };
    let (document, broken) = DeTable::parse_recoverable(text);
    for error in broken {
        let at = error.span().map_or(0, |s| s.start);
        reader.problem(at, "", type_in_words(error.message()));
    }
    let sites = match reader.problems.is_empty() {
        true => reader.file(document.get_ref(), plan_of),
        false => Vec::new(),
    };
    let mut problems = reader.problems;
    problems.sort_by_key(|p| p.line);
    problems.truncate(SITE_PROBLEMS_MAX);
    (sites, problems)
}

/// A path below the state directory to an SVG file: no way out of it is written.
///
/// # Errors
/// What is wrong with it.
pub fn plan_path(text: &str) -> Result<&str, String> {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
    if text.is_empty() || text.len() > NAME_MAX_BYTES || text.contains(odd) {
        return Err(format!(
            "a plan is a file name of 1 to {NAME_MAX_BYTES} bytes without `\\`, `:` and control characters"
        ));
    }
    if text.starts_with('/') {
        return Err(format!(
            "{text:?} is absolute; a plan lies in the state directory, for example plan.svg"
        ));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "{text:?} has an empty part, `.` or `..`; a plan lies in the state directory, for example plan.svg"
        ));
    }
    if !text.to_ascii_lowercase().ends_with(".svg") {
        return Err(format!("{text:?} is no .svg file"));
    }
    Ok(text)
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    zones: usize,
    assets: usize,
}

/// A table of the file and where it stands.
#[derive(Clone, Copy)]
struct Part<'d, 'i> {
    place: &'static str,
    at: usize,
    map: &'d DeTable<'i>,
}

type Value<'d, 'i> = &'d Spanned<DeValue<'i>>;

impl<'d, 'i> Part<'d, 'i> {
    fn get(&self, key: &str) -> Option<Value<'d, 'i>> {
        self.map
            .iter()
            .find(|(k, _)| k.get_ref() == key)
            .map(|(_, v)| v)
    }

    fn path(&self, key: &str) -> String {
        match self.place {
            "" => key.to_owned(),
            place => format!("{place}.{key}"),
        }
    }
}

fn start(value: Value<'_, '_>) -> usize {
    let Range { start, .. } = value.span();
    start
}

fn amount(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .ok()
            .map(|n| n.to_string())?,
        DeValue::Float(f) => f.as_str().to_owned(),
        _ => return None,
    };
    number
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite() && n.abs() <= NUMBER_MAX)
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, key: impl Into<String>, why: impl Into<String>) {
        if self.problems.len() > SITE_PROBLEMS_MAX {
            return;
        }
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        self.problems.push(Problem {
            line,
            key: key.into(),
            why: why.into(),
        });
    }

    /// Complains about keys that are none.
    fn only(&mut self, part: Part<'_, '_>, known: &[&str]) {
        for (key, _) in part
            .map
            .iter()
            .filter(|(k, _)| !known.contains(&k.get_ref().as_ref()))
        {
            let shown: String = key.get_ref().chars().take(60).collect();
            let why = format!(
                "there is no key {shown:?} here; there are {}",
                known.join(", ")
            );
            self.problem(key.span().start, part.path(&shown), why);
        }
    }

    fn missing(&mut self, part: Part<'_, '_>, key: &str) {
        self.problem(part.at, part.path(key), format!("{key} is missing"));
    }

    /// A text of a sensible length; `None` if there is none, or a wrong one, which is told.
    fn text(&mut self, part: Part<'_, '_>, key: &str) -> Option<String> {
        let value = part.get(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            _ => {
                self.problem(
                    start(value),
                    part.path(key),
                    "this must be a text in quotes",
                );
                return None;
            }
        };
        if text.trim().is_empty()
            || text.len() > NAME_MAX_BYTES
            || text.chars().any(char::is_control)
        {
            let why =
                format!("this must have 1 to {NAME_MAX_BYTES} bytes and no control characters");
            self.problem(start(value), part.path(key), why);
            return None;
        }
        Some(text.to_owned())
    }

    fn needed(&mut self, part: Part<'_, '_>, key: &str) -> Option<String> {
        if part.get(key).is_none() {
            self.missing(part, key);
        }
        self.text(part, key)
    }

    /// An id: it becomes part of addresses.
    fn id(&mut self, part: Part<'_, '_>, seen: &mut BTreeSet<String>) -> Option<String> {
        let id = self.needed(part, "id")?;
        let at = part.get("id").map_or(part.at, start);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !id.chars().all(plain) {
            let why = format!("{id:?}: an id has ASCII letters, digits, `-` and `_` only");
            self.problem(at, part.path("id"), why);
            return None;
        }
        if !seen.insert(id.clone()) {
            self.problem(at, part.path("id"), format!("the id {id:?} is used twice"));
            return None;
        }
        Some(id)
    }

    fn number(&mut self, part: Part<'_, '_>, key: &str) -> Option<f64> {
        let value = part.get(key)?;
        let found = amount(value.get_ref());
        if found.is_none() {
            self.problem(start(value), part.path(key), "this must be a number");
        }
        found
    }

    /// The tables of a list.
    fn tables<'d, 'i>(
        &mut self,
        part: Part<'d, 'i>,
        key: &str,
        place: &'static str,
    ) -> Vec<Part<'d, 'i>> {
        let Some(value) = part.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(list) = value.get_ref() else {
            let why = format!("this must be a list of tables, [[{place}]]");
            self.problem(start(value), part.path(key), why);
            return Vec::new();
        };
        let mut found = Vec::new();
        for one in list.iter() {
            match one.get_ref() {
                DeValue::Table(map) => found.push(Part {
                    place,
                    at: start(one),
                    map,
                }),
                _ => self.problem(
                    start(one),
                    part.path(key),
                    "this must be a table, { key = value }",
                ),
            }
        }
        found
    }

    fn file(
        &mut self,
        map: &DeTable<'_>,
        plan_of: &mut dyn FnMut(&str) -> Result<Plan, String>,
    ) -> Vec<Site> {
        let top = Part {
            place: "",
            at: 0,
            map,
        };
        self.only(top, TOP);
        match (top.get("version"), self.number(top, "version")) {
            (None, _) => self.problem(0, "version", "version is missing; write version = 1"),
            (Some(value), Some(version)) if (version - 1.0).abs() > f64::EPSILON => {
                self.problem(
                    start(value),
                    "version",
                    format!("version {version} is not known; write version = 1"),
                );
            }
            _ => {}
        }
        let parts = self.tables(top, "site", "site");
        if parts.is_empty() {
            self.problem(
                0,
                "site",
                "there is no site; write [[site]] with id, name and plan",
            );
        }
        if let Some(over) = parts.get(SITES_MAX) {
            self.problem(
                over.at,
                "site",
                format!("there are more than {SITES_MAX} sites"),
            );
            return Vec::new();
        }
        let whole_file = self.problems.len();
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut sites = Vec::new();
        for part in parts {
            let before = self.problems.len();
            let site = self.site(part, (&mut ids, &mut names), plan_of);
            sites.extend(site.filter(|_| self.problems.len() == before && whole_file == 0));
        }
        sites
    }

    fn site(
        &mut self,
        part: Part<'_, '_>,
        (ids, names): (&mut BTreeSet<String>, &mut BTreeSet<String>),
        plan_of: &mut dyn FnMut(&str) -> Result<Plan, String>,
    ) -> Option<Site> {
        self.only(part, SITE);
        let id = self.id(part, ids);
        let name = self.needed(part, "name");
        if let Some(name) = name.as_ref().filter(|n| !names.insert((*n).clone())) {
            let at = part.get("name").map_or(part.at, start);
            self.problem(at, "site.name", format!("two sites are called {name:?}"));
        }
        let path = self.needed(part, "plan");
        let drawn = path
            .as_ref()
            .map(|path| plan_path(path).and_then(&mut *plan_of));
        let plan = match drawn {
            Some(Ok(plan)) => Some(plan),
            Some(Err(why)) => {
                let at = part.get("plan").map_or(part.at, start);
                self.problem(at, "site.plan", why);
                None
            }
            None => None,
        };
        let mut own = BTreeSet::new();
        let zones = self.tables(part, "zone", "site.zone");
        self.zones += zones.len();
        if self.zones > SITE_ZONES_MAX {
            self.problem(
                part.at,
                "site.zone",
                format!("there are more than {SITE_ZONES_MAX} zones in all"),
            );
            return None;
        }
        let zones: Vec<Option<Zone>> = zones
            .into_iter()
            .map(|zone| self.zone(zone, &mut own, plan.as_ref()))
            .collect();
        let assets = self.tables(part, "asset", "site.asset");
        self.assets += assets.len();
        if self.assets > SITE_ASSETS_MAX {
            self.problem(
                part.at,
                "site.asset",
                format!("there are more than {SITE_ASSETS_MAX} assets in all"),
            );
            return None;
        }
        let mut standing = BTreeSet::new();
        let assets: Vec<Option<Asset>> = assets
            .into_iter()
            .map(|asset| self.asset(asset, &mut standing, &own, plan.as_ref()))
            .collect();
        Some(Site {
            id: id?,
            name: name?,
            plan: path?,
            view: plan?.view,
            zones: zones.into_iter().collect::<Option<_>>()?,
            assets: assets.into_iter().collect::<Option<_>>()?,
        })
    }

    fn zone(
        &mut self,
        part: Part<'_, '_>,
        ids: &mut BTreeSet<String>,
        plan: Option<&Plan>,
    ) -> Option<Zone> {
        self.only(part, ZONE);
        let id = self.id(part, ids);
        let name = self.needed(part, "name");
        let (zone, device) = (self.text(part, "zone"), self.text(part, "device"));
        let outline = self.outline(part, plan);
        let metrics = self.tables(part, "metrics", "site.zone.metrics");
        if metrics.len() > SITE_ZONE_METRICS_MAX {
            let at = part.get("metrics").map_or(part.at, start);
            let why = format!("a zone has at most {SITE_ZONE_METRICS_MAX} metrics");
            self.problem(at, "site.zone.metrics", why);
            return None;
        }
        let mut seen = BTreeSet::new();
        let metrics: Vec<Option<Metric>> = metrics
            .into_iter()
            .map(|metric| self.metric(metric, &mut seen))
            .collect();
        let id = id?;
        Some(Zone {
            zone: zone.unwrap_or_else(|| id.clone()),
            id,
            name: name?,
            device,
            outline: outline?,
            metrics: metrics.into_iter().collect::<Option<_>>()?,
        })
    }

    fn outline(&mut self, part: Part<'_, '_>, plan: Option<&Plan>) -> Option<Vec<Point>> {
        const KEY: &str = "site.zone.outline";
        let Some(value) = part.get("outline") else {
            self.missing(part, "outline");
            return None;
        };
        let at = start(value);
        let outline = match value.get_ref() {
            DeValue::String(id) => {
                let id = id.strip_prefix('#').unwrap_or(id);
                match plan?.outline(id) {
                    Ok(outline) => outline,
                    Err(why) => {
                        self.problem(at, KEY, format!("{id:?}: {why}"));
                        return None;
                    }
                }
            }
            DeValue::Array(list) => {
                if list.len() > SITE_OUTLINE_MAX_POINTS {
                    let why = format!("an outline has at most {SITE_OUTLINE_MAX_POINTS} points");
                    self.problem(at, KEY, why);
                    return None;
                }
                let points: Vec<Option<Point>> = list.iter().map(|one| self.point(one)).collect();
                points.into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => {
                let why = "this must be points, [[x, y], [x, y], [x, y]], or the id of an element of the plan";
                self.problem(at, KEY, why);
                return None;
            }
        };
        let view = plan?.view;
        // A shape of the drawing may reach over its edge.
        let drawn = matches!(value.get_ref(), DeValue::String(_));
        let seen = drawn && outline.iter().any(|p| view.holds(*p));
        if let Some(p) = outline.iter().find(|p| !seen && !view.holds(**p)) {
            let why = format!(
                "the point [{}, {}] lies outside the plan, which shows {} to {} across and {} to {} down",
                p.x,
                p.y,
                view.x,
                view.x + view.width,
                view.y,
                view.y + view.height
            );
            self.problem(at, KEY, why);
            return None;
        }
        if outline.len() < 3 || area(&outline).abs() < f64::EPSILON {
            self.problem(
                at,
                KEY,
                "the outline encloses nothing; give at least three points not in one line",
            );
            return None;
        }
        Some(outline)
    }

    fn point(&mut self, value: Value<'_, '_>) -> Option<Point> {
        let pair = match value.get_ref() {
            DeValue::Array(pair) if pair.len() == 2 => {
                let mut numbers = pair.iter().filter_map(|n| amount(n.get_ref()));
                numbers.next().zip(numbers.next())
            }
            _ => None,
        };
        if pair.is_none() {
            self.problem(
                start(value),
                "site.zone.outline",
                "a point is two numbers, [x, y]",
            );
        }
        pair.map(|(x, y)| Point { x, y })
    }

    fn metric(&mut self, part: Part<'_, '_>, seen: &mut BTreeSet<String>) -> Option<Metric> {
        self.only(part, METRIC);
        let metric = self.needed(part, "metric")?;
        if !seen.insert(metric.clone()) {
            self.problem(
                part.at,
                part.path("metric"),
                format!("{metric:?} is listed twice in this zone"),
            );
            return None;
        }
        let unit = self.text(part, "unit");
        let (low, high) = (self.number(part, "low"), self.number(part, "high"));
        let limits = match (self.text(part, "limits").as_deref(), part.get("limits")) {
            (Some("policy"), Some(value)) if low.is_some() || high.is_some() => {
                self.problem(
                    start(value),
                    part.path("limits"),
                    "give low and high, or limits = \"policy\", not both",
                );
                return None;
            }
            (Some("policy"), _) => Limits::Policy,
            (Some(other), Some(value)) => {
                let why =
                    format!("limits can only be \"policy\", not {other:?}; else give low and high");
                self.problem(start(value), part.path("limits"), why);
                return None;
            }
            _ if low.is_none() && high.is_none() => Limits::None,
            _ => Limits::Fixed { low, high },
        };
        if let Some((low, high)) = low.zip(high).filter(|(low, high)| low >= high) {
            self.problem(
                part.at,
                part.path("low"),
                format!("low ({low}) must be below high ({high})"),
            );
            return None;
        }
        let near = self.number(part, "near");
        if near.is_some_and(|n| n < 0.0) {
            self.problem(part.at, part.path("near"), "near must be 0 or more");
            return None;
        }
        let stale = self.number(part, "stale_sec").unwrap_or(STALE_SEC);
        if !(1.0..=STALE_MAX_SEC).contains(&stale) {
            self.problem(
                part.at,
                part.path("stale_sec"),
                format!("stale_sec must be from 1 to {STALE_MAX_SEC}"),
            );
            return None;
        }
        let stale_ms = std::time::Duration::from_secs_f64(stale).as_millis();
        Some(Metric {
            metric,
            unit,
            limits,
            near,
            stale_ms: u64::try_from(stale_ms).unwrap_or(u64::MAX),
        })
    }

    fn asset(
        &mut self,
        part: Part<'_, '_>,
        ids: &mut BTreeSet<String>,
        zones: &BTreeSet<String>,
        plan: Option<&Plan>,
    ) -> Option<Asset> {
        self.only(part, ASSET);
        let id = self.id(part, ids);
        let name = self.needed(part, "name");
        let at = |key: &str| part.get(key).map_or(part.at, start);
        let kind = self.needed(part, "kind");
        if let Some(kind) = kind.as_ref().filter(|k| !KINDS.contains(&k.as_str())) {
            let why = format!("{kind:?} is no kind; there are {}", KINDS.join(", "));
            self.problem(at("kind"), "site.asset.kind", why);
        }
        for key in ["x", "y"] {
            if part.get(key).is_none() {
                self.missing(part, key);
            }
        }
        let place = self.number(part, "x").zip(self.number(part, "y"));
        let place = place.map(|(x, y)| Point { x, y });
        if let (Some(p), Some(plan)) = (place, plan)
            && !plan.view.holds(p)
        {
            let why = format!("[{}, {}] lies outside the plan", p.x, p.y);
            self.problem(at("x"), "site.asset.x", why);
        }
        let zone = self.text(part, "zone");
        if let Some(zone) = zone.as_ref().filter(|z| !zones.contains(*z)) {
            self.problem(
                at("zone"),
                "site.asset.zone",
                format!("this site has no zone with the id {zone:?}"),
            );
        }
        let actuator = self.text(part, "actuator");
        let actuator = match actuator.map(|text| text.parse::<Capability>()) {
            Some(Ok(target)) if target.is_actuator() => Some(target),
            Some(Ok(target)) => {
                self.problem(
                    at("actuator"),
                    "site.asset.actuator",
                    format!("{target} is no actuator"),
                );
                None
            }
            Some(Err(error)) => {
                self.problem(at("actuator"), "site.asset.actuator", error.to_string());
                None
            }
            None => None,
        };
        Some(Asset {
            device: self.text(part, "device"),
            sensor: self.text(part, "sensor"),
            id: id?,
            name: name?,
            kind: kind?,
            at: place?,
            zone,
            actuator,
        })
    }
}

/// Twice the area inside, with a sign.
fn area(outline: &[Point]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    outline
        .iter()
        .zip(next)
        .map(|(a, b)| a.x * b.y - b.x * a.y)
        .sum()
}
