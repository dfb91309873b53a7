//! Distributions by what they name beside documents, and the aliases that meet another: looked up,
//! and moved.

use serde_json::{Value, json};

use super::apply::Step;
use super::calls::{Listing, decoded};
use super::kinds::Names;
use super::resources::{Asked, audit};
use super::rules::unknown;
use super::views::{self, Paging, Shown};
use super::xml::{Fault, Said};
use crate::cloudfront::strict::{is, items, text, texts};
use crate::cloudfront::trust;
use crate::control::Control;
use crate::distribution::host::HostPattern;
use crate::documents::shelf::Kind;

impl Control {
    /// The distributions that name something that is no document.
    pub(super) fn naming(&self, what: Listing, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let paging = Paging::of(asked.query.as_deref())?;
        let wanted = match what {
            Listing::TrustStore => {
                let named = asked.parameter("TrustStoreIdentifier").unwrap_or_default();
                trust::id_of(&named).to_string()
            }
            _ => decoded(id),
        };
        let running = self.edge.running();
        let documents = self.documents.lock().clone();
        let mut found = self.view(&running.site, &documents).all(Kind::Distribution);
        found.retain(|one| names(what, &wanted, &one.document.config));
        let xml = match what {
            Listing::VpcOrigin => {
                views::ids(found.into_iter().map(|one| one.document.id).collect(), &paging)
            }
            Listing::OwnedResource => views::no_owners(&paging),
            _ => {
                let own = Names::of(Kind::Distribution);
                let account = running.site.admin.account.as_str();
                let spreading = self.spreading_ids(own, found.iter());
                views::list(own, &found, account, &paging, &spreading)
            }
        };
        Ok(Said { status: 200, xml, ..Said::default() })
    }

    /// The aliases of other distributions that take hosts of an alias's, or give it some.
    pub(super) fn conflicts(&self, asked: &Asked) -> Result<Said, Fault> {
        let paging = Paging::of(asked.query.as_deref())?;
        let (alias, _) = alias(asked)?;
        let id = asked.parameter("DistributionId").unwrap_or_default();
        let running = self.edge.running();
        let documents = self.documents.lock().clone();
        let view = self.view(&running.site, &documents);
        let own = Names::of(Kind::Distribution);
        view.find(own.kind, &id).ok_or_else(|| unknown(own))?;
        let account = running.site.admin.account.as_str();
        let mut found = Vec::new();
        for Shown { document, .. } in
            view.all(own.kind).into_iter().filter(|one| one.document.id != id)
        {
            let meets =
                |name: &&str| HostPattern::parse(name).is_ok_and(|name| overlap(&alias, &name));
            for name in texts(&document.config, &["Aliases"]).into_iter().filter(meets) {
                let item =
                    json!({ "Alias": name, "DistributionId": document.id, "AccountId": account });
                found.push((name.to_string(), item));
            }
        }
        let xml = views::conflicts(found, &paging);
        Ok(Said { status: 200, xml, ..Said::default() })
    }

    /// Makes an alias one distribution's, in the place of the one that had it: viewers see one or the
    /// other.
    pub(super) fn associate(&self, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let (pattern, alias) = alias(asked)?;
        let names = Names::of(Kind::Distribution);
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let known = self.own(names, id, site, &documents, "IllegalUpdate")?;
        if is(&known.config, &["Staging"]) {
            let why = "Staging: a staging distribution has no aliases of its own.";
            return Err(Fault::of("IllegalUpdate", why));
        }
        let done = Said { status: 200, ..Said::default() };
        let now = self.edge.clock.now().0;
        let host = pattern.to_string();
        let holder = site.distributions.iter().find(|one| one.hosts.contains(&host));
        if holder.is_some_and(|holder| holder.id == id) {
            return Ok(done);
        }
        let mut before = None;
        if let Some(holder) = holder {
            let from = self.own(names, &holder.id, site, &documents, "IllegalUpdate")?;
            let without = without(&from.config, &alias).ok_or_else(|| {
                let why = format!("{alias} is the name of distribution {} itself.", from.id);
                Fault::of("IllegalUpdate", &why)
            })?;
            let less = from.with_config(without, now);
            before = Some((from, less));
        }
        let next = known.with_config(with(&known.config, &alias), now);
        // What has too little is no mistake at the next start; what has too much would be one.
        let mut steps: Vec<Step<'_>> =
            before.iter().map(|(_, less)| Step::Keep(names.kind, less)).collect();
        steps.push(Step::Keep(names.kind, &next));
        self.apply_all(&mut documents, &steps)?;
        if let Some((from, less)) = &before {
            audit(&asked.who, "AssociateAlias", names.kind, &from.id, Some(from), Some(less));
        }
        audit(&asked.who, "AssociateAlias", names.kind, id, Some(&known), Some(&next));
        Ok(done)
    }
}

// Whether a configuration names something. What is served here belongs to no service of AWS, so
// nothing names a resource of one.
fn names(what: Listing, wanted: &str, config: &Value) -> bool {
    match what {
        Listing::WebAcl => {
            let acl = text(config, &["WebACLId"]);
            if wanted == "null" { acl.is_empty() } else { acl == wanted }
        }
        Listing::VpcOrigin => {
            let id = |origin: &Value| text(origin, &["VpcOriginConfig", "VpcOriginId"]) == wanted;
            items(config, &["Origins"]).iter().any(id)
        }
        Listing::AnycastIpList => text(config, &["AnycastIpListId"]) == wanted,
        Listing::ConnectionMode => match text(config, &["ConnectionMode"]) {
            "" => wanted == "direct",
            mode => mode == wanted,
        },
        Listing::OwnedResource => false,
        Listing::TrustStore => {
            let place = ["ViewerMtlsConfig", "TrustStoreConfig", "TrustStoreId"];
            trust::id_of(text(config, &place)) == wanted
        }
    }
}

// The alias that a call names, as a pattern and as it is written.
fn alias(asked: &Asked) -> Result<(HostPattern, String), Fault> {
    let said = asked.parameter("Alias").unwrap_or_default();
    match HostPattern::parse(&said) {
        Ok(HostPattern::Any) | Err(_) => {
            Err(Fault::of("InvalidArgument", &format!("Alias: {said:?} is no host name.")))
        }
        Ok(pattern) => Ok((pattern, said)),
    }
}

// Whether there is a host that both would take.
fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Suffix(suffix), HostPattern::Exact(host))
        | (HostPattern::Exact(host), HostPattern::Suffix(suffix)) => {
            host.ends_with(suffix.as_str())
        }
        (HostPattern::Suffix(one), HostPattern::Suffix(other)) => {
            one.ends_with(other.as_str()) || other.ends_with(one.as_str())
        }
        // It takes what no other does.
        (HostPattern::Any, _) | (_, HostPattern::Any) => false,
    }
}

fn aliases(all: &[&str]) -> Value {
    match all {
        [] => json!({ "Quantity": 0 }),
        all => json!({ "Quantity": all.len(), "Items": all }),
    }
}

fn with(config: &Value, alias: &str) -> Value {
    let mut all = texts(config, &["Aliases"]);
    all.push(alias);
    let mut config = config.clone();
    config["Aliases"] = aliases(&all);
    config
}

// `None` where the alias is none of its.
fn without(config: &Value, alias: &str) -> Option<Value> {
    let mut all = texts(config, &["Aliases"]);
    let count = all.len();
    all.retain(|known| !known.eq_ignore_ascii_case(alias));
    let mut less = config.clone();
    less["Aliases"] = aliases(&all);
    (all.len() < count).then_some(less)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_meet_what_they_take() {
        let pattern = |text: &str| HostPattern::parse(text).unwrap();
        for (one, other, want) in [
            ("a.test", "A.test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "*.test", true),
            ("*.a.test", "*.b.test", false),
            ("*", "a.test", false),
        ] {
            assert_eq!(overlap(&pattern(one), &pattern(other)), want, "{one} {other}");
            assert_eq!(overlap(&pattern(other), &pattern(one)), want, "{other} {one}");
        }
    }

    #[test]
    fn an_alias_is_added_and_taken_away() {
        let config = json!({ "Aliases": { "Quantity": 1, "Items": ["a.test"] }, "Comment": "c" });
        let both = with(&config, "*.b.test");
        let want = json!({ "Quantity": 2, "Items": ["a.test", "*.b.test"] });
        assert_eq!((&both["Aliases"], &both["Comment"]), (&want, &json!("c")));
        assert_eq!(without(&both, "*.B.test").unwrap(), config);
        let none = without(&config, "a.test").unwrap();
        assert_eq!(none["Aliases"], json!({ "Quantity": 0 }));
        assert_eq!(without(&config, "c.test"), None);
    }

    #[test]
    fn distributions_are_found_by_what_they_name() {
        let config = json!({ "WebACLId": "arn:acl", "ViewerMtlsConfig": { "TrustStoreConfig": { "TrustStoreId": "ts" } } });
        for (what, wanted, want) in [
            (Listing::WebAcl, "arn:acl", true),
            (Listing::WebAcl, "null", false),
            (Listing::ConnectionMode, "direct", true),
            (Listing::ConnectionMode, "tenant-only", false),
            (Listing::TrustStore, "ts", true),
            (Listing::VpcOrigin, "vo_1", false),
            (Listing::OwnedResource, "arn:x", false),
        ] {
            assert_eq!(names(what, wanted, &config), want, "{what:?} {wanted}");
        }
        assert!(names(Listing::WebAcl, "null", &json!({})));
    }
}
