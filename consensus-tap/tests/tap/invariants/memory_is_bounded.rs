//! However often sources change, only a few streams are open.

use crate::tap::standby::Standby;

/// Subscriptions and publications of two sources, images that take leave, and one answer image per query.
const STREAM_COUNT_MAX: usize = 48;

pub(super) fn check(standby: &Standby) {
    let count = standby.tap.stream_count();
    assert!(count <= STREAM_COUNT_MAX, "{count} streams are open");
}
