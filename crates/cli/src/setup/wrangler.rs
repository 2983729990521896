//! The edge Worker's `wrangler.toml`, filled in: the namespace, the prefix, and the routes.

use anyhow::{Result, ensure};

/// As it stands beside the Worker.
const TEMPLATE: &str = include_str!("../../../../deploy/worker/wrangler.toml");
const NAMESPACE_ID: &str = "REPLACE_WITH_YOUR_KV_NAMESPACE_ID";
const KEY_PREFIX: &str = "KEY_PREFIX = \"ip:\"\n";
const ROUTES: &str = "# routes = [\n";

/// The file for this namespace, `kv_key_prefix` and these routes (`example.com/*`), of which a Worker needs at
/// least one; without any it stays for the person to fill in.
pub fn wrangler_toml(namespace: &str, prefix: &str, routes: &[String]) -> Result<String> {
    for text in routes.iter().map(String::as_str).chain([prefix]) {
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        ensure!(is_plain, "{text:?} cannot stand in wrangler.toml");
    }
    let mut text = TEMPLATE.replace(NAMESPACE_ID, namespace);
    text = text.replace(KEY_PREFIX, &format!("KEY_PREFIX = \"{prefix}\"\n"));
    if !routes.is_empty() {
        let routes: Vec<_> = routes.iter().map(|route| format!("  \"{route}\",\n")).collect();
        text = text.replace(ROUTES, &format!("routes = [\n{}]\n{ROUTES}", routes.concat()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_filled_in_names_namespace_prefix_and_routes() {
        let id = "0123456789abcdef0123456789abcdef";
        let routes = ["example.com/*".to_owned(), "*.example.com/*".to_owned()];
        let text = wrangler_toml(id, "site2:", &routes).unwrap();
        assert!(text.contains(&format!("id = \"{id}\"\n")) && !text.contains(NAMESPACE_ID));
        assert!(text.contains("\nKEY_PREFIX = \"site2:\"\n"));
        assert!(text.contains("\nroutes = [\n  \"example.com/*\",\n  \"*.example.com/*\",\n]\n"));
        let plain = wrangler_toml(id, "ip:", &[]).unwrap();
        assert_eq!(plain.replace(id, NAMESPACE_ID), TEMPLATE);
        assert!(wrangler_toml(id, "a\"b", &[]).is_err());
    }
}
