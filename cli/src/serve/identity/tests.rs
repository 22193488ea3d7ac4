//! The installation keeps its id, and never gets a second one.

use super::*;

#[test]
fn an_installation_keeps_its_id() {
    let home = tempfile::tempdir().unwrap();
    let made = installation(home.path(), true).unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(installation(home.path(), false).unwrap(), made);
    assert_eq!(installation(home.path(), true).unwrap(), made);
}

#[test]
fn a_log_that_lost_its_id_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let failure = installation(home.path(), false).unwrap_err();
    assert_eq!(failure.exit(), Exit::Damaged);
    assert!(failure.text().contains("installation.json is missing"), "{}", failure.text());
}
