//! A plan: an SVG file, read as far as needed to know what it shows and what outline an element with
//! an id has, in the units of the plan, whatever transforms stand around it. It draws nothing and
//! follows nothing: no reference and no style.

use std::collections::{BTreeMap, HashMap};
use std::f64::consts::TAU;
use std::str::FromStr as _;

use kurbo::{Affine, BezPath, PathEl};
use roxmltree::{Document, Node, NodeId, ParsingOptions};
use svgtypes::{Length, LengthUnit, PointsParser, SimplePathSegment, SimplifyingPathParser};

use super::{Point, View};
use crate::domain::base::limits::{
    SITE_OUTLINE_MAX_POINTS, SITE_PLAN_MAX_BYTES, SITE_PLAN_MAX_DEPTH, SITE_PLAN_MAX_NODES,
};

const SVG: &str = "http://www.w3.org/2000/svg";
/// How many corners stand for a circle.
const ROUND_POINTS: u32 = 32;
/// How far the proportions of `width` and `height` may be from those of `viewBox`.
const SHAPE_TOLERANCE: f64 = 0.01;
/// How far the corners that stand for a curve may be from it, as shares of the plan: the first that
/// needs no more corners than allowed is taken.
const CURVE_TOLERANCES: [f64; 4] = [0.000_5, 0.002, 0.008, 0.03];
/// How far from the plan the points of a curve may be, in sizes of the plan: further away it would take
/// ever more corners.
const CURVE_REACH: f64 = 8.0;
/// The smallest and the largest width and height of a plan.
const SIDES: std::ops::RangeInclusive<f64> = 1e-6..=1e12;
/// Most entities of a plan.
const ENTITIES_MAX: usize = 64;
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

/// How what is in an element lies on the plan.
#[derive(Clone)]
struct Laid {
    /// From its own units to those of the plan, or why that is not known.
    to_plan: Result<Affine, &'static str>,
    depth: usize,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// A sentence with the line that is wrong.
    pub fn read(text: &str) -> Result<Self, String> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > SITE_PLAN_MAX_BYTES {
            return Err(format!(
                "it is larger than {} MiB",
                SITE_PLAN_MAX_BYTES / 1_048_576
            ));
        }
        bounded_entities(text)?;
        // Drawing programs declare entities for names of namespaces.
        let options = ParsingOptions {
            allow_dtd: true,
            nodes_limit: SITE_PLAN_MAX_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text, options).map_err(|error| {
            let line = error.pos().row;
            format!("line {line}: this is no SVG drawing: {error}")
        })?;
        let line = |node: Node<'_, '_>| document.text_pos_at(node.range().start).row;
        let svg = document.root_element();
        let view = root(svg).map_err(|why| format!("line {}: {why}", line(svg)))?;
        let mut laid: HashMap<NodeId, Laid> = HashMap::new();
        let mut shapes = BTreeMap::new();
        let here = Laid {
            to_plan: Ok(Affine::IDENTITY),
            depth: 0,
        };
        for node in svg.descendants().filter(Node::is_element) {
            let around = node.parent_element().and_then(|p| laid.get(&p.id()));
            let lies = around.map_or_else(|| here.clone(), |around| lay(node, around));
            if lies.depth > SITE_PLAN_MAX_DEPTH {
                let line = line(node);
                return Err(format!(
                    "line {line}: elements are nested deeper than {SITE_PLAN_MAX_DEPTH}"
                ));
            }
            if let (Some(id), Some(_)) = (node.attribute("id"), around) {
                let shape = lies
                    .to_plan
                    .map_err(|why| format!("{why}; write the outline as points in plan units"))
                    .and_then(|to_plan| outline(node, to_plan, view));
                shapes.entry(id.to_owned()).or_insert(shape);
            }
            laid.insert(node.id(), within(node, lies, around.is_some()));
        }
        Ok(Plan { view, shapes })
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

/// Refuses entities that name others, or that would become more text than a plan may have.
fn bounded_entities(text: &str) -> Result<(), String> {
    let mut become_bytes = 0usize;
    if text.matches("<!ENTITY").nth(ENTITIES_MAX).is_some() {
        return Err(format!("it declares more than {ENTITIES_MAX} entities"));
    }
    for declared in text.split("<!ENTITY").skip(1) {
        let (name, rest) = declared.split_once(['"', '\'']).unwrap_or((declared, ""));
        let quote = declared.as_bytes().get(name.len()).copied().unwrap_or(b'"');
        let value = rest.split(char::from(quote)).next().unwrap_or_default();
        let name = name.split_whitespace().next().unwrap_or_default();
        if value.contains(['&', '%']) || name == "%" {
            return Err("it declares entities that name others; take them out".to_owned());
        }
        let uses = text.matches(&format!("&{name};")).count();
        become_bytes = become_bytes.saturating_add(uses.saturating_mul(value.len()));
        if u64::try_from(become_bytes).unwrap_or(u64::MAX) > SITE_PLAN_MAX_BYTES {
            return Err("its entities would become too large".to_owned());
        }
    }
    Ok(())
}

/// How an element lies that stands in one that lies like `around`.
fn lay(node: Node<'_, '_>, around: &Laid) -> Laid {
    let depth = around.depth + 1;
    let to_plan = around.to_plan.and_then(|to_plan| {
        let style = node.attribute("style").unwrap_or_default();
        if style
            .split(';')
            .any(|rule| rule.trim_start().starts_with("transform"))
        {
            return Err("it or a group around it has a transform in its style");
        }
        let Some(own) = node.attribute("transform") else {
            return Ok(to_plan);
        };
        let own = svgtypes::Transform::from_str(own)
            .map_err(|_| "its transform or that of a group around it does not read")?;
        let own = Affine::new([own.a, own.b, own.c, own.d, own.e, own.f]);
        Ok(to_plan * own)
    });
    Laid { to_plan, depth }
}

/// How what is within an element lies, where the element itself lies like `lies`.
fn within(node: Node<'_, '_>, lies: Laid, inner: bool) -> Laid {
    match inner && ELSEWHERE.contains(&node.tag_name().name()) {
        true => Laid {
            to_plan: Err("it is drawn elsewhere than it is written"),
            ..lies
        },
        false => lies,
    }
}

/// What the root shows.
fn root(svg: Node<'_, '_>) -> Result<View, String> {
    let name = svg.tag_name();
    if name.name() != "svg" || name.namespace() != Some(SVG) {
        return Err(format!(
            "this is no SVG drawing: it must begin with <svg xmlns=\"{SVG}\" viewBox=\"0 0 WIDTH HEIGHT\">"
        ));
    }
    let side = |key: &str| {
        let length = svg
            .attribute(key)
            .and_then(|t| Length::from_str(t.trim()).ok());
        length.and_then(pixels).filter(|side| SIDES.contains(side))
    };
    let sides = side("width").zip(side("height"));
    let Some(shown) = svg.attribute("viewBox") else {
        // Without one a plan shows what its size says, in pixels (SVG 2 §8.2).
        let (width, height) = sides.ok_or(
            "it needs a viewBox with four numbers, for example viewBox=\"0 0 800 500\", or a width and a height",
        )?;
        return Ok(View {
            x: 0.0,
            y: 0.0,
            width,
            height,
        });
    };
    let numbers: Vec<f64> = svgtypes::NumberListParser::from(shown)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let &[x, y, width, height] = numbers.as_slice() else {
        return Err(
            "its viewBox needs four numbers, for example viewBox=\"0 0 800 500\"".to_owned(),
        );
    };
    if !numbers.iter().all(|n| n.is_finite()) || width <= 0.0 || height <= 0.0 {
        return Err("the width and height of its viewBox must be more than 0".to_owned());
    }
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return Err("the width or height of its viewBox is too small or too large".to_owned());
    }
    if let Some((w, h)) = sides
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

/// A length in pixels, the units of a plan (CSS Values 4 §6.2); `None` for one that depends on what is
/// around it.
fn pixels(length: Length) -> Option<f64> {
    let inch = 96.0;
    let unit = match length.unit {
        LengthUnit::None | LengthUnit::Px => 1.0,
        LengthUnit::In => inch,
        LengthUnit::Cm => inch / 2.54,
        LengthUnit::Mm => inch / 25.4,
        LengthUnit::Pt => inch / 72.0,
        LengthUnit::Pc => inch / 6.0,
        LengthUnit::Em | LengthUnit::Ex | LengthUnit::Percent => return None,
    };
    Some(length.number * unit).filter(|n| n.is_finite())
}

/// The outline of one element, in the units of the plan.
fn outline(node: Node<'_, '_>, to_plan: Affine, view: View) -> Result<Vec<Point>, String> {
    let side = |key: &str| match node.attribute(key) {
        None => Ok(0.0),
        Some(text) => Length::from_str(text.trim())
            .ok()
            .and_then(pixels)
            .ok_or_else(|| format!("its {key} is {text:?}, not a length in plan units")),
    };
    let corners: Vec<(f64, f64)> = match node.tag_name().name() {
        "rect" => {
            let (x, y) = (side("x")?, side("y")?);
            let (w, h) = (side("width")?, side("height")?);
            vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        }
        "circle" => {
            let r = side("r")?;
            round(side("cx")?, side("cy")?, r, r)
        }
        "ellipse" => round(side("cx")?, side("cy")?, side("rx")?, side("ry")?),
        "polygon" | "polyline" => {
            PointsParser::from(node.attribute("points").unwrap_or_default()).collect()
        }
        "path" => {
            let path = path(node.attribute("d").unwrap_or_default())?;
            return straight(to_plan * path, view);
        }
        name => {
            return Err(format!(
                "a <{name}> has no outline; rect, circle, ellipse, polygon, polyline and path have"
            ));
        }
    };
    if corners.len() > SITE_OUTLINE_MAX_POINTS {
        return Err(format!("it has more than {SITE_OUTLINE_MAX_POINTS} points"));
    }
    finite(
        corners
            .into_iter()
            .map(|at| to_plan * kurbo::Point::from(at)),
    )
}

fn finite(points: impl Iterator<Item = kurbo::Point>) -> Result<Vec<Point>, String> {
    points
        .map(|p| match p.is_finite() {
            true => Ok(Point { x: p.x, y: p.y }),
            false => Err("its numbers are too large".to_owned()),
        })
        .collect()
}

fn round(cx: f64, cy: f64, rx: f64, ry: f64) -> Vec<(f64, f64)> {
    (0..ROUND_POINTS)
        .map(|n| f64::from(n) / f64::from(ROUND_POINTS) * TAU)
        .map(|turn| (cx + rx * turn.cos(), cy + ry * turn.sin()))
        .collect()
}

/// A path that is one piece.
fn path(d: &str) -> Result<BezPath, String> {
    let mut path = BezPath::new();
    // A move that no line follows draws nothing.
    let mut moved = None;
    for segment in SimplifyingPathParser::from(d) {
        let segment = segment.map_err(|_| "its path does not read")?;
        let drawn = match segment {
            SimplePathSegment::MoveTo { x, y } => {
                moved = Some((x, y));
                continue;
            }
            SimplePathSegment::ClosePath => continue,
            SimplePathSegment::LineTo { x, y } => PathEl::LineTo((x, y).into()),
            SimplePathSegment::Quadratic { x1, y1, x, y } => {
                PathEl::QuadTo((x1, y1).into(), (x, y).into())
            }
            SimplePathSegment::CurveTo {
                x1,
                y1,
                x2,
                y2,
                x,
                y,
            } => PathEl::CurveTo((x1, y1).into(), (x2, y2).into(), (x, y).into()),
        };
        match moved.take() {
            Some(_) if !path.elements().is_empty() => {
                return Err("its path has more than one piece; write the outline as points".into());
            }
            Some(at) => path.move_to(at),
            None if path.elements().is_empty() => return Err("its path does not read".into()),
            None => {}
        }
        path.push(drawn);
    }
    Ok(path)
}

/// The corners of a path whose curves are drawn as straight lines.
fn straight(path: BezPath, view: View) -> Result<Vec<Point>, String> {
    // Every part has a corner at least.
    if path.elements().len() > SITE_OUTLINE_MAX_POINTS + 1 {
        return Err(format!("it has more than {SITE_OUTLINE_MAX_POINTS} points"));
    }
    let size = view.width.max(view.height);
    let shown = kurbo::Rect::new(view.x, view.y, view.x + view.width, view.y + view.height);
    let reach = shown.inflate(size * CURVE_REACH, size * CURVE_REACH);
    let all = path.control_box();
    if !path.is_finite()
        || !reach.contains(all.origin())
        || !reach.contains(kurbo::Point::new(all.x1, all.y1))
    {
        return Err("it lies far outside the plan".to_owned());
    }
    for tolerance in CURVE_TOLERANCES {
        let mut corners: Vec<kurbo::Point> = Vec::new();
        kurbo::flatten(&path, size * tolerance, |part| match part {
            PathEl::MoveTo(at) if corners.is_empty() => corners.push(at),
            PathEl::LineTo(at) if corners.last() != Some(&at) => corners.push(at),
            _ => {}
        });
        // A path that is closed by hand ends where it began.
        if corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        if corners.len() <= SITE_OUTLINE_MAX_POINTS {
            return finite(corners.into_iter());
        }
    }
    Err(format!("it has more than {SITE_OUTLINE_MAX_POINTS} points"))
}
