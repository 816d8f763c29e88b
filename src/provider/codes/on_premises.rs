//! The On-Premises client's codes, in order.
//!
//! Meta retired that client on 2025-10-23; its codes live on in providers that kept its interface, and in
//! the `errors` they answer with.

use super::{
    Class::Uncertain, Entry, HOLD_SENDER, HOLD_TEMPLATE, MESSAGE, MISMATCH, RECIPIENT, SLOW_SENDER,
    TRANSIENT, one,
};

const META: &str = "Meta, On-Premises API error and status messages";

// One line a code: read it as the table it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    one(400, MESSAGE, "Media download error", "Make the media link reachable, or upload the media and use its id.", META),
    one(401, MESSAGE, "Group unknown", "Correct the group id.", META),
    one(402, HOLD_SENDER, "Payment issue", "Set up the account's payment method at Meta.", META),
    one(408, MESSAGE, "Message is not valid", "It waited for more than a day: send it anew if it still matters.", META),
    one(410, MESSAGE, "Message expired", "It was not delivered in its time to live: send it anew if it still matters.", META),
    one(429, SLOW_SENDER, "Rate limit hit", "It slows down by itself.", META),
    one(430, HOLD_SENDER, "Unsigned certificate", "Register the phone number again.", META),
    one(432, HOLD_SENDER, "Certificate mismatch", "Register the phone number again.", META),
    one(433, HOLD_SENDER, "Certificate not signed", "Register the phone number again.", META),
    one(470, MESSAGE, "Re-engagement message", "More than 24 hours since the recipient wrote: send a template instead.", META),
    one(471, HOLD_SENDER, "Spam rate limit hit", "Too many people blocked or reported this number: see its quality rating before releasing it.", META),
    one(472, RECIPIENT, "User's number is part of an experiment", "Meta sends this person no marketing message; sending again changes nothing.", META),
    one(480, RECIPIENT, "User potentially changed", "The person registered anew: acknowledge their new identity, then send again.", META),
    one(500, Uncertain, "Generic error", "Wait for its status.", META),
    one(1000, Uncertain, "Generic error", "Wait for its status.", META),
    one(1001, MESSAGE, "Message too long", "Shorten the text to 4,096 characters.", META),
    one(1002, MESSAGE, "Invalid recipient type", "Use individual or group.", META),
    one(1003, MESSAGE, "Not in group", "The sender is no member of this group.", META),
    one(1004, MESSAGE, "Resource already exists", "Change its name.", META),
    one(1005, HOLD_SENDER, "Access denied", "Check the sender's credential; a number may have been moved off this client.", META),
    one(1006, RECIPIENT, "Resource not found", "Correct the recipient, the group or the media id.", META),
    one(1007, RECIPIENT, "Recipient blocked to receive message", "Not on the list of allowed recipients, or blocked.", META),
    one(1008, MESSAGE, "Required parameter is missing", "Add the field that the details name.", META),
    one(1009, MESSAGE, "Parameter value is not valid", "Correct the field that the details name.", META),
    one(1010, MESSAGE, "Parameter is not required", "Remove the field that the details name.", META),
    one(1011, TRANSIENT, "Service not ready", "The client is starting: wait.", META),
    one(1012, RECIPIENT, "Group not valid", "Correct the group id.", META),
    one(1013, RECIPIENT, "User is not valid", "Check the recipient's number; it may not be on WhatsApp.", META),
    one(1014, TRANSIENT, "Internal error", "Wait; see the client's log if it lasts.", META),
    one(1015, SLOW_SENDER, "Too many requests", "It slows down by itself.", META),
    one(1016, TRANSIENT, "System overloaded", "Wait.", META),
    one(1017, TRANSIENT, "Not primary master", "Wait until the client has a primary.", META),
    one(1018, TRANSIENT, "Not primary core application", "Wait until the client has a primary.", META),
    one(1021, RECIPIENT, "Bad user", "The recipient is the sender itself, or is not valid.", META),
    one(1022, HOLD_SENDER, "Webhooks URL is not configured", "Set the client's webhook address.", META),
    one(1023, TRANSIENT, "Database error", "Wait; see the client's database if it lasts.", META),
    one(1025, HOLD_SENDER, "Password change required", "Change the client's password.", META),
    one(1026, RECIPIENT, "Receiver incapable", "This client cannot show this kind of message: send another kind.", META),
    one(1031, HOLD_SENDER, "Account has been locked", "See the account at Meta.", META),
    one(2000, MISMATCH, "Template parameter count mismatch", "Give as many parameters as the template has placeholders.", META),
    one(2001, HOLD_TEMPLATE, "Template missing", "Correct the template's name, namespace and language, or have it approved.", META),
    one(2002, MESSAGE, "Receiver failed to download template", "Send it anew if it still matters.", META),
    one(2003, MESSAGE, "Receiver lacks the template's packs", "Send it in another language.", META),
    one(2004, MESSAGE, "Template parameter not valid", "Correct the parameter that the details name.", META),
    one(2005, MESSAGE, "Text of the filled template too long", "Shorten the parameters.", META),
    one(2007, MESSAGE, "Template format character policy violated", "Remove what the details name, such as line breaks in a parameter.", META),
    one(2008, MESSAGE, "Template media format not supported", "Use media of the template's kind.", META),
    one(2009, MESSAGE, "Template component missing", "Add the component that the details name.", META),
    one(2010, MESSAGE, "Template button URL not valid", "Correct the button's URL parameter.", META),
    one(2011, MESSAGE, "Template button phone number not valid", "Correct the button's phone number.", META),
    one(2012, MISMATCH, "Template parameter format mismatch", "Give the parameters in the format that the template was made with.", META),
];
