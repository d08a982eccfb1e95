//! Takes an address, and a token where one is asked for, gives the answer of one HTTP GET.

use std::time::Duration;

use anyhow::Result;

/// Status and body of a GET; every status is an answer, not an error.
///
/// # Errors
/// When nothing answers within two seconds.
pub async fn get(url: String, token: Option<&str>) -> Result<(u16, String)> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let answer = tokio::task::spawn_blocking(move || -> Result<(u16, String)> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(2)))
            .http_status_as_error(false)
            .build();
        let mut request = config.new_agent().get(&url);
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer);
        }
        let mut response = request.call()?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_to_string()?))
    });
    answer.await?
}
