//! A fuzz target for everything in `consensus-tap` that reads bytes which somebody else wrote.
//!
//! Each target is a plain `fn(&[u8])` that panics when a promise is broken: on any panic of the parser, and where it
//! is cheap also when what was read does not survive being written and read again, or cannot be printed. The same
//! functions are driven twice: on stable by `consensus-tap/tests/fuzz.rs`, over corpus, mutations and noise, as a
//! part of every test run; and for as long as one likes by libFuzzer:
//!
//! ```text
//! cargo install cargo-fuzz
//! cd consensus-tap && cargo +nightly fuzz run --features libfuzzer log_reader
//! ```
//! Seeds lie in `corpus/<target>/`; `cargo run -p consensus-tap-fuzz --example write_seeds` writes them from the
//! encoders, whose bytes the unit tests hold against those of the official ones. An input that once broke something
//! is kept beside them, under a name that says what it broke.
#![forbid(unsafe_code)]

mod archive_server;
mod cluster_client;
mod codecs;
mod conversation;
mod files;
mod leader;
mod recordings;
mod script;
mod serving;
mod streams;
mod texts;
mod wire;

pub use archive_server::archive_server;
pub use cluster_client::cluster_client;
pub use codecs::*;
pub use conversation::tap_conversation;
pub use files::*;
pub use leader::leader;
pub use recordings::*;
pub use serving::*;
pub use streams::*;
pub use texts::*;
pub use wire::*;

/// One target: what it is called everywhere, what it runs, and whose `parse` and `decode` it covers.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the function, of the corpus directory and of the cargo-fuzz binary.
    pub name: &'static str,
    /// The target.
    pub run: fn(&[u8]),
    /// Source files below `consensus-tap/src` whose readers it drives.
    pub covers: &'static [&'static str],
}

macro_rules! targets {
    ($($name:ident: $($covered:literal),+;)+) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name, covers: &[$($covered),+] }),+];
    };
}

targets! {
    wire_setup: "wire/setup.rs";
    wire_status_message: "wire/status_message.rs";
    wire_nak: "wire/nak.rs";
    wire_rttm: "wire/rttm.rs";
    wire_error: "wire/error_frame.rs";
    wire_response_setup: "wire/response_setup.rs";
    wire_resolution: "wire/resolution.rs";
    wire_data: "wire/data.rs";
    consensus_message: "codec/consensus.rs", "codec/consensus/snapshots.rs", "codec/message.rs", "codec/sbe.rs";
    egress_message: "codec/session.rs";
    ingress_message: "codec/session.rs";
    archive_request: "codec/archive_control/requests.rs";
    archive_response: "codec/archive_control/responses.rs";
    log_event: "codec/log.rs";
    snapshot_message: "codec/snapshot.rs";
    cluster_members: "codec/consensus/members.rs";
    network: "serving/allow_list.rs";
    channel_uri: "channel.rs", "channel/params.rs";
    host_port: "channel/host_port.rs";
    recording_log: "file/recording_log.rs", "file/recording_log/row.rs";
    catalog: "file/catalog.rs";
    archive_mark: "file/archive_mark.rs";
    cluster_mark: "file/cluster_mark.rs";
    node_state: "file/node_state.rs";
    activation: "file/activation.rs";
    standby_beacon: "codec/standby.rs";
    error_log: "file/error_log.rs";
    cnc: "file/cnc.rs";
    segment: "file/segment.rs";
    log_reader: "log/reader.rs", "log/message_reader.rs", "module/mod.rs";
    service_snapshot: "log/snapshot_reader.rs";
    module_snapshot: "log/snapshot_reader.rs", "module/snapshot.rs";
    fragment_assembler: "image/fragment_assembler.rs";
    archive_client: "archive/client.rs", "archive/client/responses.rs";
    consensus_server: "serving/consensus_server.rs";
    announcer: "serving/announcer.rs";
    archive_server: "archive/server/mod.rs", "serving/mod.rs";
    cluster_client: "client/mod.rs", "client/session.rs", "client/egress.rs", "client/ingress_endpoints.rs";
    leader: "leader/mod.rs", "leader/requests.rs", "leader/ingress.rs";
    endpoint: "endpoint/mod.rs", "image/mod.rs", "publication/mod.rs";
    tap_datagrams: "tap/mod.rs";
    tap_conversation: "tap/sourcing.rs", "tap/following.rs", "tap/source.rs";
}
