//! Whoever serves finds on its disk, after a crash, that it did.

use super::super::node::Disk;
use consensus_tap::transition::Decision;

pub(super) fn check(disk: &Disk, decision: &Decision) {
    let led = disk.led.expect("it serves and has not written so");
    assert_eq!(led.leadership_term_id, decision.leadership_term_id);
    assert_eq!(led.claim_id, decision.claim_id);
    assert!(!led.is_fenced);
    assert!(decision.leadership_term_id > disk.term, "a term is newer than all that the log knows");
    assert_eq!(decision.base_log_position, disk.log_end, "a term begins where the log ends");
}
