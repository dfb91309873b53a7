//! Pure: the hops that are asked on behalf of a request, in order: parents, then the members of its
//! target.
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

/// Places among the configured parents.
pub type Places = SmallVec<[usize; PARENTS_MAX]>;

/// The hops of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itinerary<'r> {
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

/// Plans the hops of a request that is asked for a reason; `parents` are the configured ones, in
/// their order.
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
/// use foreshore::origin::itinerary::{Failover, NoParent, itinerary};
/// use foreshore::origin::request::FetchKind;
///
/// let request = ViewerRequest::get("http://h.test/a?x=1");
/// let head = request.head();
/// let routed = access::route(&site, &head, now).unwrap();
/// let asked = CacheRequest { routed, key: b"E1\0/a", wants: wants(&routed), slice: None };
/// let hops = itinerary(&asked, &FetchKind::Fill, std::iter::empty());
/// assert_eq!(hops.parents, Err(NoParent::NoneConfigured));
/// assert_eq!((hops.asked_members(), hops.failover), (&[0][..], Failover::OneMember));
/// ```
pub fn itinerary<'r, 'n>(
    asked: &CacheRequest<'r>,
    asking: &FetchKind,
    parents: impl Iterator<Item = Candidate<'n>>,
) -> Itinerary<'r> {
    let distribution = asked.routed.distribution;
    let (members, statuses) = distribution.members(asked.routed.behavior.target);
    let failover = match *asked.head().method {
        _ if members.len() < 2 => Failover::OneMember,
        Method::GET | Method::HEAD | Method::OPTIONS => Failover::On(statuses),
        _ => Failover::NotRepeatable,
    };
    let candidates: SmallVec<[Candidate<'n>; 8]> = parents.collect();
    let mut passed_over = Places::new();
    let parents = match no_parent(asked, asking) {
        _ if candidates.is_empty() => Err(NoParent::NoneConfigured),
        Some(why) => Err(why),
        None => Ok(by_rank(asked.key, &candidates, &mut passed_over)),
    };
    Itinerary { parents, passed_over, members, failover }
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
        (asked.routed.distribution.is_deploying, NoParent::Deployment),
        (asked.wants.answer == Answer::Anew, NoParent::Anew),
        (asked.routed.behavior.derived.scheme_in_key, NoParent::SchemeInKey),
        (asked.head().connection.asker == Asker::Edge, NoParent::FromEdge),
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
}
