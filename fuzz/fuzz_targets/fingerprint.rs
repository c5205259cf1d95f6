#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| temoin_tests::fuzz_targets::fingerprint(data));
