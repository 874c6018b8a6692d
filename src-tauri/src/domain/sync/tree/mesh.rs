//! Simulated nodes that keep the rules of the tree, and liars that do not. Also for `benches/spread.rs`: what it
//! names is imported by the module above it.

use super::*;

pub(super) fn device(n: usize) -> DeviceId {
    let mut raw = [7; 32];
    raw[..8].copy_from_slice(&n.to_be_bytes());
    DeviceId::of_public_key(&raw)
}

pub(super) fn key(n: u64) -> FrameKey {
    let mut name = [7; 32];
    name[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    FrameKey(name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Honest,
    /// Offers everything to everybody at once, and sends nothing.
    OffersAndNeverSends,
    /// Offers what does not exist.
    Invents,
    /// Tells everybody to push no more, and pushes nothing.
    PrunesEverybody,
    /// Asks for everything it is offered, over and over.
    AsksEndlessly,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// A frame, and how many links it has crossed.
    Frame(u64, u32),
    Offer(Vec<u64>),
    Ask(Vec<u64>, bool),
    Prune,
    /// A node's own: time to send the offers gathered for a peer, or to look what is overdue.
    Flush,
    Look,
}

pub(super) struct Node {
    pub kind: Kind,
    pub tree: Tree,
    /// The frames it holds, with who brought each and over how many links it had come.
    held: BTreeMap<u64, (usize, u32)>,
    gathered: BTreeMap<usize, Vec<u64>>,
    copies: u64,
    alive: bool,
}

/// How frames spread among honest nodes.
#[derive(Debug)]
pub(super) struct Spread {
    /// How often a frame comes to a node that is not its origin.
    pub copies: f64,
    /// Over how many links the furthest frame came.
    pub rounds: u32,
}

/// A message: when it arrives, its number, from whom, to whom.
type UnderWay = (u64, u64, usize, usize, Said);

/// Simulated nodes, their links and the messages under way.
pub(super) struct Mesh {
    pub nodes: Vec<Node>,
    links: Vec<BTreeSet<usize>>,
    pub now: u64,
    /// Whether all links are equally fast, as where rounds are counted; otherwise they take 1 to 40 ms.
    pub even: bool,
    chance: u64,
    queue: BinaryHeap<Reverse<UnderWay>>,
    serial: u64,
    names: BTreeMap<FrameKey, u64>,
    ids: Vec<DeviceId>,
}

impl Mesh {
    /// Each node is linked with each other.
    pub(super) fn full(kinds: &[Kind], seed: u64) -> Self {
        let others = |me: usize| (0..kinds.len()).filter(|n| *n != me).collect();
        Self::new(kinds, (0..kinds.len()).map(others).collect(), seed)
    }

    /// Each node is linked with so many others that it chose by chance, and with those that chose it.
    pub(super) fn sparse(kinds: &[Kind], chosen: usize, seed: u64) -> Self {
        let mut dice = Self::new(&[], Vec::new(), seed);
        let mut links = vec![BTreeSet::new(); kinds.len()];
        for me in 0..kinds.len() {
            let mut mine = BTreeSet::new();
            while mine.len() < chosen {
                let other = usize::try_from(dice.below(kinds.len() as u64)).unwrap();
                if other != me {
                    mine.insert(other);
                }
            }
            for other in mine {
                links[me].insert(other);
                links[other].insert(me);
            }
        }
        Self::new(kinds, links, seed)
    }

    fn new(kinds: &[Kind], links: Vec<BTreeSet<usize>>, seed: u64) -> Self {
        let ids: Vec<DeviceId> = (0..kinds.len()).map(device).collect();
        let node = |(me, kind): (usize, &Kind)| {
            let mut tree = Tree::default();
            links[me].iter().for_each(|n| tree.joined(&ids[*n]));
            Node {
                kind: *kind,
                tree,
                held: BTreeMap::new(),
                gathered: BTreeMap::new(),
                copies: 0,
                alive: true,
            }
        };
        Self {
            nodes: kinds.iter().enumerate().map(node).collect(),
            links,
            now: 1_000,
            even: false,
            chance: seed,
            queue: BinaryHeap::new(),
            serial: 0,
            names: BTreeMap::new(),
            ids,
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % most
    }

    fn post(&mut self, from: usize, to: usize, said: Said, after: u64) {
        self.serial += 1;
        self.queue
            .push(Reverse((self.now + after, self.serial, from, to, said)));
    }

    fn send(&mut self, from: usize, to: usize, said: Said) {
        if !self.links[from].contains(&to) || !self.nodes[to].alive {
            return;
        }
        let latency = match self.even {
            true => 20,
            false => 1 + (from * 31 + to * 17) as u64 % 40,
        };
        self.post(from, to, said, latency);
    }

    fn others(&self, me: usize) -> Vec<usize> {
        let alive = |n: &usize| self.nodes[*n].alive;
        self.links[me].iter().copied().filter(alive).collect()
    }

    pub(super) fn publish(&mut self, at: usize, frame: u64) {
        self.names.insert(key(frame), frame);
        self.nodes[at].held.insert(frame, (at, 0));
        self.pass_on(at, at, frame, 1);
    }

    fn pass_on(&mut self, me: usize, from: usize, frame: u64, crossed: u32) {
        for to in self.others(me) {
            if to == from {
                continue;
            }
            match self.nodes[me].kind {
                Kind::Honest | Kind::AsksEndlessly => {
                    let id = self.ids[to].clone();
                    if self.nodes[me].tree.is_eager(&id) {
                        self.send(me, to, Said::Frame(frame, crossed));
                    } else {
                        let gathered = self.nodes[me].gathered.entry(to).or_default();
                        gathered.push(frame);
                        match gathered.len() {
                            1 => self.post(me, to, Said::Flush, TREE_OFFER_MS),
                            TREE_OFFERS_PER_MESSAGE => self.flush(me, to),
                            _ => {}
                        }
                    }
                }
                Kind::OffersAndNeverSends => self.send(me, to, Said::Offer(vec![frame])),
                Kind::Invents => {
                    let invented = (0..64).map(|n| 1_000_000 + frame * 64 + n).collect();
                    self.send(me, to, Said::Offer(invented));
                }
                Kind::PrunesEverybody => self.send(me, to, Said::Prune),
            }
        }
    }

    fn flush(&mut self, me: usize, to: usize) {
        let gathered = self.nodes[me].gathered.remove(&to).unwrap_or_default();
        if !gathered.is_empty() {
            self.send(me, to, Said::Offer(gathered));
        }
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        let gone = self.ids[node].clone();
        self.nodes.iter_mut().for_each(|n| n.tree.left(&gone));
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.links[a].remove(&b);
        self.links[b].remove(&a);
        let (id_a, id_b) = (self.ids[a].clone(), self.ids[b].clone());
        self.nodes[a].tree.left(&id_b);
        self.nodes[b].tree.left(&id_a);
    }

    fn look(&mut self, me: usize) {
        if let Some(at) = self.nodes[me].tree.next_due() {
            let after = at.since(TimeMs(self.now)).max(1);
            self.post(me, me, Said::Look, after);
        }
    }

    pub(super) fn run(&mut self, upto: u64) {
        while let Some(Reverse((at, ..))) = self.queue.peek() {
            if *at > upto {
                break;
            }
            let Some(Reverse((at, _, from, me, said))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            match said {
                Said::Flush => self.flush(from, me),
                _ if !self.nodes[me].alive => {}
                said => self.take(me, from, said),
            }
        }
        self.now = upto;
    }

    fn take(&mut self, me: usize, from: usize, said: Said) {
        let (now, id) = (TimeMs(self.now), self.ids[from].clone());
        match said {
            Said::Frame(frame, crossed) => {
                self.nodes[me].copies += 1;
                let brought = self.nodes[me].held.get(&frame).copied();
                match brought {
                    Some((first, _)) => {
                        let first = self.ids[first].clone();
                        if self.nodes[me].tree.copy(&id, &first, now) {
                            self.send(me, from, Said::Prune);
                        }
                    }
                    None => {
                        self.nodes[me].held.insert(frame, (from, crossed));
                        self.nodes[me].tree.got(&key(frame), Some(&id));
                        self.pass_on(me, from, frame, crossed + 1);
                    }
                }
            }
            Said::Offer(frames) => {
                if self.nodes[me].kind == Kind::AsksEndlessly {
                    self.send(me, from, Said::Ask(frames.clone(), true));
                }
                let idle = self.nodes[me].tree.next_due().is_none();
                for frame in frames {
                    self.names.insert(key(frame), frame);
                    if !self.nodes[me].held.contains_key(&frame) {
                        self.nodes[me].tree.offered(&id, key(frame), now);
                    }
                }
                if idle {
                    self.look(me);
                }
            }
            Said::Ask(frames, graft) => {
                if graft {
                    self.nodes[me].tree.grafted(&id);
                }
                for frame in frames {
                    let sends = matches!(self.nodes[me].kind, Kind::Honest | Kind::AsksEndlessly);
                    let held = self.nodes[me].held.get(&frame).copied();
                    if let Some((_, crossed)) = held.filter(|_| sends) {
                        self.send(me, from, Said::Frame(frame, crossed + 1));
                    }
                }
            }
            Said::Prune => self.nodes[me].tree.pruned(&id),
            Said::Look => {
                let asked = self.nodes[me].tree.ask(now, false);
                for (peer, Asked { keys, graft }) in asked {
                    let to = self.ids.iter().position(|id| *id == peer).unwrap();
                    let frames = keys.iter().map(|key| self.names[key]).collect();
                    self.send(me, to, Said::Ask(frames, graft));
                }
                self.look(me);
            }
            Said::Flush => {}
        }
    }

    /// Has honest nodes, chosen by chance, make so many frames, and says how those spread.
    pub(super) fn spread(&mut self, frames: std::ops::Range<u64>, every_ms: u64) -> Spread {
        self.nodes.iter_mut().for_each(|node| node.copies = 0);
        let count = frames.end - frames.start;
        for frame in frames.clone() {
            let makers: Vec<usize> = (0..self.nodes.len())
                .filter(|n| self.nodes[*n].alive && self.nodes[*n].kind == Kind::Honest)
                .collect();
            let at = makers[usize::try_from(self.below(makers.len() as u64)).unwrap()];
            self.publish(at, frame);
            let next = self.now + every_ms;
            self.run(next);
        }
        let until = self.now + 5_000;
        self.run(until);
        let honest: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|n| n.alive && n.kind == Kind::Honest)
            .collect();
        let sum: u64 = honest.iter().map(|node| node.copies).sum();
        let crossed = |node: &&Node| {
            let of = |frame| node.held.get(&frame).map_or(0, |(_, crossed)| *crossed);
            frames.clone().map(of).max().unwrap_or(0)
        };
        #[allow(clippy::cast_precision_loss)]
        Spread {
            copies: sum as f64 / (count * (honest.len() as u64 - 1)) as f64,
            rounds: honest.iter().map(crossed).max().unwrap_or(0),
        }
    }

    /// How many frames each honest node lacks, together.
    pub(super) fn lacking(&self, frames: std::ops::Range<u64>) -> usize {
        let honest = self
            .nodes
            .iter()
            .filter(|n| n.alive && n.kind == Kind::Honest);
        let lacks = |node: &Node| {
            frames
                .clone()
                .filter(|frame| !node.held.contains_key(frame))
                .count()
        };
        honest.map(lacks).sum()
    }
}
