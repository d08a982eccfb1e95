//! Takes an address, and a token where one is asked for, gives the answer of one HTTP GET.

use std::time::Duration;

use anyhow::Result;

/// Status and body of a GET; every status is an answer, not an error.
///
/// # Errors
/// When nothing answers within two seconds.
pub async fn get(url: String, token: Option<&str>) -> Result<(u16, String)> {
    ask(url, token, 2).await
}

/// [`get`] without a token, for an answer that may take so many seconds.
///
/// # Errors
/// When nothing answers by then.
pub async fn get_within(url: String, seconds: u64) -> Result<(u16, String)> {
    ask(url, None, seconds).await
}

async fn ask(url: String, token: Option<&str>, seconds: u64) -> Result<(u16, String)> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let answer = tokio::task::spawn_blocking(move || -> Result<(u16, String)> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(seconds)))
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
