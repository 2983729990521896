//! The checks of `POST /v1/usage-metrics` (facts: crowdsec.md 1.7). A missing component is 400; what
//! the schema refuses is 422.

use http::StatusCode;
use serde_json::{Map, Value};

type Refusal = (StatusCode, String);

const TEXT_MAX: usize = 255;

/// The parsed body if LAPI would store it.
pub(super) fn check(body: &[u8]) -> Result<Value, Refusal> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| bad_request(&error.to_string()))?;
    let components = value
        .get("remediation_components")
        .map(|components| components.as_array().ok_or_else(|| bad_request("not an array")))
        .transpose()?
        .map_or(&[][..], Vec::as_slice);
    let [component] = components else {
        let count = components.len();
        return Err(bad_request(&format!("expected 1 remediation component, got {count}")));
    };
    let component = object(component, "remediation_components.0")?;
    text(component, "version", "component")?;
    number(component, "utc_startup_timestamp", "component")?;
    if let Some(os) = component.get("os") {
        let os = object(os, "os")?;
        text(os, "name", "os")?;
        text(os, "version", "os")?;
    }
    // The documentation's example shows an object here; schema and code want an array.
    let metrics = match component.get("metrics") {
        None => &[][..],
        Some(metrics) => metrics.as_array().ok_or_else(|| bad_request("metrics: not an array"))?,
    };
    for metric in metrics {
        let metric = object(metric, "metrics")?;
        let meta = object(metric.get("meta").unwrap_or(&Value::Null), "meta")?;
        number(meta, "window_size_seconds", "meta")?;
        number(meta, "utc_now_timestamp", "meta")?;
        let items = metric.get("items").and_then(Value::as_array);
        for item in items.ok_or_else(|| invalid("items in body is required"))? {
            let item = object(item, "items")?;
            text(item, "name", "item")?;
            text(item, "unit", "item")?;
            number(item, "value", "item")?;
            if let Some(labels) = item.get("labels") {
                for name in object(labels, "labels")?.keys() {
                    text(object(labels, "labels")?, name, "labels")?;
                }
            }
        }
    }
    Ok(value)
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| invalid(&format!("{name} in body must be an object")))
}

fn text(object: &Map<String, Value>, name: &str, of: &str) -> Result<(), Refusal> {
    match object.get(name).and_then(Value::as_str) {
        Some(text) if text.len() <= TEXT_MAX => Ok(()),
        Some(_) => Err(invalid(&format!("{of}.{name} in body is too long"))),
        None => Err(invalid(&format!("{of}.{name} in body is required"))),
    }
}

fn number(object: &Map<String, Value>, name: &str, of: &str) -> Result<(), Refusal> {
    match object.get(name) {
        Some(Value::Number(_)) => Ok(()),
        _ => Err(invalid(&format!("{of}.{name} in body is required"))),
    }
}

fn bad_request(message: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, message.to_owned())
}

fn invalid(message: &str) -> Refusal {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("validation failure list:\n{message}"))
}
