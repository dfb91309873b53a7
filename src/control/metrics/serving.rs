//! Fetches and what they carry, and the connections to origins.

use std::sync::atomic::Ordering;

use super::{counters, gauges};
use crate::proxy::{Edge, Tally};

pub(super) fn serving_metrics(edge: &Edge, out: &mut String) {
    fills(&edge.tally, out);
    carried(&edge.tally, out);
    origins(edge, out);
    let rows = [
        ("foreshore_tunnels", "Open WebSocket connections.", edge.tunnels_now() as u64),
        ("foreshore_fills", "Fetches under way.", edge.fills_now() as u64),
        ("foreshore_collapses", "Keys that requests are waiting for.", edge.collapses.len() as u64),
    ];
    gauges(out, &rows);
}

fn fills(tally: &Tally, out: &mut String) {
    let rows = [
        ("foreshore_fills_total", "Fetches for the store.", &tally.fills),
        (
            "foreshore_fills_refused_total",
            "Fetches that found the limit of fills reached.",
            &tally.fills_refused,
        ),
        ("foreshore_fills_broken_total", "Fetches whose body broke off.", &tally.fills_broken),
        (
            "foreshore_followers_total",
            "Requests that waited for another's fetch.",
            &tally.followers,
        ),
        (
            "foreshore_background_refreshes_total",
            "Refreshes behind a viewer's back.",
            &tally.background_refreshes,
        ),
        (
            "foreshore_not_stored_full_total",
            "Responses passed through for want of room.",
            &tally.not_stored_full,
        ),
        (
            "foreshore_writes_through_total",
            "Viewers' writes that were to be in effect everywhere before their answers.",
            &tally.writes_through,
        ),
        (
            "foreshore_writes_unspread_total",
            "Those of them that were answered before that was known.",
            &tally.writes_unspread,
        ),
        (
            "foreshore_bodies_resumed_total",
            "Bodies that broke off and were gone on with elsewhere.",
            &tally.bodies_resumed,
        ),
    ];
    counters(out, &rows);
}

// What is more than a request and its answer.
fn carried(tally: &Tally, out: &mut String) {
    let rows = [
        ("foreshore_tunnels_total", "WebSocket connections that were opened.", &tally.tunnels),
        (
            "foreshore_tunnels_refused_total",
            "WebSocket connections beyond limits.tunnels.",
            &tally.tunnels_refused,
        ),
        (
            "foreshore_tunnel_octets_total",
            "Octets that WebSocket connections have carried, both ways.",
            &tally.tunnel_octets,
        ),
        (
            "foreshore_forms_encrypted_total",
            "Forms that went to an origin with their fields encrypted.",
            &tally.forms_encrypted,
        ),
        ("foreshore_grpc_calls_total", "Calls of gRPC that went to an origin.", &tally.grpc),
        (
            "foreshore_grpc_errors_total",
            "Calls of gRPC that this edge answered itself, with an error.",
            &tally.grpc_errors,
        ),
    ];
    counters(out, &rows);
}

fn origins(edge: &Edge, out: &mut String) {
    let origins = &edge.origins.counts;
    let rows = [
        (
            "foreshore_origin_connections_total",
            "Connections made to origins.",
            &origins.connections,
        ),
        (
            "foreshore_origin_http2_connections_total",
            "Those of them over which HTTP/2 is spoken.",
            &origins.http2,
        ),
        (
            "foreshore_origin_asked_again_total",
            "Requests over HTTP/2 that an origin left unread, or that their connection lost.",
            &origins.again,
        ),
    ];
    counters(out, &rows);
    let rows = [
        (
            "foreshore_origin_streams",
            "Requests to origins over HTTP/2 under way.",
            origins.streams.load(Ordering::Relaxed) as u64,
        ),
        (
            "foreshore_origin_streams_waiting",
            "Requests that wait for room on such a connection.",
            origins.waiting.load(Ordering::Relaxed) as u64,
        ),
    ];
    gauges(out, &rows);
}
