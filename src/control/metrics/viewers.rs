//! Viewers' connections, over TCP and QUIC.

use std::sync::atomic::Ordering;

use super::counters;
use crate::listen::{Gauges, QuicGauges};
use crate::record::metrics::{family, single};
use crate::tls::viewer_rule::HandshakeRefusal;

pub(super) fn viewer_metrics(gauges: &Gauges, out: &mut String) {
    let rows = [
        ("foreshore_connections_accepted_total", "Connections accepted.", &gauges.accepted),
        (
            "foreshore_connection_limit_total",
            "Times that accepting waited at the limit.",
            &gauges.at_limit,
        ),
        (
            "foreshore_idle_connections_closed_total",
            "Idle connections ended to make room for others.",
            &gauges.idle_closed,
        ),
        (
            "foreshore_tls_handshakes_failed_total",
            "TLS handshakes that failed or took too long.",
            &gauges.handshakes_failed,
        ),
        ("foreshore_tls_resumed_total", "TLS sessions resumed.", &gauges.resumed),
        (
            "foreshore_bad_requests_total",
            "Requests refused by the strict head check.",
            &gauges.bad_requests,
        ),
        ("foreshore_viewer_timeouts_total", "Viewers that were too slow.", &gauges.timeouts),
    ];
    counters(out, &rows);
    let name = "foreshore_tls_refused_total";
    let help = "TLS handshakes refused because of the viewer's certificate or the name it asked for, by reason.";
    family(out, name, "counter", help);
    for (why, count) in HandshakeRefusal::ALL.iter().zip(&gauges.refused) {
        let count = count.load(Ordering::Relaxed);
        out.push_str(&format!("{name}{{reason=\"{}\"}} {count}\n", why.name()));
    }
    let open = gauges.connections.load(Ordering::Relaxed) as u64;
    single(out, "foreshore_connections", "gauge", "Open viewer connections.", open);
    quic_metrics(&gauges.quic, out);
}

fn quic_metrics(quic: &QuicGauges, out: &mut String) {
    let rows = [
        ("foreshore_quic_datagrams_total", "UDP datagrams that came for HTTP/3.", &quic.received),
        ("foreshore_quic_sends_total", "Calls that sent datagrams of HTTP/3.", &quic.sent),
        (
            "foreshore_quic_handed_over_total",
            "Datagrams that came to another core than their connection's.",
            &quic.handed_over,
        ),
        (
            "foreshore_quic_overflowed_total",
            "Such datagrams that were dropped, because too many waited.",
            &quic.overflowed,
        ),
        (
            "foreshore_quic_retried_total",
            "Viewers that had to prove their address, because many handshakes were under way.",
            &quic.retried,
        ),
        (
            "foreshore_quic_refused_total",
            "Viewers over QUIC that were refused at once.",
            &quic.refused,
        ),
        ("foreshore_quic_ignored_total", "First packets that were left unanswered.", &quic.ignored),
        (
            "foreshore_quic_gso_lost_total",
            "Sockets of HTTP/3 that had to stop sending several datagrams in one call.",
            &quic.gso_lost,
        ),
        (
            "foreshore_quic_said_again_total",
            "Datagrams sent once more to viewers whose port had changed and who had not answered.",
            &quic.said_again,
        ),
    ];
    counters(out, &rows);
    let half_open = quic.half_open.load(Ordering::Relaxed) as u64;
    let help = "Handshakes over QUIC under way.";
    single(out, "foreshore_quic_half_open", "gauge", help, half_open);
}
