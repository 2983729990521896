//! The envelope around every JSON answer: `{success, errors, messages, result, result_info?}`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::codes::ApiError;
use crate::reply::answer;

const JSON: &str = "application/json";

#[derive(Serialize)]
struct Envelope<'a, T> {
    result: Option<T>,
    success: bool,
    errors: Vec<ErrorEntry<'a>>,
    messages: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<Value>,
}

#[derive(Serialize)]
struct ErrorEntry<'a> {
    code: u32,
    message: &'a str,
}

pub(super) fn success(status: StatusCode, result: impl Serialize) -> Response<Bytes> {
    page(status, result, None)
}

pub(super) fn page(
    status: StatusCode,
    result: impl Serialize,
    result_info: Option<Value>,
) -> Response<Bytes> {
    let envelope = Envelope {
        result: Some(result),
        success: true,
        errors: Vec::new(),
        messages: [],
        result_info,
    };
    answer(status, JSON, render(&envelope))
}

/// The status is that of the first error.
pub(super) fn failure(errors: &[ApiError]) -> Response<Bytes> {
    let status = errors.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |error| error.status);
    let envelope = Envelope::<()> {
        result: None,
        success: false,
        errors: errors
            .iter()
            .map(|error| ErrorEntry { code: error.code, message: &error.message })
            .collect(),
        messages: [],
        result_info: None,
    };
    let mut response = answer(status, JSON, render(&envelope));
    if status == StatusCode::TOO_MANY_REQUESTS {
        // What the limiter says, and does not honour itself (facts 1.8).
        response.headers_mut().insert(http::header::RETRY_AFTER, 60.into());
    }
    response
}

fn render<T: Serialize>(envelope: &Envelope<'_, T>) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("an envelope holds nothing that JSON cannot")
}
