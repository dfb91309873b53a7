//! Pure: the hops that are asked on behalf of a request, in order: the tier that the fleet shares,
//! parents, then the members of the target.
//!
//! Serving walks what this says, and `explain` tells it. What a hop's health allows is decided on
//! the way.

use http::Method;
use smallvec::SmallVec;

use super::request::FetchKind;
use crate::cache::ask::{Answer, CacheRequest, MethodIntent};
use crate::message::connection::Asker;
use crate::message::failure::FailureKind;

/// The most parents that one request asks.
pub const PARENTS_MAX: usize = 2;

/// Why no parent is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoParent {
    NoneConfigured,
    /// The request is relayed for one viewer (CloudFront's regional caches do the same).
    Relayed,
    /// A POST whose answer is kept.
    Post,
    /// A parent would choose a side of its own.
    Deployment,
    /// The caller replaces what is stored: no store may answer.
    Anew,
    /// The scheme is in the key, and a parent would take its own for the viewer's.
    SchemeInKey,
    /// The request comes from an edge: this node is the parent.
    FromEdge,
}

impl NoParent {
    /// The reason in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoneConfigured => "none is configured",
            Self::Relayed => "the request goes on for this viewer alone",
            Self::Post => "a kept POST is asked of the origin",
            Self::Deployment => {
                "a parent would choose a side of the continuous deployment of its own"
            }
            Self::Anew => "the caller wants the origin's own word",
            Self::SchemeInKey => "the viewer's scheme is in the key",
            Self::FromEdge => "an edge asks, and this node is its parent",
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

impl Failover<'_> {
    /// Whether the next member is to be asked after this one answered with a status, or failed.
    pub fn moves_on(self, came: Result<u16, FailureKind>) -> bool {
        match (self, came) {
            (Self::OneMember | Self::NotRepeatable, _) => false,
            (Self::On(statuses), Ok(status)) => statuses.contains(&status),
            (Self::On(_), Err(kind)) => kind.fails_over(),
        }
    }
}

/// The hops of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itinerary<'r> {
    /// Whether the tier that the fleet shares is asked first.
    pub tier: Result<(), NoTier>,
    /// Places among the configured parents, in the order in which they are asked.
    pub parents: Result<SmallVec<[usize; PARENTS_MAX]>, NoParent>,
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

/// Plans the hops of a request that is asked for a reason; `parents` are the names of the
/// configured ones, in their order, and `tier` says whether the fleet shares one.
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
/// let asked = CacheRequest { routed, key: b"E1\0/a", wants: wants(&routed), slice: None };
/// let hops = itinerary(&asked, &FetchKind::Fill, SharedTier::Configured, std::iter::empty());
/// assert_eq!(hops.tier, Ok(()));
/// assert_eq!(hops.parents, Err(NoParent::NoneConfigured));
/// assert_eq!((hops.asked_members(), hops.failover), (&[0][..], Failover::OneMember));
/// ```
pub fn itinerary<'r, 'n>(
    asked: &CacheRequest<'r>,
    asking: &FetchKind,
    tier: SharedTier,
    parents: impl Iterator<Item = &'n str>,
) -> Itinerary<'r> {
    let distribution = asked.routed.distribution;
    let (members, statuses) = distribution.members(asked.routed.behavior.target);
    let failover = match *asked.head().method {
        _ if members.len() < 2 => Failover::OneMember,
        Method::GET | Method::HEAD | Method::OPTIONS => Failover::On(statuses),
        _ => Failover::NotRepeatable,
    };
    let mut parents = parents.peekable();
    let parents = match no_parent(asked, asking) {
        _ if parents.peek().is_none() => Err(NoParent::NoneConfigured),
        Some(why) => Err(why),
        None => Ok(ranked(asked.key, parents).into_iter().take(PARENTS_MAX).collect()),
    };
    let tier = match (tier, no_tier(asked, asking)) {
        (SharedTier::Absent, _) => Err(NoTier::NoneConfigured),
        (SharedTier::Configured, Some(why)) => Err(why),
        (SharedTier::Configured, None) => Ok(()),
    };
    Itinerary { tier, parents, members, failover }
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

// What keeps a request from parents, wherever they are. Requests that cannot be answered from a
// store go straight to the origin.
fn no_parent(asked: &CacheRequest<'_>, asking: &FetchKind) -> Option<NoParent> {
    let reasons = [
        (matches!(asking, FetchKind::Pass), NoParent::Relayed),
        (asked.wants.method == MethodIntent::Post, NoParent::Post),
        (asked.routed.distribution.is_deploying, NoParent::Deployment),
        (asked.wants.answer == Answer::Anew, NoParent::Anew),
        (asked.routed.behavior.derived.scheme_in_key, NoParent::SchemeInKey),
        (asked.head().connection.asker == Asker::Edge, NoParent::FromEdge),
    ];
    reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
}

/// Parents in the order of their right to a key: highest random weight first. Taking one away moves
/// only the keys it had.
pub fn ranked<'n>(key: &[u8], names: impl Iterator<Item = &'n str>) -> Vec<usize> {
    use std::hash::{BuildHasher, Hasher};
    let weigh = |name: &str| {
        // Fixed seed: every edge must come to the same order.
        let mut hasher = foldhash::quality::FixedState::with_seed(0x464f_5245).build_hasher();
        hasher.write(name.as_bytes());
        hasher.write(key);
        hasher.finish()
    };
    let mut order: Vec<(u64, usize)> =
        names.enumerate().map(|(at, name)| (weigh(name), at)).collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    order.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn keys_spread_over_parents_and_stay_when_one_goes() {
        let names = ["https://a:1", "https://b:1", "https://c:1"];
        let mut counts = [0; 3];
        for key in 0..3000u32 {
            let order = ranked(&key.to_le_bytes(), names.iter().copied());
            counts[order[0]] += 1;
            if order[0] != 2 {
                let without: Vec<usize> = ranked(&key.to_le_bytes(), names[..2].iter().copied());
                assert_eq!(without[0], order[0], "a key moved though its parent stayed");
            }
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
