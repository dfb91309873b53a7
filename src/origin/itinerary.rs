//! Pure: the hops that are asked on behalf of a request, in order: the tier that the fleet shares,
//! parents, then the members of the target.
//!
//! Serving walks what this says, and `explain` tells it. What a hop's health allows is decided on
//! the way.

use http::Method;
use smallvec::SmallVec;

use super::rank::{Candidate, Takes, ranked};
use super::request::FetchKind;
use crate::cache::ask::{Answer, CacheRequest, MethodIntent};
use crate::message::connection::Asker;
use crate::message::failure::FailureKind;

/// The most parents that one request asks by rank; the origin's shield may follow.
pub const PARENTS_MAX: usize = 2;

/// Why no parent is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoParent {
    NoneConfigured,
    /// The request is relayed for one viewer (CloudFront's regional caches do the same).
    Relayed,
    /// A POST whose answer is kept.
    Post,
    /// An OPTIONS whose answer is kept (CloudFront asks the origin, too).
    Options,
    /// A parent would choose a side of its own.
    Deployment,
    /// The caller replaces what is stored: no store may answer.
    Anew,
    /// The scheme is in the key, and a parent would take its own for the viewer's.
    SchemeInKey,
    /// The request comes from an edge: this node is the parent.
    FromEdge,
    /// This node is the last before the origin.
    IsShield,
}

impl NoParent {
    /// The reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoneConfigured => "none is configured",
            Self::Relayed => "the request goes on for this viewer alone",
            Self::Post => "a kept POST is asked of the origin",
            Self::Options => "a kept OPTIONS is asked of the origin",
            Self::Deployment => {
                "a parent would choose a side of the continuous deployment of its own"
            }
            Self::Anew => "the caller wants the origin's own word",
            Self::SchemeInKey => "the viewer's scheme is in the key",
            Self::FromEdge => "an edge asks, and this node is its parent",
            Self::IsShield => "this node is the origin's shield",
        }
    }
}

/// Whether there is a tier that the fleet shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedTier {
    Configured,
    Absent,
}

/// Why the shared tier is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTier {
    NoneConfigured,
    /// The request is relayed for one viewer, or its answer is not to be kept.
    Relayed,
    /// A POST whose answer is kept.
    Post,
    /// Edges may be on different sides of it.
    Deployment,
    /// The caller replaces what is stored: no store may answer. What comes is written there.
    Anew,
}

impl NoTier {
    /// The reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoneConfigured => "none is configured",
            Self::Relayed => "the request goes on for this viewer alone",
            Self::Post => "a kept POST is asked of the origin",
            Self::Deployment => "a continuous deployment is under way",
            Self::Anew => "the caller wants the origin's own word",
        }
    }
}

/// When the next member of a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover<'r> {
    /// Never: there is one member.
    OneMember,
    /// Never: the method is not one that CloudFront's origin groups ask twice, and a body is gone
    /// once it is sent.
    NotRepeatable,
    /// On these statuses, and on failures that another member may not have.
    On(&'r [u16]),
}

impl<'r> Failover<'r> {
    /// Of a request with this method to so many members.
    pub fn of(method: &Method, members: usize, statuses: &'r [u16]) -> Self {
        match *method {
            _ if members < 2 => Self::OneMember,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::On(statuses),
            _ => Self::NotRepeatable,
        }
    }

    /// Of a request to the members of its behavior's target.
    pub fn of_target(asked: &CacheRequest<'r>) -> Self {
        let (members, statuses) = asked.routed.distribution.members(asked.routed.behavior.target);
        Self::of(asked.head().method, members.len(), statuses)
    }

    /// Whether the next member is to be asked after this one answered with a status, or failed.
    pub fn moves_on(self, came: Result<u16, FailureKind>) -> bool {
        match (self, came) {
            (Self::OneMember | Self::NotRepeatable, _) => false,
            (Self::On(statuses), Ok(status)) => statuses.contains(&status),
            (Self::On(_), Err(kind)) => kind.fails_over(),
        }
    }
}

/// Places among the configured parents.
pub type Places = SmallVec<[usize; PARENTS_MAX + 1]>;

/// The hops of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itinerary<'r> {
    /// Whether the tier that the fleet shares is asked first.
    pub tier: Result<(), NoTier>,
    /// The parents that are asked, in their order.
    pub parents: Result<Places, NoParent>,
    /// Parents with a better right to the key that take nothing at the moment. Behind this request
    /// it may be found out whether they can be asked again.
    pub passed_over: Places,
    /// Places among the distribution's origins: all members of the target.
    pub members: &'r [usize],
    pub failover: Failover<'r>,
}

impl<'r> Itinerary<'r> {
    /// The members that may be asked: all, or the first alone.
    pub fn asked_members(&self) -> &'r [usize] {
        match self.failover {
            Failover::On(_) => self.members,
            Failover::OneMember | Failover::NotRepeatable => {
                &self.members[..self.members.len().min(1)]
            }
        }
    }
}

/// Plans the hops of a request that is asked for a reason; `tier` says whether the fleet shares
/// one, and `parents` are the configured ones, in their order.
///
/// ```
/// # use std as rust;
/// # use foreshore::config::{self, MissingCertificates};
/// # use foreshore::semantics::time::Timestamp;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("edge.toml");
/// # let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n\
/// #     [[distribution]]\nid = \"E1\"\nhosts = [\"h.test\"]\n\
/// #     [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
/// #     [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
/// # rust::fs::write(&path, text).unwrap();
/// # let now = Timestamp::from_secs(1_800_000_000);
/// # let site = config::load(&path, now, MissingCertificates::Done)
/// #     .unwrap_or_else(|report| panic!("{}", report.render(false)))
/// #     .site;
/// use foreshore::access;
/// use foreshore::cache::ask::{CacheRequest, wants};
/// use foreshore::message::request::ViewerRequest;
/// use foreshore::origin::itinerary::{Failover, NoParent, SharedTier, itinerary};
/// use foreshore::origin::request::FetchKind;
///
/// let request = ViewerRequest::get("http://h.test/a?x=1");
/// let head = request.head();
/// let routed = access::route(&site, &head, now).unwrap();
/// let asked = CacheRequest { routed, key: b"E1\0/a", wants: wants(&routed, now), slice: None };
/// let hops = itinerary(&asked, &FetchKind::Fill, SharedTier::Configured, std::iter::empty());
/// assert_eq!(hops.tier, Ok(()));
/// assert_eq!(hops.parents, Err(NoParent::NoneConfigured));
/// assert_eq!((hops.asked_members(), hops.failover), (&[0][..], Failover::OneMember));
/// ```
pub fn itinerary<'r, 'n>(
    asked: &CacheRequest<'r>,
    asking: &FetchKind,
    tier: SharedTier,
    parents: impl Iterator<Item = Candidate<'n>>,
) -> Itinerary<'r> {
    let distribution = asked.routed.distribution;
    let (members, _) = distribution.members(asked.routed.behavior.target);
    let failover = Failover::of_target(asked);
    let candidates: SmallVec<[Candidate<'n>; 8]> = parents.collect();
    let mut passed_over = Places::new();
    let parents = match no_parent(asked, asking) {
        _ if candidates.is_empty() => Err(NoParent::NoneConfigured),
        Some(why) => Err(why),
        None => {
            let asker = asked.head().connection.asker;
            // Of a group, the first member's counts.
            let first = members.first().and_then(|at| distribution.origins.get(*at));
            let shield = first.and_then(|origin| origin.shield.as_deref());
            above(asker, asked.key, &candidates, shield, &mut passed_over)
        }
    };
    let tier = match (tier, no_tier(asked, asking)) {
        (SharedTier::Absent, _) => Err(NoTier::NoneConfigured),
        (SharedTier::Configured, Some(why)) => Err(why),
        (SharedTier::Configured, None) => Ok(()),
    };
    Itinerary { tier, parents, passed_over, members, failover }
}

/// What keeps a request from the tier that the fleet shares, wherever that is. A parent may ask it
/// for its edges: the key says all that matters, the scheme included.
pub fn no_tier(asked: &CacheRequest<'_>, asking: &FetchKind) -> Option<NoTier> {
    let is_kept = matches!(asking, FetchKind::Fill | FetchKind::Revalidate(_));
    let reasons = [
        (!is_kept, NoTier::Relayed),
        (asked.wants.method == MethodIntent::Post, NoTier::Post),
        (asked.wants.method != MethodIntent::Get, NoTier::Relayed),
        (asked.routed.distribution.is_deploying, NoTier::Deployment),
        (asked.wants.answer == Answer::Anew, NoTier::Anew),
    ];
    reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
}

// The parents between this node and the origin. Every path ends at the shield where there is one,
// and none comes to a node twice: from an edge a request goes on to the shield alone, and from the
// shield to the origin.
fn above(
    asker: Asker,
    key: &[u8],
    candidates: &[Candidate<'_>],
    shield: Option<&str>,
    passed_over: &mut Places,
) -> Result<Places, NoParent> {
    let shield = match shield {
        None if asker == Asker::Edge => return Err(NoParent::FromEdge),
        None => return Ok(by_rank(key, candidates, passed_over)),
        // The configuration sees to it that one which is not among the parents is this node.
        Some(name) => candidates.iter().position(|one| one.name == name),
    };
    let shield = shield.ok_or(NoParent::IsShield)?;
    let mut chosen = match asker {
        Asker::Viewer => by_rank(key, candidates, passed_over),
        Asker::Edge => Places::new(),
    };
    if !chosen.contains(&shield) && !passed_over.contains(&shield) {
        match candidates[shield].takes {
            Takes::Keys => chosen.push(shield),
            Takes::Nothing => passed_over.push(shield),
        }
    }
    Ok(chosen)
}

// The first that take keys, and in front of them those that would be asked if they did.
fn by_rank(key: &[u8], candidates: &[Candidate<'_>], passed_over: &mut Places) -> Places {
    let mut chosen = Places::new();
    for at in ranked(key, candidates.iter().copied()) {
        match candidates[at].takes {
            _ if chosen.len() == PARENTS_MAX => break,
            Takes::Keys => chosen.push(at),
            Takes::Nothing if passed_over.len() < PARENTS_MAX => passed_over.push(at),
            Takes::Nothing => {}
        }
    }
    chosen
}

// What keeps a request from parents, wherever they are. Requests that cannot be answered from a
// store go straight to the origin.
fn no_parent(asked: &CacheRequest<'_>, asking: &FetchKind) -> Option<NoParent> {
    let reasons = [
        (matches!(asking, FetchKind::Pass), NoParent::Relayed),
        (asked.wants.method == MethodIntent::Post, NoParent::Post),
        (asked.wants.method == MethodIntent::Options, NoParent::Options),
        (asked.routed.distribution.is_deploying, NoParent::Deployment),
        (asked.wants.answer == Answer::Anew, NoParent::Anew),
        (asked.routed.behavior.derived.scheme_in_key, NoParent::SchemeInKey),
    ];
    reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::region::Weight;

    #[test]
    fn only_a_group_moves_on_and_only_on_what_it_names() {
        let group = Failover::On(&[503]);
        assert!(group.moves_on(Ok(503)) && !group.moves_on(Ok(500)));
        assert!(
            group.moves_on(Err(FailureKind::ConnectionRefused))
                && !group.moves_on(Err(FailureKind::Internal))
        );
        for never in [Failover::OneMember, Failover::NotRepeatable] {
            assert!(
                !never.moves_on(Ok(503)) && !never.moves_on(Err(FailureKind::ConnectionRefused))
            );
        }
    }

    #[test]
    fn who_takes_nothing_is_passed_over_and_its_keys_go_to_the_next() {
        let names = ["https://a:1", "https://b:1", "https://c:1", "https://d:1"];
        for (out, key) in (0..16u32).flat_map(|out| (0..200u32).map(move |key| (out, key))) {
            let takes = |at: usize| match (out >> at) & 1 {
                0 => Takes::Keys,
                _ => Takes::Nothing,
            };
            let all: Vec<Candidate<'_>> = names
                .iter()
                .enumerate()
                .map(|(at, name)| Candidate { name, weight: Weight(1), takes: takes(at) })
                .collect();
            let order = ranked(&key.to_le_bytes(), all.iter().copied());
            let mut passed_over = Places::new();
            let chosen = by_rank(&key.to_le_bytes(), &all, &mut passed_over);
            let of = |want: Takes| order.iter().copied().filter(move |at| takes(*at) == want);
            assert_eq!(chosen.to_vec(), of(Takes::Keys).take(PARENTS_MAX).collect::<Vec<_>>());
            let last = chosen.last().filter(|_| chosen.len() == PARENTS_MAX);
            let better = |at: &usize| {
                last.is_none_or(|last| {
                    order.iter().position(|one| one == at)
                        < order.iter().position(|one| one == last)
                })
            };
            let want: Vec<usize> = of(Takes::Nothing).filter(better).take(PARENTS_MAX).collect();
            assert_eq!(passed_over.to_vec(), want, "{out:04b} {key}");
        }
    }

    #[test]
    fn a_spare_is_asked_where_every_other_one_is_out() {
        let all = |out: bool| {
            [("https://a:1", 3), ("https://b:1", 1), ("https://spare:1", 0)].map(
                |(name, weight)| {
                    let takes = if out && weight > 0 { Takes::Nothing } else { Takes::Keys };
                    Candidate { name, weight: Weight(weight), takes }
                },
            )
        };
        for key in 0..500u32 {
            let plan = |out| by_rank(&key.to_le_bytes(), &all(out), &mut Places::new());
            assert!(!plan(false).contains(&2));
            assert_eq!(plan(true).to_vec(), [2]);
        }
    }

    /// Nodes that may all be asked by viewers, and may all be parents of each other.
    const NODES: [&str; 4] = ["https://a:1", "https://b:1", "https://c:1", "https://d:1"];

    /// Each node's parents, as bits; which node is the shield; which are out, as bits.
    struct World {
        parents: Vec<usize>,
        shield: Option<usize>,
        out: usize,
        key: [u8; 1],
    }

    impl World {
        // The nodes that one asks, in order, all of which may fail; `None`: the origin alone.
        fn next(&self, node: usize, asker: Asker) -> Option<Vec<usize>> {
            let mine: Vec<usize> =
                (0..NODES.len()).filter(|other| (self.parents[node] >> other) & 1 == 1).collect();
            let candidate = |at: &usize| Candidate {
                name: NODES[*at],
                weight: Weight(1),
                takes: if (self.out >> at) & 1 == 1 { Takes::Nothing } else { Takes::Keys },
            };
            let candidates: Vec<Candidate<'_>> = mine.iter().map(candidate).collect();
            let shield = self.shield.map(|at| NODES[at]);
            let passed_over = &mut Places::new();
            let places = above(asker, &self.key, &candidates, shield, passed_over).ok()?;
            Some(places.into_iter().map(|at| mine[at]).collect())
        }

        // Follows every path from a node on; says how many there are.
        fn walk(&self, path: &mut Vec<usize>) -> usize {
            let node = path[path.len() - 1];
            let asker = if path.len() == 1 { Asker::Viewer } else { Asker::Edge };
            let mut paths = 1;
            for next in self.next(node, asker).unwrap_or_default() {
                assert!(!path.contains(&next), "{path:?} comes to {next} again");
                path.push(next);
                assert!(path.len() <= 3, "{path:?} is longer than an edge, a parent, the shield");
                paths += self.walk(path);
                path.pop();
            }
            paths
        }

        // Where the origin is asked if every hop answers.
        fn last(&self, entry: usize) -> usize {
            let (mut node, mut asker) = (entry, Asker::Viewer);
            while let Some(next) = self.next(node, asker).and_then(|all| all.first().copied()) {
                (node, asker) = (next, Asker::Edge);
            }
            node
        }
    }

    #[test]
    fn no_request_comes_to_a_node_twice_in_any_small_world() {
        let mut paths = 0;
        // Whatever each of three nodes has as parents, itself excepted.
        for parents in 0..1usize << 9 {
            let parents: Vec<usize> = (0..3).map(|node| (parents >> (3 * node)) & 7).collect();
            if (0..3).any(|node| (parents[node] >> node) & 1 == 1) {
                continue;
            }
            for shield in [None, Some(0), Some(1), Some(2)] {
                for (out, key) in (0..8).flat_map(|out| (0..3).map(move |key| (out, [key]))) {
                    let world = World { parents: parents.clone(), shield, out, key };
                    paths += (0..3).map(|entry| world.walk(&mut vec![entry])).sum::<usize>();
                }
            }
        }
        assert!(paths > 10_000, "{paths}");
    }

    #[test]
    fn the_shield_alone_asks_the_origin_where_every_node_knows_it() {
        for shield in 0..4usize {
            for more in (0..1usize << 12).step_by(7) {
                let known = 1 << shield;
                let of = |node: usize| (((more >> (3 * node)) & 7) | known) & !(1 << node);
                let parents: Vec<usize> = (0..4).map(of).collect();
                let key = [more as u8];
                let world = World { parents, shield: Some(shield), out: 0, key };
                for entry in 0..4 {
                    assert_eq!(world.last(entry), shield, "{:?} from {entry}", world.parents);
                }
            }
        }
    }
}
