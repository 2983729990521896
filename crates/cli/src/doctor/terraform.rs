//! Whether Terraform, or a program like it, seems to keep a zone's ruleset: it writes all rules at once and
//! takes back what runs have put into ours (facts: cloudflare-rules.md 4.4). There is no certain sign.

use edge_sync_core::api::cloudflare::rules::reference;
use edge_sync_core::decision::Remediation;
use edge_sync_core::log::clip;
use serde::Deserialize;

/// A ruleset, as far as it tells who keeps it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ruleset {
    name: Option<String>,
    description: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    id: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    description: Option<String>,
}

impl Ruleset {
    /// What makes it seem so.
    pub(super) fn sign_of_terraform(&self) -> Option<String> {
        let mut of_ruleset = [&self.name, &self.description].into_iter().flatten();
        if let Some(text) = of_ruleset.find(|text| names_it(text)) {
            return Some(format!("the ruleset is called {:?}", clip(text, 80)));
        }
        self.rules.iter().find_map(Rule::sign_of_terraform)
    }
}

impl Rule {
    fn sign_of_terraform(&self) -> Option<String> {
        let mut of_rule = [&self.description, &self.reference].into_iter().flatten();
        if let Some(text) = of_rule.find(|text| names_it(text)) {
            return Some(format!("a rule in it is called {:?}", clip(text, 80)));
        }
        // At the dashboard a rule's `ref` is its id. One that somebody chose was made through the API, and
        // Terraform's users are told to choose one.
        let chosen = self.reference.as_deref().filter(|chosen| {
            let is_ours = [Remediation::Ban, Remediation::Captcha].map(reference).contains(chosen);
            !chosen.is_empty() && *chosen != self.id && !is_ours && !is_made_by_cloudflare(chosen)
        })?;
        Some(format!("the rule with the ref {:?} was not made at the dashboard", clip(chosen, 80)))
    }
}

/// A rule's id may be renewed while its `ref` stays the first one.
fn is_made_by_cloudflare(reference: &str) -> bool {
    reference.len() == 32 && reference.bytes().all(|b| b.is_ascii_hexdigit())
}

fn names_it(text: &str) -> bool {
    text.to_ascii_lowercase().contains("terraform")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ruleset_seems_terraforms_by_its_words_or_by_a_chosen_ref() {
        let own = "0123456789abcdef0123456789abcdef";
        let ours = json!({ "id": own, "ref": "crowdsec_edge_sync_ban", "description": "CrowdSec" });
        for (ruleset, sign) in [
            (json!({ "name": "default", "description": "", "rules": [ours] }), None),
            (json!({ "description": null, "rules": [{ "id": own, "ref": own }] }), None),
            (json!({ "rules": [{ "id": "other", "ref": own }] }), None),
            (json!({ "rules": [{ "id": own, "ref": "" }, { "id": own }] }), None),
            (json!({}), None),
            (json!({ "description": "Managed by TERRAFORM" }), Some("Managed by TERRAFORM")),
            (json!({ "name": "terraform-waf" }), Some("terraform-waf")),
            (json!({ "rules": [{ "description": "by Terraform" }] }), Some("by Terraform")),
            (
                json!({ "rules": [ours, { "id": own, "ref": "allow_office" }] }),
                Some("allow_office"),
            ),
        ] {
            let read: Ruleset = serde_json::from_value(ruleset.clone()).unwrap();
            let found = read.sign_of_terraform();
            assert_eq!(found.is_some(), sign.is_some(), "{ruleset}: {found:?}");
            assert!(found.unwrap_or_default().contains(sign.unwrap_or_default()), "{ruleset}");
        }
    }
}
