//! The envelope around every JSON answer: `{success, errors, messages, result, result_info?}`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::codes::{ApiError, NO_CODE};
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
    #[serde(skip_serializing_if = "is_no_code")]
    code: u32,
    message: &'a str,
}

/// The code is optional, the message is not (facts: cloudflare-rules.md 1.5).
fn is_no_code(code: &u32) -> bool {
    *code == NO_CODE
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
    answer(status, JSON, render(&envelope))
}

/// The error page of Cloudflare's front.
pub(super) fn html(status: StatusCode) -> Response<Bytes> {
    answer(status, "text/html; charset=UTF-8", html_page(status.as_u16()))
}

/// What such a page holds.
pub(crate) fn html_page(status: u16) -> String {
    format!(
        "<html>\r\n<head><title>{status} error</title></head>\r\n<body>\r\n\
         <center><h1>{status} error</h1></center>\r\n<hr><center>cloudflare</center>\r\n\
         </body>\r\n</html>\r\n"
    )
}

/// A success without its content: `result` is `null`, or not there at all. What is no success stays.
pub(super) fn without_result(response: Response<Bytes>, is_null: bool) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(mut envelope)) if envelope.get("success") == Some(&Value::Bool(true)) => {
            match is_null {
                true => drop(envelope.insert("result".to_owned(), Value::Null)),
                false => drop(envelope.remove("result")),
            }
            Value::Object(envelope).to_string().into()
        }
        _ => body,
    };
    Response::from_parts(head, body)
}

fn render<T: Serialize>(envelope: &Envelope<'_, T>) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("an envelope holds nothing that JSON cannot")
}
