//! Errors as Meta words them: for an answer, and for a `failed` status.
//!
//! Codes, titles and HTTP statuses are those of Meta's "Error codes" page for the Cloud API.

use serde_json::{Value, json};

use super::http::Response;

/// One error: its code and what goes with it.
#[derive(Clone, Debug)]
pub(super) struct GraphError {
    pub(super) http_status: u16,
    pub(super) code: u32,
    title: String,
    details: Option<String>,
    subcode: Option<u32>,
    is_transient: bool,
}

/// HTTP status, code, title, details. A status of 0 means that the page names none: 400 is answered.
const KNOWN: &[(u16, u32, &str, &str)] = &[
    (
        401,
        0,
        "AuthException",
        "We were unable to authenticate the app user.",
    ),
    (
        500,
        1,
        "API Unknown",
        "Invalid request or possible server error.",
    ),
    (
        503,
        2,
        "API Service",
        "Temporary due to downtime or due to being overloaded.",
    ),
    (500, 3, "API Method", "Capability or permissions issue."),
    (
        400,
        4,
        "API Too Many Calls",
        "The app has reached its API call rate limit.",
    ),
    (
        403,
        10,
        "Permission Denied",
        "Permission is either not granted or has been removed.",
    ),
    (
        400,
        33,
        "Parameter value is not valid",
        "The business phone number has been deleted.",
    ),
    (
        400,
        100,
        "Invalid parameter",
        "The request included one or more unsupported or misspelled parameters.",
    ),
    (
        401,
        104,
        "An access token is required to request this resource",
        "",
    ),
    (401, 190, "Access token has expired", ""),
    (
        403,
        200,
        "API Permission",
        "Permission is either not granted or has been removed.",
    ),
    (
        403,
        368,
        "Temporarily blocked for policies violations",
        "The account was restricted for violating a policy.",
    ),
    (
        404,
        803,
        "Some of the aliases you requested do not exist",
        "",
    ),
    (
        400,
        80007,
        "Rate limit issues",
        "The WhatsApp Business Account has reached its rate limit.",
    ),
    (
        400,
        130403,
        "Business has blocked the user",
        "The recipient is blocked by the business.",
    ),
    (
        400,
        130429,
        "Rate limit hit",
        "Cloud API message throughput has been reached.",
    ),
    (
        400,
        130472,
        "User's number is part of an experiment",
        "Message was not sent as part of an experiment.",
    ),
    (
        403,
        130497,
        "Business account is restricted from messaging users in this country.",
        "",
    ),
    (
        500,
        131000,
        "Something went wrong",
        "Message failed to send due to an unknown error.",
    ),
    (
        403,
        131005,
        "Access denied",
        "Permission is either not granted or has been removed.",
    ),
    (
        400,
        131008,
        "Required parameter is missing",
        "The request is missing a required parameter.",
    ),
    (
        400,
        131009,
        "Parameter value is not valid",
        "One or more parameter values are invalid.",
    ),
    (
        500,
        131016,
        "Service unavailable",
        "A service is temporarily unavailable.",
    ),
    (
        400,
        131021,
        "Recipient cannot be sender",
        "Sender and recipient phone number is the same.",
    ),
    (
        400,
        131026,
        "Message undeliverable",
        "Unable to deliver message.",
    ),
    (
        400,
        131030,
        "Recipient phone number not in allowed list",
        "Add the recipient to the allowed list.",
    ),
    (
        403,
        131031,
        "Account has been locked",
        "The account was restricted or disabled.",
    ),
    (
        400,
        131037,
        "Display name approval needed",
        "The number needs an approved display name.",
    ),
    (
        400,
        131042,
        "Business eligibility payment issue",
        "There was an error related to your payment method.",
    ),
    (
        500,
        131045,
        "Incorrect certificate",
        "Message failed to send due to a phone number registration error.",
    ),
    (
        400,
        131047,
        "Re-engagement message",
        "More than 24 hours have passed since the recipient last replied.",
    ),
    (
        400,
        131048,
        "Spam rate limit hit",
        "There are restrictions on how many messages can be sent from this number.",
    ),
    (
        400,
        131049,
        "This message was not delivered to maintain healthy ecosystem engagement.",
        "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
    ),
    (
        400,
        131050,
        "User has stopped marketing messages",
        "The recipient stopped marketing messages of the business.",
    ),
    (
        400,
        131051,
        "Unsupported message type",
        "Message type is not currently supported.",
    ),
    (
        400,
        131052,
        "Media download error",
        "Unable to download the media.",
    ),
    (
        400,
        131053,
        "Media upload error",
        "Unable to upload the media used in the message.",
    ),
    (
        400,
        131056,
        "(Business Account, Consumer Account) pair rate limit hit",
        "Too many messages sent from the sender phone number to the same recipient phone number in a short period.",
    ),
    (
        500,
        131057,
        "Account in maintenance mode",
        "Business account is in maintenance mode.",
    ),
    (
        400,
        132000,
        "Template Param Count Mismatch",
        "The number of parameters does not match the template's.",
    ),
    (
        404,
        132001,
        "Template does not exist",
        "The template does not exist in the language or is not approved.",
    ),
    (
        400,
        132005,
        "Template Hydrated Text Too Long",
        "Translated text is too long.",
    ),
    (
        400,
        132007,
        "Template Format Character Policy Violated",
        "Template content violates a policy.",
    ),
    (
        400,
        132012,
        "Template Parameter Format Mismatch",
        "Variable parameter values are formatted incorrectly.",
    ),
    (
        400,
        132015,
        "Template is Paused",
        "Template is paused due to low quality so it cannot be sent.",
    ),
    (
        400,
        132016,
        "Template is Disabled",
        "Template has been paused too many times and is now disabled.",
    ),
    (400, 132068, "Flow is blocked", "Flow is in blocked state."),
    (
        400,
        132069,
        "Flow is throttled",
        "Flow is in throttled state.",
    ),
    (
        503,
        133004,
        "Server Temporarily Unavailable",
        "Server is temporarily unavailable.",
    ),
    (
        400,
        133010,
        "Phone number Not Registered",
        "Phone number is not registered on the platform.",
    ),
    (
        400,
        134011,
        "Payments terms not accepted",
        "Payments terms of service acceptance is pending.",
    ),
    (
        400,
        135000,
        "Generic user error",
        "Message failed to send because of an unknown error with the parameters.",
    ),
    (
        0,
        1026,
        "Receiver Incapable",
        "The recipient's client cannot show this message.",
    ),
];

impl GraphError {
    /// The error of this code, with Meta's usual words. A code that Meta does not list is answered with 400.
    pub(super) fn of_code(code: u32) -> Self {
        let known = KNOWN.iter().find(|row| row.1 == code);
        let &(status, _, title, details) = known.unwrap_or(&(400, code, "Unlisted error", ""));
        Self {
            http_status: if status == 0 { 400 } else { status },
            code,
            title: title.to_owned(),
            details: (!details.is_empty()).then(|| details.to_owned()),
            subcode: subcode(code),
            is_transient: matches!(code, 2 | 4),
        }
    }

    /// The same error, saying what is wrong with this request.
    pub(super) fn with_details(self, details: impl Into<String>) -> Self {
        Self {
            details: Some(details.into()),
            ..self
        }
    }

    /// The same error under another title: what stands in `message`.
    pub(super) fn with_title(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// The answer to a send.
    pub(super) fn response(&self, trace: u64) -> Response {
        let mut error = json!({
            "message": if self.code < 1000 && self.code != 100 { self.title.clone() } else { self.titled() },
            "type": "OAuthException",
            "code": self.code,
            "fbtrace_id": format!("A{trace:016x}"),
        });
        if let Some(details) = &self.details {
            error["error_data"] = json!({ "messaging_product": "whatsapp", "details": details });
        }
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        if self.is_transient {
            error["is_transient"] = true.into();
        }
        Response::json(self.http_status, &json!({ "error": error }))
    }

    /// The answer of the On-Premises client, which has codes of its own for the same things.
    pub(super) fn on_premises_response(&self) -> Response {
        let (status, code, title) = match self.code {
            104 | 190 => (401, 1005, "Access denied"),
            131_008 => (400, 1008, "Required parameter is missing"),
            100 | 131_009 => (400, 1009, "Parameter value is not valid"),
            130_429 | 131_056 | 80_007 => (429, 1015, "Too many requests"),
            other => (self.http_status, other, self.title.as_str()),
        };
        let details = self.details.as_deref().unwrap_or(title);
        let errors = json!([{ "code": code, "title": title, "details": details }]);
        Response::json(
            status,
            &json!({ "meta": { "api_status": "stable", "version": "2.53" }, "errors": errors }),
        )
    }

    /// One of `statuses[].errors[]`.
    pub(super) fn in_status(&self) -> Value {
        let details = self.details.as_deref().unwrap_or(&self.title);
        json!({
            "code": self.code,
            "title": self.title,
            "message": self.title,
            "error_data": { "details": details },
            "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
        })
    }

    /// The same as the On-Premises client tells it.
    pub(super) fn in_bare_status(&self) -> Value {
        let details = self.details.as_deref().unwrap_or(&self.title);
        json!({ "code": self.code, "title": self.title, "details": details })
    }

    fn titled(&self) -> String {
        format!("(#{}) {}", self.code, self.title)
    }
}

fn subcode(code: u32) -> Option<u32> {
    match code {
        190 => Some(463),
        4 => Some(2_446_079),
        130_429 => Some(2_494_055),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_reads_as_meta_words_it() {
        let response = GraphError::of_code(130429).response(1);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(response.status, 400);
        assert_eq!(body["error"]["message"], "(#130429) Rate limit hit");
        assert_eq!(body["error"]["error_subcode"], 2_494_055);
        assert_eq!(
            body["error"]["error_data"]["details"],
            "Cloud API message throughput has been reached."
        );
    }

    #[test]
    fn an_expired_token_carries_no_error_data() {
        let response = GraphError::of_code(190).response(1);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(response.status, 401);
        assert_eq!(body["error"].get("error_data"), None);
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut codes: Vec<u32> = KNOWN.iter().map(|row| row.1).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KNOWN.len());
    }
}
