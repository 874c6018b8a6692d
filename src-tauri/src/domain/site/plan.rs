//! A plan: an SVG file, read as far as needed to know what it shows and what outline an element with
//! an id has. It draws nothing and follows nothing: no reference, no style, no entity.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use super::{Point, View};
use crate::domain::base::limits::{
    SITE_OUTLINE_MAX_POINTS, SITE_PLAN_MAX_BYTES, SITE_PLAN_MAX_DEPTH,
};

const SVG: &str = "http://www.w3.org/2000/svg";
/// How many corners stand for a circle.
const ROUND_POINTS: u32 = 32;
/// How far the proportions of `width` and `height` may be from those of `viewBox`.
const SHAPE_TOLERANCE: f64 = 0.01;
/// Elements whose content is not drawn where it stands.
const ELSEWHERE: [&str; 8] = [
    "defs",
    "symbol",
    "clipPath",
    "mask",
    "pattern",
    "marker",
    "svg",
    "foreignObject",
];

/// What is known of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it shows.
    pub view: View,
    shapes: BTreeMap<String, Result<Vec<Point>, String>>,
}

/// An element that is open.
struct Open<'a> {
    name: &'a str,
    /// Why the outlines inside cannot be taken as they are written.
    moved: Option<&'static str>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// A sentence with the line that is wrong.
    pub fn read(text: &str) -> Result<Self, String> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > SITE_PLAN_MAX_BYTES {
            return Err(format!(
                "it is larger than {} KiB",
                SITE_PLAN_MAX_BYTES / 1024
            ));
        }
        let mut scan = Scan { text, at: 0 };
        let said = scan.plan();
        said.map_err(|why| format!("line {}: {why}", scan.line()))
    }

    /// The outline of the element with this id.
    ///
    /// # Errors
    /// Why there is none.
    pub fn outline(&self, id: &str) -> Result<Vec<Point>, String> {
        match self.shapes.get(id) {
            Some(found) => found.clone(),
            None => Err(format!("the plan has no element with the id {id:?}")),
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// An element's name, its attributes, and whether it ends at once.
type Tag<'a> = (&'a str, Vec<(&'a str, &'a str)>, bool);

impl<'a> Scan<'a> {
    fn line(&self) -> usize {
        let read = self.text.as_bytes().get(..self.at).unwrap_or_default();
        1 + read.iter().filter(|b| **b == b'\n').count()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves behind the next `end`, and gives what stood before it.
    fn past(&mut self, end: &str, what: &str) -> Result<&'a str, String> {
        let rest = self.rest();
        let found = rest
            .find(end)
            .ok_or_else(|| format!("{what} does not end"))?;
        self.at += found + end.len();
        Ok(&rest[..found])
    }

    fn plan(&mut self) -> Result<Plan, String> {
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut view = None;
        let mut shapes = BTreeMap::new();
        while let Some(next) = self.rest().find('<') {
            self.at += next;
            let rest = self.rest();
            if rest.starts_with("<!--") {
                self.at += 4;
                self.past("-->", "a comment")?;
            } else if rest.starts_with("<![CDATA[") {
                self.past("]]>", "a CDATA section")?;
            } else if rest.starts_with("<?") {
                self.past("?>", "a processing instruction")?;
            } else if rest.starts_with("<!") {
                if self.past(">", "the document type")?.contains('[') {
                    return Err(
                        "a plan has no declarations of its own: take <!DOCTYPE … [ … ]> out".into(),
                    );
                }
            } else if rest.starts_with("</") {
                self.at += 2;
                let name = self.past(">", "an end tag")?.trim();
                match open.pop() {
                    Some(o) if o.name == name => {}
                    Some(o) => return Err(format!("</{name}> stands where </{}> should", o.name)),
                    None => return Err(format!("</{name}> was not opened")),
                }
            } else {
                let (name, attributes, closed) = self.tag()?;
                if view.is_none() {
                    view = Some(root(name, &attributes)?);
                } else if open.is_empty() {
                    return Err(format!("<{name}> stands behind the end of the drawing"));
                }
                let get = |key: &str| attributes.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
                let outside = open.last().and_then(|o| o.moved);
                let moved = outside.or_else(|| {
                    get("transform").map(|_| "it or a group around it has a transform")
                });
                if let Some(id) = get("id").filter(|_| !open.is_empty()) {
                    let shape = match moved {
                        Some(why) => {
                            Err(format!("{why}; write the outline as points in plan units"))
                        }
                        None => outline(name, &get),
                    };
                    shapes.entry(id.to_owned()).or_insert(shape);
                }
                if !closed {
                    if open.len() >= SITE_PLAN_MAX_DEPTH {
                        return Err(format!(
                            "elements are nested deeper than {SITE_PLAN_MAX_DEPTH}"
                        ));
                    }
                    let hidden = !open.is_empty() && ELSEWHERE.contains(&name);
                    let moved = moved
                        .or_else(|| hidden.then_some("it is drawn elsewhere than it is written"));
                    open.push(Open { name, moved });
                }
            }
        }
        if let Some(left) = open.last() {
            self.at = self.text.len();
            return Err(format!(
                "the file ends within <{}>; it may have been cut off",
                left.name
            ));
        }
        let view = view.ok_or("this is no SVG drawing: it has no <svg>")?;
        Ok(Plan { view, shapes })
    }

    /// A start tag: its name, its attributes, whether it is an empty element.
    fn tag(&mut self) -> Result<Tag<'a>, String> {
        self.at += 1;
        let end = |c: char| c.is_whitespace() || matches!(c, '>' | '/' | '<' | '=');
        let rest = self.rest();
        let name = &rest[..rest.find(end).unwrap_or(rest.len())];
        if name.is_empty() {
            return Err("a lone `<`".into());
        }
        self.at += name.len();
        let mut attributes = Vec::new();
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with('>') {
                self.at += 1;
                return Ok((name, attributes, false));
            }
            if rest.starts_with("/>") {
                self.at += 2;
                return Ok((name, attributes, true));
            }
            let key = &rest[..rest.find(end).unwrap_or(rest.len())];
            self.at += key.len();
            let rest = self.rest().trim_start();
            let value = rest.strip_prefix('=').map(str::trim_start);
            let quote = value
                .and_then(|v| v.chars().next())
                .filter(|q| matches!(q, '"' | '\''));
            let (Some(quote), false) = (quote, key.is_empty()) else {
                return Err(format!(
                    "<{name}> does not end, or has an attribute without quotes"
                ));
            };
            let before = value.map_or(0, str::len);
            self.at = self.text.len() - before + 1;
            attributes.push((
                key,
                self.past(quote.encode_utf8(&mut [0; 4]), "an attribute")?,
            ));
        }
    }
}

/// What the root shows.
fn root(name: &str, attributes: &[(&str, &str)]) -> Result<View, String> {
    let get = |key: &str| {
        attributes
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.trim())
    };
    if name != "svg" || get("xmlns") != Some(SVG) {
        return Err(format!(
            "this is no SVG drawing: it must begin with <svg xmlns=\"{SVG}\" viewBox=\"0 0 WIDTH HEIGHT\">"
        ));
    }
    let wanted = "it needs a viewBox with four numbers, for example viewBox=\"0 0 800 500\"";
    let numbers = numbers(get("viewBox").ok_or(wanted)?).ok_or(wanted)?;
    let &[x, y, width, height] = numbers.as_slice() else {
        return Err(wanted.into());
    };
    if width <= 0.0 || height <= 0.0 {
        return Err("the width and height of its viewBox must be more than 0".into());
    }
    let side = |key: &str| get(key).and_then(length);
    if let (Some((w, a)), Some((h, b))) = (side("width"), side("height"))
        && a == b
        && a != "%"
        && w > 0.0
        && h > 0.0
        && ((w / h) / (width / height) - 1.0).abs() > SHAPE_TOLERANCE
    {
        return Err(format!(
            "its width and height ({w} by {h}) have another shape than its viewBox ({width} by {height}); take them out"
        ));
    }
    Ok(View {
        x,
        y,
        width,
        height,
    })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

/// A length and its unit.
fn length(text: &str) -> Option<(f64, &str)> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let value = number(text.strip_suffix(unit)?)?;
    Some((value, if unit == "px" { "" } else { unit }))
}

/// Numbers apart by white space, a comma, or a sign.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Some(found);
        }
        let taken = number_length(rest);
        found.push(number(rest.get(..taken)?)?);
        rest = rest.get(taken..)?;
    }
}

/// How many bytes of the beginning are one number.
fn number_length(text: &str) -> usize {
    let (mut dot, mut power, mut last) = (false, false, ' ');
    for (at, c) in text.char_indices() {
        let goes_on = match c {
            '0'..='9' => true,
            '.' if !dot && !power => {
                dot = true;
                true
            }
            'e' | 'E' if !power && at > 0 => {
                power = true;
                true
            }
            '+' | '-' => at == 0 || matches!(last, 'e' | 'E'),
            _ => false,
        };
        if !goes_on {
            return at;
        }
        last = c;
    }
    text.len()
}

/// The outline of one element.
fn outline<'a>(name: &str, get: &impl Fn(&str) -> Option<&'a str>) -> Result<Vec<Point>, String> {
    let side = |key: &str, otherwise: f64| match get(key) {
        None => Ok(otherwise),
        Some(text) => length(text)
            .filter(|(_, unit)| unit.is_empty())
            .map(|(value, _)| value)
            .ok_or_else(|| format!("its {key} is {text:?}, not a number in plan units")),
    };
    let points = match name {
        "rect" => {
            let (x, y) = (side("x", 0.0)?, side("y", 0.0)?);
            let (w, h) = (side("width", 0.0)?, side("height", 0.0)?);
            vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        }
        "circle" => {
            let r = side("r", 0.0)?;
            round(side("cx", 0.0)?, side("cy", 0.0)?, r, r)
        }
        "ellipse" => round(
            side("cx", 0.0)?,
            side("cy", 0.0)?,
            side("rx", 0.0)?,
            side("ry", 0.0)?,
        ),
        "polygon" | "polyline" => {
            let all = numbers(get("points").unwrap_or_default())
                .filter(|all| all.len() % 2 == 0)
                .ok_or("its points do not read")?;
            all.chunks_exact(2).map(|p| (p[0], p[1])).collect()
        }
        "path" => path(get("d").unwrap_or_default())?,
        _ => {
            return Err(format!(
                "a <{name}> has no outline; rect, circle, ellipse, polygon, polyline and path have"
            ));
        }
    };
    if points.len() > SITE_OUTLINE_MAX_POINTS {
        return Err(format!("it has more than {SITE_OUTLINE_MAX_POINTS} points"));
    }
    Ok(points.into_iter().map(|(x, y)| Point { x, y }).collect())
}

fn round(cx: f64, cy: f64, rx: f64, ry: f64) -> Vec<(f64, f64)> {
    (0..ROUND_POINTS)
        .map(|n| f64::from(n) / f64::from(ROUND_POINTS) * TAU)
        .map(|turn| (cx + rx * turn.cos(), cy + ry * turn.sin()))
        .collect()
}

/// The corners of a path of straight lines that is one piece.
fn path(d: &str) -> Result<Vec<(f64, f64)>, String> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let (mut x, mut y) = (0.0, 0.0);
    let mut closed = false;
    let mut rest = d.trim();
    while let Some(command) = rest.chars().next() {
        rest = rest.get(command.len_utf8()..).unwrap_or_default();
        let end = rest
            .find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
            .unwrap_or(rest.len());
        let values = numbers(&rest[..end]).ok_or("its path does not read")?;
        rest = &rest[end..];
        let relative = command.is_ascii_lowercase();
        if closed && !matches!(command, 'Z' | 'z') {
            return Err("its path has more than one piece; write the outline as points".into());
        }
        let (bx, by) = if relative { (1.0, 1.0) } else { (0.0, 0.0) };
        let apart = match command.to_ascii_uppercase() {
            'M' | 'L' => 2,
            'H' | 'V' => 1,
            'Z' => {
                closed = true;
                continue;
            }
            _ => {
                return Err(
                    "its path has curves; write the outline as points in plan units".into(),
                );
            }
        };
        if matches!(command, 'M' | 'm') && !points.is_empty() {
            return Err("its path has more than one piece; write the outline as points".into());
        }
        if values.is_empty() || values.len() % apart != 0 {
            return Err("its path does not read".into());
        }
        for v in values.chunks_exact(apart) {
            match command.to_ascii_uppercase() {
                'H' => x = bx * x + v[0],
                'V' => y = by * y + v[0],
                _ => (x, y) = (bx * x + v[0], by * y + v[1]),
            }
            points.push((x, y));
            if points.len() > SITE_OUTLINE_MAX_POINTS {
                return Err(format!("it has more than {SITE_OUTLINE_MAX_POINTS} points"));
            }
        }
    }
    Ok(points)
}
