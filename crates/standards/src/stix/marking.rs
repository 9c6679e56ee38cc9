//! Who may see an object: the Traffic Light Protocol's label among its markings.
//!
//! The standard's own marking definitions have fixed ids, and are referred to without being there; others come with the document.

use crate::json::Json;

/// From what all may see to what nobody else may. Version 1's `white` is version 2's `clear`.
const LABELS: [&str; 5] = ["clear", "green", "amber", "amber+strict", "red"];

/// Of TLP 1 (STIX 2.1, 7.2.1.4) and of TLP 2.0 (the OASIS extension `extension-definition--60a3c5c5-...`).
const IDS: [(&str, &str); 9] = [
    ("marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", "clear"),
    ("marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "green"),
    ("marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", "amber"),
    ("marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "red"),
    ("marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", "clear"),
    ("marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "green"),
    ("marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421", "amber"),
    ("marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003", "amber+strict"),
    ("marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1", "red"),
];

/// The label that an id means by itself.
pub(super) fn of_id(id: &str) -> Option<&'static str> {
    IDS.iter().find(|(known, _)| *known == id).map(|(_, label)| *label)
}

/// The label that a marking definition gives: by the extension, by TLP 1's definition, or by its name or words.
pub(super) fn of_definition(definition: &Json<'_>) -> Option<&'static str> {
    let extension = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";
    let by_extension = definition.get("extensions").and_then(|all| all.get(extension)).and_then(|own| own.get("tlp_2_0"));
    let own = definition.get("definition");
    let by_definition = own.and_then(|own| own.get("tlp").or_else(|| own.get("TLP")));
    if let Some(label) = by_extension.or(by_definition).and_then(Json::as_str) {
        return of_word(label.strip_prefix("TLP:").unwrap_or(label));
    }
    let words = [definition.get("name"), own.and_then(|own| own.get("statement"))];
    words.into_iter().flatten().filter_map(Json::as_str).find_map(|text| of_word(text.trim().strip_prefix("TLP:")?))
}

fn of_word(word: &str) -> Option<&'static str> {
    let word = word.trim().to_ascii_lowercase();
    let word = if word == "white" { "clear" } else { &word };
    LABELS.into_iter().find(|label| *label == word)
}

/// The one of two that lets fewer see it.
pub(super) fn stricter(one: Option<&'static str>, other: Option<&'static str>) -> Option<&'static str> {
    let rank = |label: Option<&'static str>| label.and_then(|label| LABELS.iter().position(|known| *known == label));
    if rank(one) >= rank(other) { one } else { other }
}
