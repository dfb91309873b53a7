//! Ansible's module puts together what it would send of what it reads and what a play says, and takes
//! any difference from what it read for a change. Recorded of community.aws 10.0.0 (Ansible 12.3): what
//! it sends to create, and what it asks for when the same play is run again.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::control_plane::{ALL, SECRET, folder, signed_by};
use super::support::Edge;

// Each text of a document under the names around it; items of a list by their number.
fn leaves(xml: &str) -> BTreeSet<String> {
    let (mut open, mut all): (Vec<(String, usize, String)>, _) = (Vec::new(), BTreeSet::new());
    for token in xml.split('<').skip(1) {
        let (tag, text) = token.split_once('>').expect("a tag ends");
        if tag.starts_with('?') {
            continue;
        }
        if let Some((name, children)) = open_tag(tag, &mut open) {
            open.push((name, children, text.to_string()));
        }
        if tag.starts_with('/') || tag.ends_with('/') {
            let path: Vec<&str> = open.iter().map(|(name, ..)| name.as_str()).collect();
            let path = path.join("/");
            if let Some((_, 0, text)) = open.pop() {
                all.insert(format!("{path} = {text}"));
            }
        }
    }
    all
}

// The name of an element that begins; `None` for the end of one.
fn open_tag(tag: &str, open: &mut [(String, usize, String)]) -> Option<(String, usize)> {
    if tag.starts_with('/') {
        return None;
    }
    let name = tag.split([' ', '/']).next().unwrap_or_default();
    let Some((parent, children, _)) = open.last_mut() else { return Some((name.to_string(), 0)) };
    *children += 1;
    let is_item = parent == "Items";
    Some((if is_item { format!("{name}[{children}]") } else { name.to_string() }, 0))
}

fn element<'x>(xml: &'x str, name: &str) -> &'x str {
    let (from, to) = (format!("<{name}"), format!("</{name}>"));
    let start = xml.find(&from).unwrap_or_else(|| panic!("no {name} in {xml}"));
    let end = xml.rfind(&to).unwrap_or_else(|| panic!("no end of {name} in {xml}"));
    &xml[start..end + to.len()]
}

#[test]
fn a_play_that_changes_nothing_finds_nothing_changed() {
    let edge = Edge::start_in(folder("certificates = \"any\"\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/ansible.json");
    let plays: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(plays.len(), 2);
    for play in &plays {
        let say = |key: &str| play[key].as_str().unwrap();
        let agent = format!("User-Agent: {}\r\n", say("agent"));
        let call = |method: &str, target: &str, more: &str, body: &str| {
            signed_by(&edge, (ALL, SECRET), (method, target), more, body)
        };
        let target = "/2020-05-31/distribution?WithTags=";
        let made = call("POST", target, &agent, say("create")).expect(201);
        let one = format!("/2020-05-31/distribution/{}", made.element("Id"));
        let read = |more: &str| {
            let got = call("GET", &one, more, "").expect(200);
            leaves(element(&got.body, "DistributionConfig"))
        };
        let asked = leaves(element(say("asked"), "DistributionConfig"));
        assert!(asked.len() > 40, "{asked:#?}");
        let told = read(&agent);
        let differ: Vec<&String> = told.symmetric_difference(&asked).collect();
        assert!(differ.is_empty(), "{}: {differ:#?}", say("play"));
        // Everybody else is told what Terraform reads without asking whether it is there.
        let whole = read("User-Agent: aws-sdk-go/1.38.0\r\n");
        assert!(whole.is_superset(&told));
        for key in ["DefaultCacheBehavior/FunctionAssociations/Quantity", "OriginShield/Enabled"] {
            let has = |all: &BTreeSet<String>| all.iter().any(|leaf| leaf.contains(key));
            assert!(has(&whole) && !has(&told), "{key}");
        }
        // What the module would send is what there is.
        let changes = format!("{agent}If-Match: {}\r\n", made.etag());
        let told = call("PUT", &format!("{one}/config"), &changes, say("asked")).expect(200);
        assert_eq!(told.etag(), made.etag());
    }
}
