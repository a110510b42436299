//! Tests against real Java clusters, and of the support for them.

mod access;
mod activation;
mod activation_clients;
mod activation_tail;
mod after_activation;
mod announcements;
mod archive_server;
mod backup;
mod cold_restore;
mod commit_safety;
mod daisy_chain;
mod fail_back;
mod failures;
mod following;
mod forks;
mod full_disk;
/// The same as on a node without Java.
#[path = "../support/hostile.rs"]
mod hostile;
mod hostile_clients;
mod joining;
mod kills;
mod leader_tools;
mod leading;
mod loss;
mod module_state;
mod official_tools;
mod rust_client;
mod seed;
mod smoke;
mod snapshots_loaded;
mod standby_snapshots;
mod support;
mod versions;
