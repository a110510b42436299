//! Files mapped into memory: atomic views, release stores, pre-faulting, syncing.
