#![no_main]

#[path = "../../tests/fuzz/structures/mod.rs"]
mod structures;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    structures::lists(data);
});
