//! What CloudFront's API changes on one edge of a fleet is changed on all: three edges and their
//! parent as real processes, signed calls to one or another, and viewers everywhere.

use super::control_plane::{Told, Wanted, call, change};
use super::functions_api::{associated, body, create, publish, to};
use super::support::fleet::{Fleet, Member};
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually};

const FRESHNESS: [&str; 3] = ["freshness"; 3];
/// Every member's configuration lets the API make distributions.
const API: &str = "[api]\n";

// An origin that answers with the path that it was asked for.
fn echo() -> Origin {
    Origin::start(|asked| fresh(asked.target.as_bytes()))
}

fn start(origin: &Origin) -> Fleet {
    let fleet = Fleet::start_with(origin.address, FRESHNESS, API);
    // Just after a start what the fleet keeps is still being asked for.
    for member in fleet.members() {
        let name = &member.door.name;
        let root = "CloudFrontOriginAccessIdentityConfig";
        let body = format!(
            "<{root}><CallerReference>{name}</CallerReference><Comment>probe</Comment></{root}>"
        );
        eventually(&format!("{name} takes changes"), || {
            let target = "origin-access-identity/cloudfront";
            call(member.edge(), "POST", target, &body).status == 201
        });
    }
    fleet
}

fn seen(edge: &Edge, host: &str, path: &str) -> String {
    edge.get_with(path, &[&format!("Host: {host}")]).text()
}

fn everywhere(fleet: &Fleet, host: &str, path: &str, want: &str) {
    for member in fleet.members().filter(|member| member.door.name != "parent") {
        let what = format!("{} answers {want}", member.door.name);
        eventually(&what, || seen(member.edge(), host, path) == want);
    }
}

fn deployed(member: &Member, id: &str) {
    let target = format!("distribution/{id}");
    eventually(&format!("{} says that it is deployed", member.door.name), || {
        let told = call(member.edge(), "GET", &target, "");
        told.status == 200 && told.element("Status") == "Deployed"
    });
}

fn with_root(wanted: &Wanted, root: &str) -> String {
    let more = format!("<DefaultRootObject>{root}</DefaultRootObject>");
    Wanted { more, ..wanted.clone() }.xml()
}

fn etag_of(member: &Member, id: &str) -> String {
    call(member.edge(), "GET", &format!("distribution/{id}/config"), "").expect(200).etag()
}

fn made(fleet: &Fleet, wanted: &Wanted) -> (String, String) {
    let made = call(fleet.edges[0].edge(), "POST", "distribution", &wanted.xml()).expect(201);
    assert_eq!(made.element("Status"), "InProgress");
    (made.element("Id"), made.element("DomainName"))
}

#[test]
fn what_one_edge_makes_all_serve_and_an_edge_that_was_away_too() {
    let origin = echo();
    let mut fleet = start(&origin);
    let wanted = Wanted::new("r", &origin);
    let (id, host) = made(&fleet, &wanted);
    // At once where it was made.
    assert_eq!(seen(fleet.edges[0].edge(), &host, "/a"), "/a");
    for edge in &fleet.edges {
        deployed(edge, &id);
    }
    for edge in &fleet.edges {
        assert_eq!(etag_of(edge, &id), etag_of(&fleet.edges[0], &id));
    }
    everywhere(&fleet, &host, "/b", "/b");
    let target = format!("distribution/{id}/config");
    let update = |member: &Member, root: &str| {
        let etag = etag_of(member, &id);
        change(member.edge(), "PUT", &target, &etag, &with_root(&wanted, root)).expect(200)
    };
    // Changed by another edge than the one that made it.
    update(&fleet.edges[1], "one.html");
    everywhere(&fleet, &host, "/", "/one.html");
    // One is killed, and comes back.
    fleet.edges[2].kill();
    update(&fleet.edges[0], "two.html");
    deployed(&fleet.edges[0], &id);
    fleet.edges[2].restart();
    everywhere(&fleet, &host, "/", "/two.html");
    fleet.all_have_leases();
    // The parent is killed, and with it the epoch: what was acknowledged stays.
    fleet.parent.kill();
    fleet.parent.restart();
    fleet.all_have_leases();
    everywhere(&fleet, &host, "/", "/two.html");
    eventually("changes are taken again", || {
        let etag = etag_of(&fleet.edges[2], &id);
        let body = with_root(&wanted, "three.html");
        change(fleet.edges[2].edge(), "PUT", &target, &etag, &body).status == 200
    });
    everywhere(&fleet, &host, "/", "/three.html");
    // An edge that has nothing takes over all there is.
    fleet.edges[1].end();
    let fresh = fleet.edge_named("edge-2", "freshness");
    eventually("it has a lease", || fresh.door.lease_left() > 0);
    eventually("it serves", || seen(fresh.edge(), &host, "/") == "/three.html");
}

// What two edges are told that name one version at one time.
fn race(fleet: &Fleet, id: &str, wanted: &Wanted, round: usize) -> Vec<Told> {
    let etag = etag_of(&fleet.edges[0], id);
    assert_eq!(etag_of(&fleet.edges[1], id), etag);
    let target = format!("distribution/{id}/config");
    std::thread::scope(|scope| {
        let writers: Vec<_> = fleet.edges[..2]
            .iter()
            .map(|edge| {
                let body = with_root(wanted, &format!("{round}-{}.html", edge.door.name));
                let (target, etag) = (&target, &etag);
                scope.spawn(move || change(edge.edge(), "PUT", target, etag, &body))
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn of_two_edges_that_change_one_version_one_wins_everywhere() {
    let origin = echo();
    let fleet = start(&origin);
    let wanted = Wanted::new("r", &origin);
    let (id, host) = made(&fleet, &wanted);
    deployed(&fleet.edges[1], &id);
    for round in 0..5 {
        let told = race(&fleet, &id, &wanted, round);
        let statuses: Vec<u16> = told.iter().map(|one| one.status).collect();
        assert!(matches!(statuses[..], [200, 412] | [412, 200]), "{statuses:?}");
        let winner = if statuses[0] == 200 { 0 } else { 1 };
        let want = format!("/{round}-{}.html", fleet.edges[winner].door.name);
        everywhere(&fleet, &host, "/", &want);
        deployed(&fleet.edges[1 - winner], &id);
    }
    // Two that make one and the same make it once.
    let twice = Wanted::new("twice", &origin).xml();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let twice = &twice;
        let writers: Vec<_> = fleet.edges[..2]
            .iter()
            .map(|edge| {
                scope.spawn(move || call(edge.edge(), "POST", "distribution", twice).status)
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(matches!(statuses[..], [201, 409] | [409, 201]), "{statuses:?}");
}

#[test]
fn an_edge_that_is_given_the_api_by_a_reload_takes_over_what_the_fleet_has() {
    let origin = echo();
    let fleet = start(&origin);
    let edge = &fleet.edges[2];
    edge.reconfigure(|text| text.replace(API, ""));
    let more = "<DefaultRootObject>r.html</DefaultRootObject>".to_string();
    let (id, host) = made(&fleet, &Wanted { more, ..Wanted::new("r", &origin) });
    deployed(&fleet.edges[0], &id);
    // Viewers are no evidence of it: their requests go on to the parent, which has the document.
    let shown = || call(edge.edge(), "GET", &format!("distribution/{id}"), "").status;
    assert_ne!(shown(), 200, "it has no use for documents");
    edge.reconfigure(|text| text + API);
    eventually("it has what the fleet has", || shown() == 200);
    everywhere(&fleet, &host, "/", "/r.html");
}

#[test]
fn without_the_sequencer_nothing_is_changed() {
    let origin = echo();
    let mut fleet = start(&origin);
    let wanted = Wanted::new("r", &origin);
    let (id, host) = made(&fleet, &wanted);
    everywhere(&fleet, &host, "/a", "/a");
    fleet.parent.kill();
    let edge = &fleet.edges[0];
    eventually("the lease ends", || edge.door.lease_left() == 0);
    let told = call(edge.edge(), "POST", "distribution", &Wanted::new("other", &origin).xml());
    told.refused(503, "ServiceUnavailable");
    assert!(told.body.contains("member of a fleet"), "{}", told.body);
    let target = format!("distribution/{id}/config");
    let body = with_root(&wanted, "other.html");
    let told = change(edge.edge(), "PUT", &target, &etag_of(edge, &id), &body);
    told.refused(503, "ServiceUnavailable");
    // It is served as it is, and shown.
    assert_eq!(seen(edge.edge(), &host, "/"), "/");
}

#[test]
fn a_function_is_made_published_and_named_by_three_edges() {
    let origin = echo();
    let fleet = start(&origin);
    let wanted = Wanted::new("r", &origin);
    let (id, host) = made(&fleet, &wanted);
    let etag = create(fleet.edges[0].edge(), "moved", &to("/moved")).expect(201).etag();
    let described = |member: &Member, stage: &str| {
        let target = format!("function/moved/describe?Stage={stage}");
        call(member.edge(), "GET", &target, "").status
    };
    eventually("it reaches the second edge", || described(&fleet.edges[1], "DEVELOPMENT") == 200);
    publish(fleet.edges[1].edge(), "moved", &etag).expect(200);
    eventually("it reaches the third edge", || described(&fleet.edges[2], "LIVE") == 200);
    let behavior = associated("moved", "viewer-request");
    let body = Wanted { behavior, ..wanted }.xml();
    let target = format!("distribution/{id}/config");
    let etag = etag_of(&fleet.edges[2], &id);
    change(fleet.edges[2].edge(), "PUT", &target, &etag, &body).expect(200);
    everywhere(&fleet, &host, "/a", "/moved");
}

const READS: &str = "import cf from 'cloudfront';
const kvs = cf.kvs();
async function handler(event) {
    const request = event.request;
    request.uri = await kvs.get('to');
    return request;
}";

fn put(member: &Member, value: &str, etag: Option<&str>) -> u16 {
    let token = member.edge().token();
    let if_match = etag.map_or(String::new(), |etag| format!("If-Match: {etag}\r\n"));
    let fields = format!("Authorization: Bearer {token}\r\n{if_match}");
    let value = format!("{{\"value\":\"{value}\"}}");
    member.edge().admin_with("PUT", "/v1/kv/flags/keys/to", &value, &fields).0
}

fn store_etag(member: &Member) -> String {
    let (_, store) = member.door.call("GET", "/v1/kv/flags", "").unwrap();
    store["etag"].as_str().unwrap_or_default().to_string()
}

// A distribution whose one function reads a store, all three made by one edge; its host.
fn reading(fleet: &Fleet, origin: &Origin) -> String {
    let edge = fleet.edges[0].edge();
    let asked = "<CreateKeyValueStoreRequest><Name>flags</Name></CreateKeyValueStoreRequest>";
    let arn = call(edge, "POST", "key-value-store", asked).expect(201).element("ARN");
    let config = format!(
        "<KeyValueStoreAssociations><Quantity>1</Quantity><Items><KeyValueStoreAssociation><KeyValueStoreARN>{arn}</KeyValueStoreARN>\
         </KeyValueStoreAssociation></Items></KeyValueStoreAssociations>"
    );
    let asked = body("CreateFunctionRequest", "flag", &config, READS);
    let etag = call(edge, "POST", "function", &asked).expect(201).etag();
    publish(edge, "flag", &etag).expect(200);
    let behavior = associated("flag", "viewer-request");
    made(fleet, &Wanted { behavior, ..Wanted::new("reading", origin) }).1
}

#[test]
fn a_value_that_one_edge_is_given_is_read_by_functions_on_all() {
    let origin = echo();
    let mut fleet = start(&origin);
    let host = reading(&fleet, &origin);
    eventually("the store reaches the second edge", || put(&fleet.edges[1], "/one", None) == 200);
    everywhere(&fleet, &host, "/a", "/one");
    // The version that one edge tells counts on the others, and for one of two.
    for round in 0..3 {
        eventually("all have one version", || {
            let etags = [0, 1, 2].map(|at| store_etag(&fleet.edges[at]));
            etags[0] == etags[1] && etags[1] == etags[2]
        });
        let etag = store_etag(&fleet.edges[0]);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let etag = &etag;
            let writers: Vec<_> = fleet.edges[1..]
                .iter()
                .map(|edge| {
                    let value = format!("/{round}-{}", edge.door.name);
                    scope.spawn(move || put(edge, &value, Some(etag)))
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert!(matches!(statuses[..], [200, 412] | [412, 200]), "{statuses:?}");
        let winner = if statuses[0] == 200 { 1 } else { 2 };
        everywhere(&fleet, &host, "/a", &format!("/{round}-{}", fleet.edges[winner].door.name));
    }
    fleet.edges[2].kill();
    assert_eq!(put(&fleet.edges[0], "/last", None), 200);
    fleet.edges[2].restart();
    everywhere(&fleet, &host, "/a", "/last");
    // What is removed is gone everywhere, and with it what was in it.
    let deleted = fleet.edges[1].edge().admin("DELETE", "/v1/kv/flags/keys/to", "");
    assert_eq!(deleted.0, 200, "{}", deleted.1);
    for edge in &fleet.edges {
        eventually("the key is gone", || {
            edge.door
                .call("GET", "/v1/kv/flags/keys/to", "")
                .is_some_and(|(status, _)| status == 404)
        });
    }
}

// Whether an edge has a store.
fn has_store(member: &Member, name: &str) -> bool {
    let told = member.door.call("GET", &format!("/v1/kv/{name}"), "");
    told.unwrap_or_else(|| panic!("{} does not answer", member.door.name)).0 == 200
}

fn make_store(fleet: &Fleet, name: &str) {
    let root = "CreateKeyValueStoreRequest";
    let asked = format!("<{root}><Name>{name}</Name></{root}>");
    call(fleet.edges[0].edge(), "POST", "key-value-store", &asked).expect(201);
    for edge in &fleet.edges {
        eventually(&format!("{} has it", edge.door.name), || has_store(edge, name));
    }
}

#[test]
fn a_store_that_one_edge_deletes_is_not_made_again_by_another_that_fills_it() {
    let origin = echo();
    let fleet = start(&origin);
    for round in 0..8 {
        let name = format!("s{round}");
        make_store(&fleet, &name);
        let target = format!("key-value-store/{name}");
        let etag = call(fleet.edges[2].edge(), "GET", &target, "").expect(200).etag();
        std::thread::scope(|scope| {
            for (at, edge) in fleet.edges[..2].iter().enumerate() {
                let path = format!("/v1/kv/{name}/keys/{at}");
                scope.spawn(move || {
                    for _ in 0..5 {
                        let (status, told) = edge.edge().admin("PUT", &path, "{\"value\":\"1\"}");
                        assert!(matches!(status, 200 | 404), "{status} {told}");
                    }
                });
            }
            change(fleet.edges[2].edge(), "DELETE", &target, &etag, "").expect(204);
        });
        // What comes later has come after all that was said of it.
        make_store(&fleet, &format!("after{round}"));
        for edge in &fleet.edges {
            assert!(!has_store(edge, &name), "{} in round {round}", edge.door.name);
        }
    }
}
