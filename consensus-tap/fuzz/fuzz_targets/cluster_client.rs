#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| consensus_tap_fuzz::cluster_client(bytes));
