//! The Terraform module, read by a real parser of its language: that it says the same as `host setup`,
//! that the provider has what it uses, and that its outputs are settings which exist.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use edge_sync::setup::{BAN_LIST, CAPTCHA_LIST, NAMESPACE, PHASE, Remediation, expression};
use end_to_end::workspace;
use hcl::expr::{Object, ObjectKey};
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
    let mut locals =
        blocks(module, "locals", &[]).into_iter().flat_map(|one| one.body().attributes());
    let found = locals.find(|attribute| attribute.key() == key);
    found.unwrap_or_else(|| panic!("no local {key}")).expr().clone()
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

/// As `setup --kv-only`: without a name there is no list, without a list no permission for lists.
#[test]
fn lists_without_a_name_are_not_made_nor_asked_a_permission_for() {
    let module = module();
    let lists = source(&local(&module, "lists"));
    assert!(lists.contains("if name != \"\""), "{lists}");
    let list = the_block(&module, "resource", &["cloudflare_list", "this"]).body();
    assert_eq!(source(attribute(list, "for_each")), "local.lists");
    let permissions = source(&local(&module, "token_permissions"));
    let asked = "length(local.lists) == 0 ? [] : [\"Account Rule Lists Write\"]";
    assert!(permissions.contains(asked), "{permissions}");
    // One name of the namespace everywhere.
    let title = the_block(&module, "variable", &["kv_namespace_title"]).body();
    assert!(source(attribute(title, "description")).contains(NAMESPACE));
    let by_hand =
        std::fs::read_to_string(workspace::root().join("deploy/worker/README.md")).unwrap();
    assert!(by_hand.contains(&format!("kv namespace create {NAMESPACE}")));
}

/// What the provider publishes of the resources that the module uses: `""` and each attribute's name to
/// `required|optional|computed type`.
fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cloudflare-provider-5.22.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON")
}

/// Whether an attribute must, may or cannot be given, and its type.
fn kind(attribute: &Value) -> (&str, &str) {
    let text = attribute.as_str().or_else(|| attribute[""].as_str()).expect("a description");
    text.split_once(' ').expect("two words")
}

/// Arguments that are Terraform's own.
const META: [&str; 2] = ["count", "for_each"];

/// Panics if these are not attributes of `schema` that can be given, or a required one is missing.
fn assert_attributes<'a>(place: &str, given: impl Iterator<Item = &'a str>, schema: &Value) {
    let given: BTreeSet<&str> = given.collect();
    let schema = schema.as_object().unwrap_or_else(|| panic!("{place} has no attributes"));
    for name in &given {
        let attribute = schema.get(*name).unwrap_or_else(|| panic!("{place} has no {name}"));
        assert_ne!(kind(attribute).0, "computed", "{place}.{name} cannot be given");
    }
    for (name, attribute) in schema.iter().filter(|(name, _)| !name.is_empty()) {
        let is_required = kind(attribute).0 == "required";
        assert!(!is_required || given.contains(name.as_str()), "{place} needs {name}");
    }
}

/// The objects that an expression may have as a value or as elements, however it chooses among them.
fn objects(expression: &Expression) -> Vec<&Object<ObjectKey, Expression>> {
    match expression {
        Expression::Object(object) => vec![object],
        Expression::Array(elements) => elements.iter().flat_map(objects).collect(),
        Expression::Parenthesis(inner) => objects(inner),
        Expression::Conditional(choice) => {
            [&choice.true_expr, &choice.false_expr].into_iter().flat_map(objects).collect()
        }
        Expression::ForExpr(each) => objects(&each.value_expr),
        Expression::FuncCall(call) => call.args.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

/// Checks an attribute's objects, and the attributes in them that are objects too.
fn assert_objects(place: &str, expression: &Expression, schema: &Value) -> usize {
    let mut checked = 0;
    for object in objects(expression) {
        let keys: Vec<String> = object.keys().map(ToString::to_string).collect();
        assert_attributes(place, keys.iter().map(String::as_str), schema);
        for (key, value) in
            keys.iter().zip(object.values()).filter(|(key, _)| schema[*key].is_object())
        {
            checked += assert_objects(&format!("{place}.{key}"), value, &schema[key.as_str()]);
        }
        checked += 1;
    }
    checked
}

#[test]
fn resources_have_the_attributes_that_the_provider_publishes() {
    let (module, schema) = (module(), schema());
    let (mut blocks, mut nested) = (0, 0);
    for block in module.blocks().filter(|block| ["resource", "data"].contains(&block.identifier()))
    {
        let name = block.labels()[0].as_str();
        let schema = &schema[block.identifier()][name];
        assert!(schema.is_object(), "the fixture has no {name}");
        let attributes = || block.body().attributes().filter(|one| !META.contains(&one.key()));
        assert_attributes(name, attributes().map(hcl::Attribute::key), schema);
        for attribute in attributes().filter(|one| schema[one.key()].is_object()) {
            let place = format!("{name}.{}", attribute.key());
            nested += assert_objects(&place, attribute.expr(), &schema[attribute.key()]);
        }
        blocks += 1;
    }
    assert_eq!(blocks, schema["resource"].as_object().unwrap().len() + 1);
    assert!(nested >= 3, "rules, policies, permission groups: {nested}");
}

/// The owner's rules are handed on as they are, so their type is the provider's.
#[test]
fn rules_that_a_user_may_write_have_the_types_that_the_provider_publishes() {
    fn check(place: &str, expression: &Expression, schema: &Value) -> usize {
        let mut checked = 0;
        let [object] = objects(expression)[..] else { panic!("{place} is no object") };
        for (key, value) in object {
            let (name, mut value) = (key.to_string(), value);
            let attribute = &schema[name.as_str()];
            assert!(!attribute.is_null(), "{place} has no {name}");
            let (need, published) = kind(attribute);
            let mut is_optional = false;
            if let Expression::FuncCall(call) = value
                && call.name.name.as_str() == "optional"
            {
                (value, is_optional) = (&call.args[0], true);
            }
            assert!(
                is_optional || need == "required" || name == "enabled",
                "{place}.{name}: {need}"
            );
            assert!(!is_optional || need == "optional", "{place}.{name}: {need}");
            if attribute.is_object() {
                checked += check(&format!("{place}.{name}"), value, attribute);
            } else {
                assert_eq!(source(value), published, "{place}.{name}");
            }
            checked += 1;
        }
        checked
    }
    let module = module();
    let zones = attribute(the_block(&module, "variable", &["zones"]).body(), "type");
    let [zone] = objects(zones)[..] else { panic!("zones are objects") };
    for list in ["rules_before", "rules_after"] {
        let (_, rule) = zone.iter().find(|(key, _)| key.to_string() == list).expect(list);
        let schema = &schema()["resource"]["cloudflare_ruleset"]["rules"];
        assert!(check(list, rule, schema) > 10, "{list}");
    }
}

#[test]
fn attributes_that_are_read_are_ones_that_the_provider_publishes() {
    let schema = schema();
    let mut read = 0;
    for (path, _) in files() {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        for (prefix, kind) in [("data.", "data"), ("", "resource")] {
            for (at, _) in text.match_indices(&format!("{prefix}cloudflare_")) {
                if prefix.is_empty() && text[..at].ends_with("data.") {
                    continue;
                }
                let rest = &text[at + prefix.len()..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.[]\"".contains(c)));
                // name.label[key].attribute: without an index, the attribute is that of a `for`'s variable.
                let Some((name, attribute)) = rest[..end.unwrap_or(rest.len())].split_once("].")
                else {
                    continue;
                };
                let resource = name.split('.').next().unwrap_or_default();
                assert!(
                    !schema[kind][resource][attribute].is_null(),
                    "{resource} has no {attribute}"
                );
                read += 1;
            }
        }
    }
    assert!(read >= 3, "{read}");
}

#[test]
fn provider_that_is_asked_for_is_the_one_whose_schema_is_known() {
    let schema = schema();
    let (minor, _) = schema["version"].as_str().unwrap().rsplit_once('.').unwrap();
    for (path, body) in files() {
        for terraform in blocks(&body, "terraform", &[]) {
            let providers = the_block(terraform.body(), "required_providers", &[]);
            let text = source(attribute(providers.body(), "cloudflare"));
            assert!(text.contains(&format!("\"~> {minor}\"")), "{}: {text}", path.display());
        }
    }
}

#[test]
fn outputs_are_settings_that_exist_and_what_holds_the_token_is_sensitive() {
    let manifest = std::fs::read_to_string(workspace::manifest()).expect("spin.toml");
    let manifest: toml::Table = manifest.parse().expect("spin.toml is TOML");
    let settings = manifest["variables"].as_table().expect("variables");
    let module = module();
    let mut named = BTreeSet::new();
    let locals = ["settings", "secret_settings"];
    for name in locals {
        let value = source(&local(&module, name));
        for rest in value.split("SPIN_VARIABLE_").skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            let setting = rest[..end.unwrap_or(rest.len())].to_ascii_lowercase();
            let setting = setting.as_str();
            let variable = settings.get(setting).unwrap_or_else(|| panic!("{setting}"));
            let is_secret = variable.get("secret").and_then(toml::Value::as_bool) == Some(true);
            assert_eq!(is_secret, name == "secret_settings", "{setting}");
            named.insert(setting.to_owned());
        }
    }
    let expected = [
        "cf_account_id",
        "cf_api_token",
        "cf_ban_list_id",
        "cf_captcha_list_id",
        "cf_kv_namespace_id",
    ];
    assert_eq!(named, expected.map(str::to_owned).into());

    let mut outputs = BTreeSet::new();
    for output in blocks(&module, "output", &[]) {
        let name = output.labels()[0].as_str();
        let value = source(attribute(output.body(), "value"));
        let map = name.trim_end_matches("_env");
        assert!(value.contains(&format!("local.{map}")), "{name}: {value}");
        // A line of a settings.env.
        assert_eq!(value.contains("\"${name}=${value}\n\""), name.ends_with("_env"), "{value}");
        let is_sensitive = output.body().attributes().any(|attribute| {
            attribute.key() == "sensitive" && *attribute.expr() == Expression::Bool(true)
        });
        assert_eq!(is_sensitive, map == "secret_settings", "{name}");
        outputs.insert(name.to_owned());
    }
    let expected = locals.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_env")]);
    assert_eq!(outputs, expected.collect());
}

/// `terraform output` shows those of the configuration alone, never a module's.
#[test]
fn outputs_that_the_readme_shows_are_passed_on_in_its_configuration_and_in_the_example() {
    let readme = workspace::root().join("deploy/terraform/README.md");
    let readme = std::fs::read_to_string(readme).expect("the module's README");
    let (_, block) = readme.split_once("\n```hcl\n").expect("a configuration");
    let (block, _) = block.split_once("\n```").expect("its end");
    let body = hcl::parse(block).expect("the README's configuration");
    let example = files().into_iter().find(|(path, _)| path.ends_with("examples/one-zone/main.tf"));
    let module = module();
    for body in [body, example.expect("the example").1] {
        for word in readme.split("terraform output ").skip(1) {
            let name = word.split(' ').find(|word| !word.starts_with('-')).expect("a name");
            let output = the_block(&body, "output", &[name]).body();
            assert_eq!(source(attribute(output, "value")), format!("module.crowdsec_edge.{name}"));
            the_block(&module, "output", &[name]);
        }
    }
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
