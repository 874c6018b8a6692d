//! A change of the devices on its way into force.

use std::collections::BTreeSet;

use super::Device;
use super::plan::Plan;
use crate::adapters::devices::{Configured, Sensor, SharedWay};
use crate::domain::capability::Capability;
use crate::node::config::Config;
use crate::node::proposals::rewired::Tables;

/// A change on its way into force.
pub(super) struct Change {
    pub plan: Plan,
    pub config: Config,
    /// What comes in, in the order of the plan.
    pub coming: Vec<Coming>,
    pub before: Vec<Device>,
}

/// What a change makes of the guards.
pub(super) struct Fits {
    /// The actuators that are taken out.
    pub out: BTreeSet<Capability>,
    /// Those that come in where one that stays is told something.
    pub shared: Vec<SharedWay>,
    /// The tables of the actuators from then on.
    pub tables: Tables,
}

impl Change {
    pub(super) fn out(&self) -> impl Iterator<Item = &Device> {
        self.plan.out.iter().filter_map(|at| self.before.get(*at))
    }

    pub(super) fn coming(&self) -> impl Iterator<Item = &Configured> {
        self.coming.iter().map(|coming| &coming.device.configured)
    }

    pub(super) fn staying(&self) -> impl Iterator<Item = &Configured> {
        let each = self.plan.same.iter();
        each.filter_map(|(from, _)| Some(&self.before.get(*from)?.configured))
    }
}

pub(super) struct Coming {
    pub device: Device,
    pub sensors: Vec<Box<dyn Sensor>>,
}
