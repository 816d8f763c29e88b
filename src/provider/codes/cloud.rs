//! The Cloud API's codes, in order.
//!
//! Titles are Meta's; classes follow its documented remedy, and where that is silent, the reading that can
//! neither lose nor double a message.

use super::{
    Class::{NotAboutSending, Uncertain},
    Entry, HOLD_SENDER, HOLD_TEMPLATE, MESSAGE, MISMATCH, RECIPIENT, SLOW_ACCOUNT, SLOW_PAIR,
    SLOW_SENDER, TRANSIENT, family, one, transient,
};

const META: &str = "Meta, Error codes";
const GROUPS: &str = "Meta, Groups API error codes";
const OPENAPI: &str = "Meta, OpenAPI description v23.0";
const FIELD: &str = "field reports";

/// Code 100 with subcode 33 blames the sender's id or its rights, not the message.
#[rustfmt::skip]
pub(super) const UNKNOWN_SENDER: Entry =
    one(100, HOLD_SENDER, "Object does not exist or is not permitted", "Check the sender's phone-number-id and that the token may use it.", META);

// One line a code: read it as the table it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    one(0, HOLD_SENDER, "AuthException", "The token has expired or was revoked: give the sender a new one.", META),
    // "Invalid request or possible server error": on a 4xx as on a 5xx nobody says that nothing was done.
    one(1, Uncertain, "API Unknown", "Check Meta's status page; if it comes again for the same message, check its payload.", META),
    one(2, transient(300), "API Service", "Meta's service is down or overloaded, for up to five minutes: wait.", META),
    one(3, HOLD_SENDER, "API Method", "The token lacks a capability or permission: check the app.", META),
    one(4, SLOW_ACCOUNT, "API Too Many Calls", "The app's call limit is reached: it slows down by itself.", META),
    one(10, HOLD_SENDER, "Permission Denied", "Give the app the permission whatsapp_business_messaging for this number.", META),
    one(33, HOLD_SENDER, "Parameter value is not valid", "The business phone number was deleted: correct the sender.", META),
    one(100, MESSAGE, "Invalid parameter", "Correct the field that the details name.", META),
    one(104, HOLD_SENDER, "Missing access token", "Check the sender's credential and auth_header.", OPENAPI),
    one(190, HOLD_SENDER, "Access token has expired", "Give the sender a new token, best one of a system user, which does not expire.", META),
    family(200, 299, HOLD_SENDER, "API Permission", "Give the app the permission that the details name.", META),
    one(368, HOLD_SENDER, "Temporarily blocked for policies violations", "The business account is restricted or disabled: see its quality page at Meta.", META),
    one(613, SLOW_ACCOUNT, "Calls to this API have exceeded the rate limit", "It slows down by itself.", FIELD),
    one(803, HOLD_SENDER, "Object not found", "Check the sender's phone-number-id.", OPENAPI),
    one(1026, RECIPIENT, "Receiver Incapable", "This client cannot show this kind of message: send another kind.", "Meta, Address messages"),
    one(80007, SLOW_ACCOUNT, "Rate limit issues", "The business account's limit is reached: it slows down by itself.", META),
    one(130403, RECIPIENT, "Business has blocked the user", "Do not write to this recipient, or unblock them.", META),
    one(130429, SLOW_SENDER, "Rate limit hit", "The number's throughput is reached: it slows down by itself.", META),
    one(130472, RECIPIENT, "User's number is part of an experiment", "Meta sends this person no marketing message; sending again changes nothing.", META),
    // Meta restricts the country, not the number: other recipients of the sender are not touched.
    one(130497, RECIPIENT, "Business account is restricted from messaging users in this country", "Leave out recipients of this country, or ask Meta to lift the restriction.", META),
    one(131000, Uncertain, "Something went wrong", "Wait for its status; Meta does not say whether it was sent.", META),
    one(131005, HOLD_SENDER, "Access denied", "Give the app its permission back, or accept the payment terms that the details link to.", META),
    one(131008, MESSAGE, "Required parameter is missing", "Add the field that the details name.", META),
    one(131009, MESSAGE, "Parameter value is not valid", "Correct the field that the details name.", META),
    one(131014, MESSAGE, "Request for url failed", "Make the media link reachable, or upload the media and use its id.", FIELD),
    one(131016, TRANSIENT, "Service unavailable", "Wait; check Meta's status page if it lasts.", META),
    one(131020, RECIPIENT, "Bad Group", "The group has no member but you.", GROUPS),
    one(131021, RECIPIENT, "Recipient cannot be sender", "Send to another number than the sender's own.", META),
    one(131026, RECIPIENT, "Message undeliverable", "Not on WhatsApp, terms not accepted, or client too old: reach this person another way.", META),
    one(131027, Uncertain, "Something went wrong", "Wait for its status; Meta does not say whether it was sent.", META),
    one(131030, RECIPIENT, "Recipient phone number not in allowed list", "A test number reaches only the numbers on its list: add this one at Meta.", FIELD),
    one(131031, HOLD_SENDER, "Account has been locked", "Policy violation or wrong PIN: see the account at Meta.", META),
    one(131037, HOLD_SENDER, "Display name needs approval", "Have the number's display name approved at Meta.", META),
    one(131041, RECIPIENT, "Group unknown", "The group does not exist, or the sender is no member.", GROUPS),
    one(131042, HOLD_SENDER, "Business eligibility payment issue", "Set up the account's payment method, currency and time zone at Meta.", META),
    one(131044, HOLD_SENDER, "Payment issue", "Set up the account's payment method at Meta.", FIELD),
    one(131045, HOLD_SENDER, "Incorrect certificate", "Register the phone number again.", META),
    one(131047, MESSAGE, "Re-engagement message", "More than 24 hours since the recipient wrote: send a template instead.", META),
    // Meta lists it under throttling; those who keep sending through it are restricted further.
    one(131048, HOLD_SENDER, "Spam rate limit hit", "Too many people blocked or reported this number: see its quality rating before releasing it.", META),
    one(131049, RECIPIENT, "Meta chose not to deliver", "This person gets enough marketing: wait a day at least, sooner makes it worse.", META),
    one(131050, RECIPIENT, "User has stopped marketing messages", "Send this person no marketing until they resume it.", META),
    one(131051, MESSAGE, "Unsupported message type", "Correct the message's type.", META),
    one(131052, MESSAGE, "Media download error", "Make the media link reachable, or upload the media and use its id.", META),
    one(131053, MESSAGE, "Media upload error", "Check the media's type, size and link.", META),
    one(131055, MESSAGE, "Method not allowed", "This address takes marketing templates only.", META),
    one(131056, SLOW_PAIR, "(Business Account, Consumer Account) pair rate limit hit", "Too many to this one person: it slows down by itself for them.", META),
    one(131057, transient(60), "Account in maintenance mode", "The number's throughput is being raised, about a minute: wait.", META),
    one(131059, NotAboutSending, "Invalid cursor", "Start the listing from its beginning.", META),
    one(131060, NotAboutSending, "Message unavailable", "About an incoming message only.", FIELD),
    one(131061, MESSAGE, "Template cannot be sent by this address", "Send this template through the marketing messages address: add \"product_policy\" to the payload.", META),
    one(131062, MESSAGE, "Business-scoped user id not supported", "This kind of template needs a phone number.", META),
    one(131063, HOLD_TEMPLATE, "Marketing templates are disabled on the Cloud API", "Send it through the marketing messages address: add \"product_policy\" to the payload; or change the setting at Meta.", META),
    one(131064, HOLD_SENDER, "Messaging limit reached by template classification violations", "Correct the templates' categories; the limit lifts by itself.", META),
    one(131201, NotAboutSending, "Request partially succeeded", "About changing a group's members.", GROUPS),
    one(131202, NotAboutSending, "Duplicate participant", "About changing a group's members.", GROUPS),
    one(131204, NotAboutSending, "Participant overlimit", "About changing a group's members.", GROUPS),
    // The group is suspended, not the number: other recipients of the sender are not touched.
    one(131207, RECIPIENT, "Group suspended", "The group violates WhatsApp's policies: use another.", GROUPS),
    one(131208, SLOW_SENDER, "Group rate limit hit", "Too many group operations from this number: it slows down by itself.", GROUPS),
    one(131209, NotAboutSending, "Invalid group profile picture aspect ratio", "About a group's picture.", GROUPS),
    one(131210, NotAboutSending, "Image is too small to process", "About a group's picture.", GROUPS),
    one(131211, NotAboutSending, "Group create limit reached", "About creating groups.", GROUPS),
    one(131212, MESSAGE, "Participant is not a part of the group", "Correct the participant.", GROUPS),
    one(132000, MISMATCH, "Template Param Count Mismatch", "Give as many parameters as the template has placeholders.", META),
    one(132001, HOLD_TEMPLATE, "Template does not exist", "Correct the template's name and language, or have it approved.", META),
    one(132005, MESSAGE, "Template Hydrated Text Too Long", "Shorten the parameters.", META),
    one(132007, MESSAGE, "Template Format Character Policy Violated", "Remove what the details name, such as line breaks in a parameter.", META),
    one(132008, MESSAGE, "Template parameter value is not valid", "Correct the parameter that the details name.", FIELD),
    one(132012, MISMATCH, "Template Parameter Format Mismatch", "Give the parameters in the format that the template was made with.", META),
    one(132015, HOLD_TEMPLATE, "Template is Paused", "Meta paused it for low quality: edit it, or wait until it is resumed.", META),
    one(132016, HOLD_TEMPLATE, "Template is Disabled", "Paused too often: make a new template.", META),
    one(132018, MESSAGE, "Template parameters are not valid", "Correct the parameter that the details name.", META),
    one(132068, HOLD_TEMPLATE, "Flow is in blocked state", "Correct the flow at Meta.", META),
    one(132069, HOLD_TEMPLATE, "Flow is in throttled state", "Ten messages of this flow an hour, until it is corrected at Meta.", META),
    one(133000, HOLD_SENDER, "Incomplete deregistration", "Deregister the number again, then register it.", META),
    one(133004, TRANSIENT, "Server Temporarily Unavailable", "Wait; check Meta's status page if it lasts.", META),
    one(133005, HOLD_SENDER, "Two-step verification PIN mismatch", "Register the number with the right PIN.", META),
    one(133006, HOLD_SENDER, "Phone number re-verification needed", "Verify the number again, then register it.", META),
    one(133008, HOLD_SENDER, "Too many two-step verification PIN guesses", "Wait as long as the details say, then register the number.", META),
    one(133009, HOLD_SENDER, "Two-step verification PIN guessed too fast", "Wait as long as the details say, then register the number.", META),
    one(133010, HOLD_SENDER, "Phone number not registered", "Register the number on the Cloud API.", META),
    one(133015, HOLD_SENDER, "Phone number was deleted recently", "Wait five minutes, then register it.", META),
    one(133016, HOLD_SENDER, "Account register deregister rate limit exceeded", "Ten registrations in 72 hours: wait.", META),
    one(134011, HOLD_SENDER, "Payments terms of service have not been accepted", "Accept them by the link in the details.", META),
    one(134100, MESSAGE, "Only marketing messages supported", "This address takes marketing templates only.", META),
    one(134101, transient(600), "Template is being synced", "Wait about ten minutes.", META),
    one(134102, HOLD_TEMPLATE, "Template unavailable for use", "Check the template at Meta.", META),
    one(135000, MESSAGE, "Generic user error", "Check the message's parameters.", META),
    one(137000, RECIPIENT, "Identity key hash mismatch", "The person registered anew: acknowledge their new identity, then send again.", FIELD),
    family(138000, 138018, NotAboutSending, "Calling", "About calls.", META),
    family(139000, 139999, NotAboutSending, "Block list and sync", "About blocked users and account sync.", META),
    family(147000, 147999, NotAboutSending, "Usernames", "About usernames.", META),
    family(2388000, 2388999, NotAboutSending, "Templates and numbers", "About creating templates and managing numbers.", META),
    // A service under maintenance, seen by others after requests that may have gone out.
    one(2494100, Uncertain, "Maintenance", "Wait for its status.", FIELD),
    family(2593000, 2593999, NotAboutSending, "Migration and sync", "About moving numbers and history.", META),
];
