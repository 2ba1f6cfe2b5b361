//! `CP_HOST` as URIs.

use octavius_protocol::reach::{Address, addresses};

/// The URIs that `text` means, with commas between them; `tls`: TLS is spoken where it does not say. The error continues
/// a sentence that begins with the key.
pub(super) fn uris(text: &str, tls: bool) -> Result<String, String> {
    let all = addresses(text, tls).map_err(|problem| problem.to_string())?;
    Ok(all.iter().map(Address::to_string).collect::<Vec<_>>().join(","))
}
