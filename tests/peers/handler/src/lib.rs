//! Takes a body, gives a decision: the work that all consumers do, and the plug-in as well.

use serde_json::Value;

/// Says who is over the limit, if the account is. Reads an account by its columns, or what
/// Dataverse posts of one.
///
/// # Errors
/// What is wrong with the body.
pub fn decide(body: &[u8], limit: f64) -> Result<Option<String>, String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (who, credit) = match body.pointer("/InputParameters/0/value/Attributes") {
        Some(attributes) => {
            let all = attributes.as_array().into_iter().flatten();
            let credit = all.into_iter().find(|one| is_the_limit(one));
            let credit = credit.and_then(|one| one.pointer("/value/Value"));
            (body.get("PrimaryEntityId"), credit)
        }
        None => (body.get("accountnumber"), body.get("creditlimit")),
    };
    let who = who.and_then(Value::as_str);
    let (Some(who), Some(credit)) = (who, credit.and_then(Value::as_f64)) else {
        return Err("the body is no account with a credit limit".to_owned());
    };
    Ok((limit < credit).then(|| format!("{who} is over its limit")))
}

fn is_the_limit(attribute: &Value) -> bool {
    attribute.get("key").is_some_and(|key| key == "creditlimit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_bodies_are_decided() {
        let columns = br#"{"accountnumber":"A","creditlimit":75000}"#;
        let posted = br#"{"PrimaryEntityId":"A","InputParameters":[{"key":"Target","value":{
            "Attributes":[{"key":"creditlimit","value":{"Value":75000.0}}]}}]}"#;
        for body in [&columns[..], &posted[..]] {
            assert_eq!(decide(body, 75_000.0), Ok(None));
            let over = decide(body, 74_999.0);
            assert_eq!(over, Ok(Some("A is over its limit".to_owned())));
        }
        assert!(decide(b"{}", 1.0).is_err());
        assert!(decide(b"{", 1.0).is_err());
    }
}
