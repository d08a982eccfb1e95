//! Takes a shared access key, gives the token by which Service Bus knows whose it is.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How long a token is good for.
pub(super) const VALID: Duration = Duration::from_secs(3600);
/// When the next one is put: well before the first ends.
pub(super) const RENEWED: Duration = Duration::from_secs(40 * 60);
/// By which the service tells it from other kinds of tokens.
pub(super) const KIND: &str = "servicebus.windows.net:sastoken";

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A shared access signature for `audience`, `amqps://<namespace>/<queue>`, until `expires`
/// (seconds since 1970). (Azure: *Service Bus access control with Shared Access Signatures*.)
pub(super) fn token(audience: &str, key_name: &str, key: &str, expires: i64) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let audience = encoded(audience);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, format!("{audience}\n{expires}").as_bytes());
    format!(
        "SharedAccessSignature sr={audience}&sig={}&se={expires}&skn={}",
        encoded(&STANDARD.encode(signature)),
        encoded(key_name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected text was computed by Python's hmac and urllib.
    #[test]
    fn a_token_is_signed_as_azure_says() {
        let found = token(
            "amqps://contoso.servicebus.windows.net/orders",
            "RootManageSharedAccessKey",
            "c2VjcmV0LWtleS1vZi10aGUtdGVzdA==",
            1_767_225_600,
        );
        let expected = "SharedAccessSignature \
             sr=amqps%3A%2F%2Fcontoso.servicebus.windows.net%2Forders&\
             sig=VVLOvhe%2F0kSUFpNkMIGiNYa%2Bhs7Ytz53ZZEiZAVpVcI%3D&se=1767225600&\
             skn=RootManageSharedAccessKey";
        assert_eq!(found, expected);
    }
}
