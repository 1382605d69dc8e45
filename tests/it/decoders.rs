//! The decoders that learn or take shortcuts say what the general ones say; `benches/decoder.rs` can ask much longer.

#[path = "../../benches/support/agree.rs"]
mod agree;

#[test]
fn json_of_a_known_shape_is_what_it_was_in_general() {
    agree::json(42, 5_000);
}

#[test]
fn csv_without_quotes_is_what_it_was_in_general() {
    agree::csv(42, 5_000);
}
