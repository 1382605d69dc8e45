//! Documents that are made from the code are what the code says.

use std::path::Path;

#[test]
fn the_reference_of_jobs_is_what_the_parts_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/jobs.md");
    let there = std::fs::read_to_string(&path).unwrap();
    let said = eagre::job::manual(&eagre::standard());
    let differs = there.lines().zip(said.lines()).position(|(a, b)| a != b);
    assert!(there == said, "docs/jobs.md differs in line {differs:?}; write it anew: eagre manual docs/jobs.md");
}
