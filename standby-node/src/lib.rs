//! The runtime of a warm standby: threads, sockets, files.
//!
//! A user's binary calls [`launch`] with a configuration and its services, or [`cli::main`] to get every operator
//! verb with them. [`topology`] shows which agent runs where.
#![deny(unsafe_code)]

pub mod activation_files;
mod advice;
pub mod agent;
pub mod announcing;
pub mod archive_upkeep;
pub mod audit;
pub mod cli;
pub mod clients_file;
pub mod cluster_client;
pub mod config;
pub mod inspection;
mod launch;
pub mod message_buffer;
pub mod net;
mod progress;
pub mod recordings;
pub mod seed;
mod service_set;
pub mod service_start;
pub mod signs_of_life;
pub mod standing;
pub mod starting;
pub mod status;
pub mod store;
mod sync;
pub mod sys;
pub mod topology;

pub use launch::{LaunchError, NodeHandle, launch, launch_with_access};
