//! `docs/settings.md` states when each setting takes effect.

use signalbox_gateway::effects_reference;

use super::root;

#[test]
fn the_effects_of_settings_are_those_of_the_code() {
    let manual = std::fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let table = effects_reference();
    assert!(manual.contains(&table), "it must have this table:\n{table}");
}
