//! As much of HTTP as it takes to ask etcd, and a server of ours for its health and metrics: one question for each
//! connection, whose end is the end of the answer.

use serde_json::Value;
use std::time::Duration;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// How long one answer may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// Why there is no answer: that of etcd, or the way to it.
pub(crate) type Refused = String;

/// Status and body of what `address` answers at `path`; both empty where nobody does within this time.
pub async fn page(address: &str, path: &str, within: Duration) -> (u16, String) {
    let asking = async {
        let (status, mut rest) = ask(address, &got(path)).await?;
        let mut body = String::new();
        rest.read_to_string(&mut body).await?;
        std::io::Result::Ok((status, body))
    };
    match timeout(within, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Default::default(),
    }
}

/// An answer that is no JSON.
pub(crate) async fn get_text(address: &str, path: &str) -> Result<Vec<u8>, Refused> {
    short(address, &got(path)).await
}

pub(crate) async fn get(address: &str, path: &str) -> Result<Value, Refused> {
    json(&get_text(address, path).await?)
}

pub(crate) async fn post(
    address: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<Value, Refused> {
    json(&short(address, &posted(path, token, body)).await?)
}

/// An answer that goes on: a line for each piece.
pub(crate) async fn stream(
    address: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<impl AsyncBufRead + Unpin + use<>, Refused> {
    let asked = ask(address, &posted(path, token, body)).await;
    let (status, rest) = asked.map_err(|error| error.to_string())?;
    if status == 200 { Ok(rest) } else { Err(format!("{path}: {status}")) }
}

fn got(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\n\r\n")
}

// Who asks by HTTP/1.0 gets the answer as it is, not in chunks.
fn posted(path: &str, token: Option<&str>, body: &Value) -> String {
    let body = body.to_string();
    let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let length = body.len();
    format!("POST {path} HTTP/1.0\r\n{token}Content-Length: {length}\r\n\r\n{body}")
}

fn json(body: &[u8]) -> Result<Value, Refused> {
    serde_json::from_slice(body).map_err(|_| String::from_utf8_lossy(body).into_owned())
}

async fn short(address: &str, request: &str) -> Result<Vec<u8>, Refused> {
    let answered = async {
        let (status, mut rest) = ask(address, request).await?;
        let mut body = Vec::new();
        rest.read_to_end(&mut body).await?;
        std::io::Result::Ok((status, body))
    };
    let late = |_| format!("{address} does not answer within {ANSWER:?}");
    let (status, body) =
        timeout(ANSWER, answered).await.map_err(late)?.map_err(|e| e.to_string())?;
    match status {
        200 => Ok(body),
        _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
    }
}

/// The status of the answer, and what follows its head.
async fn ask(address: &str, request: &str) -> std::io::Result<(u16, BufReader<TcpStream>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let before = head.len();
        let read = stream.read_line(&mut head).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, stream))
}
