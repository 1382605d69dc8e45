//! A few random cases of every public entry of the topology room: none panics, and all ways to an answer agree.
//! `benches/topology_fuzz.rs` runs as many as there is time for.

#[path = "../../benches/support/topology_fuzz.rs"]
mod fuzz;

#[test]
fn no_bytes_break_the_room() {
    for mode in fuzz::MODES {
        (0..300).for_each(|seed| fuzz::case(mode, seed));
    }
}
