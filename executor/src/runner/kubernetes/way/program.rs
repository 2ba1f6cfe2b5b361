//! The program that a kubeconfig names under `exec`, which says who we are.
//!
//! It is run here and not by the client, which runs it twice for each client, knows no limit, and begins it anew for each
//! call that gave up waiting for it. It is asked once, has a limit, and what it began ends with it.

use super::super::client::chain;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, Kubeconfig};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use std::{
    io::{self, IsTerminal as _},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// What it says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Ends all that a program began, unless it ended itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = kill_process_group(group, Signal::KILL); // it may have ended by itself
        }
    }
}

/// Asks it, and puts what it says in its place. Until when that holds, if it says so; an error is for the user.
pub(super) async fn ask(
    login: &mut AuthInfo,
    exec: &ExecConfig,
    within: Duration,
) -> Result<Option<Timestamp>, String> {
    let said = timeout(within, run(exec)).await.map_err(|_| {
        format!("the program of its `exec` did not say within {within:?} who this executor is")
    })??;
    // What it printed may be a token: it is not repeated.
    let wrong = |what: &str| format!("what the program of its `exec` printed {what}");
    let none = || wrong("is no `ExecCredential`");
    // It may be YAML, and this reads all that a kubeconfig may be.
    let mut said = Kubeconfig::from_yaml(&said).map_err(|_| none())?;
    let status = said.other.remove("status").ok_or_else(none)?;
    let credential: Credential = serde_json::from_value(status).map_err(|_| none())?;
    let Credential { token, client_certificate_data, client_key_data, expiration_timestamp } =
        credential;
    if let Some((certificate, key)) = client_certificate_data.zip(client_key_data) {
        (login.client_certificate, login.client_key) = (None, None);
        login.client_certificate_data = Some(base64(certificate));
        login.client_key_data = Some(base64(key).into());
    }
    login.token = token;
    let until = expiration_timestamp.map(|text| text.parse()).transpose();
    until.map_err(|_| wrong("has an `expirationTimestamp` that is no time"))
}

/// What it prints.
async fn run(exec: &ExecConfig) -> Result<String, String> {
    let Some(program) = &exec.command else {
        return Err("its `exec` names no `command`".to_owned());
    };
    let interactive =
        exec.interactive_mode != Some(ExecInteractiveMode::Never) && io::stdin().is_terminal();
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten()).kill_on_drop(true).stdout(Stdio::piped());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    let mut info = json!({
        "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": {"interactive": interactive},
    });
    if let Some(cluster) = cluster {
        info["spec"]["cluster"] = json!(cluster);
    }
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    if interactive {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    }
    let started = command.spawn();
    let child = started.map_err(|error| {
        format!("the program of its `exec`, {program}, cannot be run: {}", chain(&error))
    })?;
    let group = child.id().filter(|_| !interactive).and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group(group);
    let out = child.wait_with_output().await;
    group.0 = None;
    let out = out.map_err(|error| format!("the program of its `exec`, {program}: {error}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let (status, said) = (out.status, said.trim());
        return Err(format!("the program of its `exec`, {program}, ended with {status}: {said}"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// As a kubeconfig has it.
fn base64(text: String) -> String {
    let encoded = serde_json::to_value(ByteString(text.into_bytes())).unwrap_or_default();
    encoded.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use std::{fs, path::Path};

    fn sh(script: &str) -> ExecConfig {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "env": [{"name": "WHO", "value": "me"}],
        });
        serde_json::from_value(exec).unwrap()
    }

    #[tokio::test]
    async fn what_a_program_says_is_taken_also_where_it_is_yaml() {
        let minute = Duration::from_secs(60);
        for (script, token) in [
            (r#"echo "{\"status\": {\"token\": \"$WHO\"}}""#, "me"),
            (r"printf 'kind: ExecCredential\nstatus:\n  token: you\n'", "you"),
            (
                r#"case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) echo 'status: {token: v1}';; esac"#,
                "v1",
            ),
        ] {
            let mut login = AuthInfo::default();
            assert_eq!(ask(&mut login, &sh(script), minute).await, Ok(None), "{script}");
            assert_eq!(login.token.unwrap().expose_secret(), token);
        }
        let mut login = AuthInfo::default();
        let script = "echo 'status: {clientCertificateData: abc, clientKeyData: def, expirationTimestamp: \
                      \"2030-01-02T03:04:05Z\"}'";
        let until = ask(&mut login, &sh(script), minute).await.unwrap().unwrap();
        assert_eq!(until.to_string(), "2030-01-02T03:04:05Z");
        assert_eq!(login.client_certificate_data.as_deref(), Some("YWJj"));
        assert_eq!(login.client_key_data.unwrap().expose_secret(), "ZGVm");
        for (script, says) in [
            ("echo secret-token", "no `ExecCredential`"),
            ("echo 'status: {token: secret-token, expirationTimestamp: soon}'", "no time"),
            ("echo secret-token; echo not today >&2; exit 3", "not today"),
        ] {
            let why = ask(&mut AuthInfo::default(), &sh(script), minute).await.unwrap_err();
            assert!(why.contains(says) && !why.contains("secret-token"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_answer_ends_with_all_that_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
        let asked = sh(&script);
        let mut login = AuthInfo::default();
        let mut asking = Box::pin(ask(&mut login, &asked, Duration::from_secs(60)));
        while !pid.exists() {
            let pause = Duration::from_millis(20);
            assert!(timeout(pause, &mut asking).await.is_err(), "it answered");
        }
        drop(asking);
        let pid = fs::read_to_string(pid).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        // What nobody waits for may stay as a zombie.
        let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let gone = async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.expect("it runs on");
        let late = ask(&mut AuthInfo::default(), &sh("sleep 1000"), Duration::from_millis(1)).await;
        assert!(late.unwrap_err().contains("did not say within"));
    }
}
