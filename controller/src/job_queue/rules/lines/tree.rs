//! What is asked for, by the labels of those who could serve it.

use super::{Demand, Line, Team};
use std::collections::BTreeMap;

#[cfg(test)]
thread_local! {
    /// How many places were looked at in this thread.
    pub(in crate::job_queue::rules) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Those that ask for the same executor.
pub(in crate::job_queue::rules) type Teams = BTreeMap<Team, Line>;

/// Demands, each where its labels lead to, one after the other in the order of their names.
///
/// Whoever looks for what an executor could serve goes on with labels that it has alone: those that ask for others are
/// not passed, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tree {
    /// Those that ask for the labels that lead here.
    here: BTreeMap<Demand, Teams>,
    /// What asks for one more, by its name and its value.
    further: BTreeMap<String, BTreeMap<String, Tree>>,
}

impl Tree {
    pub(super) fn get(&self, demand: &Demand) -> Option<&Teams> {
        let mut ways = demand.ways();
        let end = ways.try_fold(self, |tree, (name, value)| tree.further.get(name)?.get(value));
        end?.here.get(demand)
    }

    pub(super) fn get_mut(&mut self, demand: &Demand) -> Option<&mut Teams> {
        let mut ways = demand.ways();
        let end =
            ways.try_fold(self, |tree, (name, value)| tree.further.get_mut(name)?.get_mut(value));
        end?.here.get_mut(demand)
    }

    /// Those that ask for this, nobody yet if it is new, and the demand as it is kept.
    pub(super) fn entry(&mut self, demand: Demand) -> (Demand, &mut Teams) {
        let end = demand.ways().fold(self, |tree, (name, value)| {
            let values = tree.further.entry(name.clone()).or_default();
            values.entry(value.clone()).or_default()
        });
        let entry = end.here.entry(demand);
        (entry.key().clone(), entry.or_default())
    }

    /// Nobody asks for this any more.
    pub(super) fn remove(&mut self, demand: &Demand) {
        self.remove_on(&mut demand.ways(), demand);
    }

    fn remove_on<'a>(
        &mut self,
        ways: &mut impl Iterator<Item = (&'a String, &'a String)>,
        demand: &Demand,
    ) {
        let Some((name, value)) = ways.next() else {
            self.here.remove(demand);
            return;
        };
        let Some(values) = self.further.get_mut(name) else { return };
        let Some(next) = values.get_mut(value) else { return };
        next.remove_on(ways, demand);
        if next.is_empty() {
            values.remove(value);
        }
        if values.is_empty() {
            self.further.remove(name);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.further.is_empty()
    }

    /// What asks for no other labels than these.
    pub(super) fn within<'a>(
        &'a self,
        labels: &BTreeMap<String, String>,
    ) -> Vec<(&'a Demand, &'a Teams)> {
        let (mut found, mut trees) = (Vec::new(), vec![self]);
        while let Some(tree) = trees.pop() {
            #[cfg(test)]
            LOOKS.set(LOOKS.get() + 1);
            found.extend(&tree.here);
            if !tree.further.is_empty() {
                let on = |(name, value)| tree.further.get(name)?.get(value);
                trees.extend(labels.iter().filter_map(on));
            }
        }
        found
    }

    #[cfg(test)]
    pub(super) fn all_mut(&mut self) -> Vec<&mut Teams> {
        let further = self.further.values_mut().flat_map(BTreeMap::values_mut);
        let further = further.flat_map(Self::all_mut);
        self.here.values_mut().chain(further).collect()
    }
}

impl Demand {
    /// The labels that lead to it. Those that name one executor are kept apart by that.
    fn ways(&self) -> impl Iterator<Item = (&String, &String)> {
        self.labels.iter().filter(|(name, _)| *name != super::EXECUTOR)
    }
}
