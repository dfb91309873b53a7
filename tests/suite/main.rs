//! Foreshore put to the proof, in one test program so that it links once.
//!
//! `scenes` runs the policy on virtual time; everything else starts the real binary and talks to it
//! over real sockets, with origins of its own that stall, reset, truncate and lie.

mod arrows;
mod aws;
mod bucket;
mod config;
mod connections;
mod control;
mod crash;
mod disk;
mod faces;
mod faults;
mod fleet;
mod fleet_model;
mod fleet_sample;
mod fleet_scenes;
mod fleet_sim;
mod fleet_stage;
mod fuzz;
mod grpc;
mod hit_cost;
mod http2;
mod imports;
mod itinerary;
mod laws;
mod log_lines;
mod migrate;
mod octets;
mod origin_h2;
mod origins;
mod parent;
mod parents;
mod parts;
mod pass_cost;
mod policies;
mod policies_web;
mod readme;
mod reloads;
mod routes;
mod s3;
mod scenes;
mod signed;
mod sse;
mod staging;
mod storm;
mod support;
mod tidy;
mod tier;
mod tier_fleet;
mod tiers;
mod tools;
mod tunnel;
mod viewer_tls;
mod wire;
