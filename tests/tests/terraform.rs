//! The Terraform module, read by a real parser of its language: that it says the same as `host setup`,
//! and that its outputs are settings which exist.

use std::collections::BTreeSet;
use std::path::PathBuf;

use edge_sync::setup::{BAN_LIST, CAPTCHA_LIST, PHASE, Remediation, expression};
use end_to_end::workspace;
use hcl::{Block, Body, Expression};

/// Every `.tf` file of the module and its examples, parsed.
fn files() -> Vec<(PathBuf, Body)> {
    let mut found = Vec::new();
    let mut folders = vec![workspace::root().join("deploy/terraform")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the module's folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "tf") {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                let body = hcl::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.push((path, body));
            }
        }
    }
    found
}

/// The module's own files as one body, as Terraform reads them.
fn module() -> Body {
    let example = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "examples");
    files().into_iter().filter(|(path, _)| !example(path)).flat_map(|(_, body)| body).collect()
}

/// The blocks with this identifier and these labels.
fn blocks<'a>(body: &'a Body, identifier: &str, labels: &[&str]) -> Vec<&'a Block> {
    body.blocks()
        .filter(|block| block.identifier() == identifier)
        .filter(|block| {
            let own = block.labels().iter().map(hcl::BlockLabel::as_str);
            own.zip(labels).filter(|(own, label)| own == *label).count() == labels.len()
        })
        .collect()
}

fn the_block<'a>(body: &'a Body, identifier: &str, labels: &[&str]) -> &'a Block {
    let found = blocks(body, identifier, labels);
    assert_eq!(found.len(), 1, "{identifier} {labels:?}");
    found[0]
}

fn attribute<'a>(body: &'a Body, key: &str) -> &'a Expression {
    let mut attributes = body.attributes().filter(|attribute| attribute.key() == key);
    attributes.next().unwrap_or_else(|| panic!("no attribute {key}")).expr()
}

/// An expression as it would be written.
fn source(expression: &Expression) -> String {
    hcl::format::to_string(expression).expect("an expression can be written")
}

fn local(module: &Body, key: &str) -> Expression {
    attribute(the_block(module, "locals", &[]).body(), key).clone()
}

#[test]
fn module_and_examples_are_parsed() {
    let names: BTreeSet<String> = files()
        .iter()
        .map(|(path, _)| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let expected = ["main.tf", "outputs.tf", "variables.tf", "versions.tf"];
    assert_eq!(names, expected.map(str::to_owned).into());
    assert!(files().len() > expected.len(), "an example is among them");
}

#[test]
fn rules_are_those_of_host_setup_and_block_comes_before_challenge() {
    let module = module();
    let Expression::Array(rules) = local(&module, "rules") else { panic!("rules is a list") };
    let read: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| {
            let Expression::Object(rule) = rule else { panic!("a rule is an object") };
            ["list", "ref", "description", "action"]
                .map(|key| {
                    let entry = rule.iter().find(|(known, _)| known.to_string() == key);
                    let (_, value) = entry.unwrap_or_else(|| panic!("a rule without {key}"));
                    let Expression::String(text) = value else { panic!("{key} is not text") };
                    text.clone()
                })
                .to_vec()
        })
        .collect();
    let expected = [("ban", Remediation::Ban), ("captcha", Remediation::Captcha)];
    let expected = expected.map(|(list, remediation)| {
        vec![
            list.to_owned(),
            remediation.reference().to_owned(),
            remediation.description().to_owned(),
            remediation.action().to_owned(),
        ]
    });
    assert_eq!(read, expected);

    let ruleset = the_block(&module, "resource", &["cloudflare_ruleset", "custom_rules"]).body();
    assert_eq!(*attribute(ruleset, "phase"), Expression::from(PHASE));
    assert_eq!(*attribute(ruleset, "kind"), Expression::from("zone"));
    let text = source(attribute(ruleset, "rules"));
    let template = expression("%s");
    assert!(text.contains(&format!("format(\"{template}\", cloudflare_list.this[")), "{text}");
    // The owner's rules keep their place around ours.
    let places = ["rules_before", "in local.rules", "rules_after"].map(|part| text.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {text}");
}

#[test]
fn lists_have_the_names_of_setup_and_their_items_are_ignored() {
    let module = module();
    for (variable, name) in [("ban_list_name", BAN_LIST), ("captcha_list_name", CAPTCHA_LIST)] {
        let variable = the_block(&module, "variable", &[variable]).body();
        assert_eq!(*attribute(variable, "default"), Expression::from(name));
    }
    let list = the_block(&module, "resource", &["cloudflare_list", "this"]).body();
    assert!(list.attributes().all(|attribute| attribute.key() != "items"));
    let ignored = attribute(the_block(list, "lifecycle", &[]).body(), "ignore_changes");
    assert!(source(ignored).contains("items"));
    // A list that both tools could take for their own would be removed by the wrong one.
    let description = source(attribute(list, "description"));
    assert!(!description.contains(edge_sync::setup::LIST_DESCRIPTION), "{description}");
    let ruleset = the_block(&module, "resource", &["cloudflare_ruleset", "custom_rules"]).body();
    let ignored = attribute(the_block(ruleset, "lifecycle", &[]).body(), "ignore_changes");
    assert!(source(ignored).contains("name"), "another name would replace an imported ruleset");
}

#[test]
fn token_can_write_lists_and_kv_of_one_account_and_nothing_else() {
    let module = module();
    let mut permissions = String::new();
    for part in source(&local(&module, "token_permissions")).split('"').skip(1).step_by(2) {
        permissions += &format!("{part};");
    }
    // The quotes of `kv_namespace_title == ""` are in between.
    assert_eq!(permissions, "Account Rule Lists Write;;Workers KV Storage Write;");
    let token = the_block(&module, "resource", &["cloudflare_account_token", "sync"]).body();
    let policies = source(attribute(token, "policies"));
    let resource = "\"com.cloudflare.api.account.${var.account_id}\" = \"*\"";
    assert!(policies.contains(resource), "{policies}");
    assert_eq!(policies.matches("resources").count(), 1, "{policies}");
}

#[test]
fn outputs_are_settings_that_exist_and_what_holds_the_token_is_sensitive() {
    let manifest = std::fs::read_to_string(workspace::manifest()).expect("spin.toml");
    let manifest: toml::Table = manifest.parse().expect("spin.toml is TOML");
    let settings = manifest["variables"].as_table().expect("variables");
    let module = module();
    let mut named = BTreeSet::new();
    for output in blocks(&module, "output", &[]) {
        let value = source(attribute(output.body(), "value"));
        for rest in value.split("SPIN_VARIABLE_").skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            let setting = rest[..end.unwrap_or(rest.len())].to_ascii_lowercase();
            assert!(settings.contains_key(&setting), "{setting} is no setting");
            named.insert(setting);
        }
        let is_sensitive = output.body().attributes().any(|attribute| {
            attribute.key() == "sensitive" && *attribute.expr() == Expression::Bool(true)
        });
        assert_eq!(is_sensitive, value.contains("cloudflare_account_token"), "{value}");
    }
    let expected = [
        "cf_account_id",
        "cf_api_token",
        "cf_ban_list_id",
        "cf_captcha_list_id",
        "cf_kv_namespace_id",
    ];
    assert_eq!(named, expected.map(str::to_owned).into());
}

#[test]
fn variables_of_the_readme_are_those_of_the_module() {
    let readme = workspace::root().join("deploy/terraform/README.md");
    let readme = std::fs::read_to_string(readme).expect("the module's README");
    let table = readme.split("## Variables").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = table.expect("a section with the variables");
    let module = module();
    for variable in blocks(&module, "variable", &[]) {
        let name = variable.labels()[0].as_str();
        assert!(table.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}
