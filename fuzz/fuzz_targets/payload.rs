#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wa_outbox_fuzz::check("payload", input));
