//! Pure: documents as answers show them, whole and in lists; distributions of the configuration
//! file among them, as an export describes them.

use std::collections::BTreeSet;

use quick_xml::escape::escape;
use serde_json::{Value, json};

use super::calls::parameter;
use super::kinds::Names;
use super::tree;
use super::xml::{Fault, HEAD, NAMESPACE};
use crate::cloudfront::export;
use crate::cloudfront::strict::{behaviors, texts};
use crate::cloudfront::{defaults, live};
use crate::crypto::sigv4::sha256;
use crate::distribution::site::{Distribution, Site};
use crate::documents::shelf::{Document, Documents, Kind, etag, letters};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Most items of one page.
const PAGE: usize = 100;

/// Where a document is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Api,
    /// It is a table of the configuration file.
    File,
    /// It is one of CloudFront's own.
    Managed,
}

/// A document, and who keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub keeper: Keeper,
    pub etag: String,
    pub document: Document,
}

/// What documents are looked for in.
#[derive(Clone, Copy)]
pub struct View<'v> {
    pub site: &'v Site,
    pub documents: &'v Documents,
    /// When the configuration file's distributions are said to have changed.
    pub since: Timestamp,
}

impl View<'_> {
    /// One of a kind.
    pub fn find(&self, kind: Kind, id: &str) -> Option<Shown> {
        if let Some(document) = self.documents.get(kind, id) {
            return Some(kept(document));
        }
        match kind {
            Kind::Distribution => {
                let one = self.site.distributions.iter().find(|one| one.id == id)?;
                Some(self.of_file(one))
            }
            kind => self.managed(kind).into_iter().find(|one| one.document.id == id),
        }
    }

    /// Says whether there is one of a kind, without making anything of it that could be shown.
    pub fn has(&self, kind: Kind, id: &str) -> bool {
        self.documents.get(kind, id).is_some()
            || match kind {
                Kind::Distribution => self.site.distributions.iter().any(|one| one.id == id),
                kind => export::is_managed(kind, id),
            }
    }

    /// All of a kind, by their ids.
    pub fn all(&self, kind: Kind) -> Vec<Shown> {
        let mut all: Vec<Shown> = self.documents.of(kind).map(|one| kept(one)).collect();
        if kind == Kind::Distribution {
            let is_of_file = |one: &&std::sync::Arc<Distribution>| {
                self.documents.get(Kind::Distribution, &one.id).is_none()
            };
            let of_file = self.site.distributions.iter().filter(is_of_file);
            all.extend(of_file.map(|one| self.of_file(one)));
        } else {
            all.extend(self.managed(kind));
        }
        all.sort_by(|one, other| one.document.id.cmp(&other.document.id));
        all
    }

    /// The ids of the distributions that name a document.
    pub fn users(&self, kind: Kind, id: &str) -> Vec<String> {
        let all = self.all(Kind::Distribution).into_iter();
        let names = |one: &Shown| {
            let named = live::named(Kind::Distribution, &one.document.config);
            named.iter().any(|(of, named, _)| *of == kind && named == id)
        };
        all.filter(names).map(|one| one.document.id).collect()
    }

    fn of_file(&self, one: &Distribution) -> Shown {
        let (mut whole, _) = export::export(self.site, one);
        let mut config = whole["DistributionConfig"].take();
        defaults::distribution(&mut config);
        let domain = self.site.api.as_ref().map_or("cloudfront.net", |api| api.domain.as_str());
        let document = Document {
            revision: 0,
            domain: format!("d{}.{domain}", letters(&one.id, 13).to_ascii_lowercase()),
            tags: one.tags.iter().cloned().collect(),
            ..Document::new(one.id.as_str(), config, self.since.0)
        };
        Shown { keeper: Keeper::File, etag: etag(&document.config.to_string()), document }
    }

    fn managed(&self, kind: Kind) -> Vec<Shown> {
        let of = |(id, _, config): (&'static str, String, Value)| Shown {
            keeper: Keeper::Managed,
            etag: etag(id),
            document: Document { revision: 0, ..Document::new(id, config, 0) },
        };
        export::managed(kind).into_iter().map(of).collect()
    }
}

fn kept(document: &Document) -> Shown {
    Shown { keeper: Keeper::Api, etag: document.etag(), document: document.clone() }
}

/// The name of a resource as tags and policies of AWS have it.
pub fn arn(account: &str, id: &str) -> String {
    format!("arn:aws:cloudfront::{account}:distribution/{id}")
}

/// Whether an answer is to a change, or to a question afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// CloudFront is never done when it answers; this edge serves it already, and others of its
    /// fleet will.
    Changed,
    /// Whoever is alive serves it.
    Asked,
}

/// One document whole; what it says of others is looked up among all of them.
pub fn whole(
    names: &Names,
    shown: &Shown,
    account: &str,
    when: When,
    documents: &Documents,
) -> String {
    let mut all = value(names, shown, account, when);
    if names.kind == Kind::Distribution {
        all["ActiveTrustedKeyGroups"] = trusted(&shown.document.config, documents);
    }
    tree::write(names.one, names.shape, &all)
}

// The key groups that behaviors trust, each once, with the keys of each. What keys a group of the
// configuration has is said there alone.
fn trusted(config: &Value, documents: &Documents) -> Value {
    let mut ids: Vec<&str> = Vec::new();
    for (_, behavior) in behaviors(config) {
        for id in texts(behavior, &["TrustedKeyGroups"]) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    let keys = |id: &str| -> Vec<Value> {
        let group = documents.get(Kind::KeyGroup, id);
        let keys = group.and_then(|group| group.config.get("Items")).and_then(Value::as_array);
        keys.cloned().unwrap_or_default()
    };
    let items: Vec<Value> =
        ids.iter().map(|id| json!({ "KeyGroupId": id, "KeyPairIds": counted(keys(id)) })).collect();
    let mut all = counted(items);
    all["Enabled"] = (!ids.is_empty()).into();
    all
}

// A list with its count; without `Items` where it is empty.
fn counted(items: Vec<Value>) -> Value {
    let mut all = json!({ "Quantity": items.len() });
    if !items.is_empty() {
        all["Items"] = items.into();
    }
    all
}

fn value(names: &Names, shown: &Shown, account: &str, when: When) -> Value {
    let document = &shown.document;
    let time = |at: u64| format_rfc3339(Timestamp(at));
    let mut all = json!({ "Id": document.id, "LastModifiedTime": time(document.modified) });
    all[names.config] = document.config.clone();
    match names.kind {
        Kind::Distribution => {
            all["ARN"] = arn(account, &document.id).into();
            all["Status"] = if when == When::Changed { "InProgress" } else { "Deployed" }.into();
            all["InProgressInvalidationBatches"] = 0.into();
            all["DomainName"] = document.domain.as_str().into();
            all["ActiveTrustedSigners"] = json!({ "Enabled": false, "Quantity": 0 });
        }
        Kind::OriginAccessIdentity => {
            all["S3CanonicalUserId"] = sha256(document.id.as_bytes()).into();
        }
        Kind::PublicKey => all["CreatedTime"] = time(document.created).into(),
        _ => {}
    }
    all
}

// One item of a list.
fn summary(names: &Names, shown: &Shown, account: &str, when: When) -> Value {
    let whole = value(names, shown, account, when);
    match names.kind {
        Kind::CachePolicy | Kind::OriginRequestPolicy | Kind::ResponseHeadersPolicy => {
            let kind = if shown.keeper == Keeper::Managed { "managed" } else { "custom" };
            let mut item = json!({ "Type": kind });
            item[names.one] = whole;
            item
        }
        Kind::KeyGroup => json!({ "KeyGroup": whole }),
        Kind::ContinuousDeploymentPolicy => json!({ "ContinuousDeploymentPolicy": whole }),
        // These have the members of the configuration beside those of the whole.
        _ => {
            let mut item = shown.document.config.clone();
            if let (Some(item), Value::Object(whole)) = (item.as_object_mut(), whole) {
                item.extend(whole);
                item.insert("ETag".into(), shown.etag.as_str().into());
            }
            item
        }
    }
}

/// What a caller asks of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Paging {
    marker: String,
    most: usize,
}

impl Paging {
    /// Reads `Marker` and `MaxItems` of a query.
    pub fn of(query: Option<&str>) -> Result<Self, Fault> {
        let say = |name: &str| parameter(query, name).unwrap_or_default();
        Self::said(say("Marker"), &say("MaxItems"))
    }

    /// By their words; an empty one is none.
    pub fn said(marker: String, most: &str) -> Result<Self, Fault> {
        let most =
            match most {
                "" => PAGE,
                said => said.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                    Fault::of("InvalidArgument", "MaxItems is a number above zero.")
                })?,
            };
        Ok(Self { marker, most: most.min(PAGE) })
    }

    // One page of what has been sorted by ids: a marker is the last id of the page before, whether
    // it is there still or not.
    fn page(&self, all: Vec<(String, Value)>) -> Value {
        let mut rest = all.into_iter().filter(|(id, _)| *id > self.marker);
        let page: Vec<(String, Value)> = rest.by_ref().take(self.most).collect();
        let is_truncated = rest.next().is_some();
        let next = page.last().filter(|_| is_truncated).map(|(id, _)| id.clone());
        let count = page.len();
        let items: Vec<Value> = page.into_iter().map(|(_, item)| item).collect();
        let mut list = json!({
            "Marker": self.marker, "MaxItems": self.most, "IsTruncated": is_truncated, "Quantity": count,
        });
        if let Some(next) = next {
            list["NextMarker"] = next.into();
        }
        if count > 0 {
            list["Items"] = items.into();
        }
        list
    }
}

/// A list of documents; of those that are on their way to members of a fleet the ids are given.
pub fn list(
    names: &Names,
    all: &[Shown],
    account: &str,
    paging: &Paging,
    spreading: &BTreeSet<String>,
) -> String {
    let when = |one: &Shown| {
        if spreading.contains(&one.document.id) { When::Changed } else { When::Asked }
    };
    let items =
        all.iter().map(|one| (one.document.id.clone(), summary(names, one, account, when(one))));
    tree::write(names.list, names.list_shape, &paging.page(items.collect()))
}

/// A list of ids of distributions.
pub fn ids(all: Vec<String>, paging: &Paging) -> String {
    let items = all.into_iter().map(|id| (id.clone(), Value::String(id)));
    let list = paging.page(items.collect());
    tree::write("DistributionIdList", &crate::cloudfront::model::DISTRIBUTION_ID_LIST, &list)
}

/// A list of trust stores, by their ids.
pub fn trust_stores(all: Vec<(String, Value)>, paging: &Paging) -> String {
    let mut page = paging.page(all);
    let list =
        json!({ "TrustStoreList": page["Items"].take(), "NextMarker": page["NextMarker"].take() });
    let shape = &crate::cloudfront::model::LIST_TRUST_STORES_RESULT;
    tree::write("ListTrustStoresResult", shape, &list)
}

/// A list of real-time log configurations, by their names.
pub fn realtime_logs(all: Vec<(String, Value)>, paging: &Paging) -> String {
    let shape = &crate::cloudfront::model::REALTIME_LOG_CONFIGS;
    tree::write("RealtimeLogConfigs", shape, &paging.page(all))
}

/// The list of the owners of resources that accounts share: there are none here.
pub fn no_owners(paging: &Paging) -> String {
    let shape = &crate::cloudfront::model::DISTRIBUTION_ID_OWNER_LIST;
    tree::write("DistributionIdOwnerList", shape, &paging.page(Vec::new()))
}

/// A page of a list, by its element's name, of what there is none of.
pub fn none(root: &str, paging: &Paging) -> String {
    let Paging { marker, most } = paging;
    format!(
        "{HEAD}<{root} xmlns=\"{NAMESPACE}\"><Marker>{}</Marker><MaxItems>{most}</MaxItems><IsTruncated>false</IsTruncated>\
         <Quantity>0</Quantity></{root}>",
        escape(marker.as_str())
    )
}

/// A list of aliases, each with the distribution that it is of.
pub fn conflicts(mut all: Vec<(String, Value)>, paging: &Paging) -> String {
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let shape = &crate::cloudfront::model::CONFLICTING_ALIASES_LIST;
    tree::write("ConflictingAliasesList", shape, &paging.page(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_where_the_one_before_ended() {
        let all = || ["a", "b", "c"].map(|id| (id.to_string(), Value::from(id))).to_vec();
        let page = |query: &str| Paging::of(Some(query)).unwrap().page(all());
        let first = page("MaxItems=2");
        assert_eq!((&first["Items"], &first["NextMarker"]), (&json!(["a", "b"]), &json!("b")));
        assert_eq!(first["IsTruncated"], true);
        let second = page("MaxItems=2&Marker=b");
        assert_eq!((&second["Items"], &second["Quantity"]), (&json!(["c"]), &json!(1)));
        assert!(second.get("NextMarker").is_none());
        // The one that the marker names is gone.
        assert_eq!(page("Marker=bb")["Items"], json!(["c"]));
        assert!(page("Marker=x").get("Items").is_none());
        for bad in ["MaxItems=0", "MaxItems=x", "MaxItems=-1"] {
            assert_eq!(Paging::of(Some(bad)).unwrap_err().code, "InvalidArgument", "{bad}");
        }
        assert_eq!(Paging::of(Some("MaxItems=1000")).unwrap().most, PAGE);
    }

    #[test]
    fn the_key_groups_of_all_behaviors_are_told_with_their_keys() {
        let groups =
            |ids: &[&str]| json!({ "TrustedKeyGroups": { "Enabled": true, "Items": ids } });
        let config = json!({
            "DefaultCacheBehavior": groups(&["g", "of-file"]),
            "CacheBehaviors": { "Items": [groups(&["g"]), {}] },
        });
        let mut all = Documents::default();
        let group = json!({ "Name": "n", "Items": ["K1", "K2"] });
        all.put(Kind::KeyGroup, Document::new("g", group, 0));
        let told = trusted(&config, &all);
        let want = json!({ "Enabled": true, "Quantity": 2, "Items": [
            { "KeyGroupId": "g", "KeyPairIds": { "Quantity": 2, "Items": ["K1", "K2"] } },
            { "KeyGroupId": "of-file", "KeyPairIds": { "Quantity": 0 } },
        ] });
        assert_eq!(told, want);
        let none = json!({ "Enabled": false, "Quantity": 0 });
        assert_eq!(trusted(&json!({}), &all), none);
    }

    #[test]
    fn lists_say_what_their_kind_says() {
        let config =
            json!({ "CallerReference": "r", "Name": "n", "EncodedKey": "k", "Comment": "c" });
        let shown = Shown {
            keeper: Keeper::Api,
            etag: "E".into(),
            document: Document::new("K1", config, 0),
        };
        let names = Names::of(Kind::PublicKey);
        let list = |names, all: &[Shown]| {
            list(names, all, "0", &Paging::of(None).unwrap(), &BTreeSet::new())
        };
        let text = list(names, std::slice::from_ref(&shown));
        assert!(
            text.contains(
                "<PublicKeySummary><Id>K1</Id><Name>n</Name><CreatedTime>1970-01-01T00:00:00"
            ),
            "{text}"
        );
        assert!(!text.contains("CallerReference") && text.contains("<MaxItems>100</MaxItems>"));
        let none = list(names, &[]);
        assert!(none.contains("<Quantity>0</Quantity>") && !none.contains("<Items>"), "{none}");
        let group = Names::of(Kind::CachePolicy);
        let text = list(group, &[Shown { keeper: Keeper::Managed, ..shown }]);
        assert!(text.contains("<CachePolicySummary><Type>managed</Type><CachePolicy><Id>K1</Id>"));
    }
}
