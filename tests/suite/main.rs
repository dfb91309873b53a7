//! Foreshore put to the proof, in one test program so that it links once.
//!
//! `scenes` runs the policy on virtual time; everything else starts the real binary and talks to it
//! over real sockets, with origins of its own that stall, reset, truncate and lie.

#[cfg(feature = "acme")]
mod acme;
#[cfg(feature = "acme")]
mod acme_hostile;
#[cfg(feature = "acme")]
mod acme_pebble;
mod ansible;
mod arrows;
mod aws;
mod bucket;
mod config;
mod connections;
mod control;
mod control_plane;
mod control_plane_answers;
mod crash;
mod dashboard;
mod deployments;
mod disk;
mod faces;
mod faults;
mod fleet;
mod fleet_documents;
mod fleet_kept;
mod fleet_model;
mod fleet_sample;
mod fleet_scenes;
mod fleet_sim;
mod fleet_stage;
mod forms;
mod forms_failure;
mod function_command;
mod function_samples;
mod functions;
mod functions_api;
mod fuzz;
mod gateway;
mod grpc;
#[cfg(feature = "http3")]
mod h3_network;
mod hit_cost;
mod http2;
#[cfg(feature = "http3")]
mod http3;
mod imports;
mod imports_templates;
mod itinerary;
mod kv;
mod lambda;
mod lambda_samples;
mod laws;
mod level;
mod log_choices;
mod log_lines;
mod managed;
mod migrate;
mod octets;
mod origin_h2;
mod origin_settings;
mod origins;
mod packages;
mod parent;
mod parents;
mod parts;
mod pass_cost;
mod policies;
mod policies_web;
mod priorities;
#[cfg(feature = "http3")]
mod protocols;
mod readme;
mod recompile;
mod reloads;
mod routes;
mod s3;
mod s3_events;
mod same_site;
mod scenes;
mod service;
mod signed;
mod sns;
mod sse;
mod staging;
mod storm;
mod support;
mod terraform;
mod tidy;
mod tier;
mod tier_access;
mod tier_clients;
mod tier_cluster;
mod tier_cuts;
mod tier_engines;
mod tier_fleet;
mod tier_lessons;
mod tier_patterns;
mod tier_ranges;
mod tier_sample;
mod tier_sequence;
mod tiers;
mod tools;
mod traces;
mod tunnel;
mod upgrade;
mod upgrade_fleet;
mod upgrade_streams;
mod viewer_certificates;
mod viewer_tls;
mod wire;
