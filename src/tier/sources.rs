//! Where a tier's nodes are learned of: sentinels, nodes of a cluster, configuration endpoints; and
//! what is wrong with them while none of them tells.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::breaker::State;
use super::link::Trouble;
use super::node::NodeStatus;
use super::slots::NodeAddress;

/// Those that were asked in vain since one of them told last, and why.
#[derive(Default)]
pub struct Sources(Mutex<BTreeMap<NodeAddress, String>>);

impl Sources {
    /// One of them told, which is enough.
    pub fn told(&self) {
        self.0.lock().clear();
    }

    /// One of them did not.
    pub fn failed(&self, place: &NodeAddress, trouble: &Trouble) {
        self.0.lock().insert(place.clone(), trouble.why.clone());
    }

    /// As they are shown among the nodes, but for those that are nodes themselves.
    pub fn status(&self, is_node: impl Fn(&NodeAddress) -> bool) -> Vec<NodeStatus> {
        let of = |(place, why): (&NodeAddress, &String)| NodeStatus {
            name: place.to_string(),
            breaker: State::Open,
            trouble: Some(why.clone()),
            room: None,
        };
        self.0.lock().iter().filter(|(place, _)| !is_node(place)).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::miss::Miss;
    use super::*;

    #[test]
    fn those_that_did_not_tell_are_shown_until_one_does() {
        let at = |port| NodeAddress { host: "sentinel".into(), port };
        let sources = Sources::default();
        for port in [2, 1, 2] {
            sources.failed(&at(port), &Trouble::new(Miss::Denied, format!("no {port}")));
        }
        let shown = sources.status(|_| false);
        let shown: Vec<_> = shown.iter().map(|one| (one.name.as_str(), one.breaker)).collect();
        assert_eq!(shown, [("sentinel:1", State::Open), ("sentinel:2", State::Open)]);
        let shown = sources.status(|place| *place == at(1));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].trouble.as_deref(), Some("no 2"));
        sources.told();
        assert!(sources.status(|_| false).is_empty());
    }
}
