//! Showing that a name is ours, and taking back what was shown: by the listeners, and in DNS by a
//! command of the operator's, which is given a bounded time.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest;

use super::Issuing;
use super::challenges::{Answer, tls_answer};
use super::jws::base64url;
use super::shelf::{Proof, Shelf};
use super::trouble::{Kind, Trouble};
use crate::distribution::acme::{Acme, Challenge, DnsCommand, Folder};

/// How long edges that share a folder have to see what is new in it; each looks once a second.
const SHARED_SETTLE: Duration = Duration::from_secs(3);

/// What the command is to do.
#[derive(Clone, Copy)]
enum Action {
    Present,
    Cleanup,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}

/// Shows proofs. They are on the shelf first: whatever happens, they are taken back some day.
pub async fn show(
    issuing: &Issuing,
    acme: &Acme,
    shelf: &Shelf,
    proofs: &[Proof],
) -> Result<(), Trouble> {
    for proof in proofs {
        shelf.show(proof)?;
    }
    answer(issuing, acme, shelf)?;
    let settle = match &acme.challenge {
        Challenge::Dns01(command) => {
            for proof in proofs {
                run(command, Action::Present, proof).await?;
            }
            command.settle
        }
        Challenge::Http01 | Challenge::TlsAlpn01 => match acme.folder {
            Folder::Shared(_) => SHARED_SETTLE,
            Folder::Own(_) => Duration::ZERO,
        },
    };
    if !proofs.is_empty() && !settle.is_zero() {
        tokio::time::sleep(settle).await;
    }
    Ok(())
}

/// Takes back whatever is shown for a certificate, also by a process that ended; says whether there
/// was anything. What cannot be taken back is said and forgotten: the CA looks at new tokens only.
pub async fn take_back(issuing: &Issuing, acme: &Acme, shelf: &Shelf) -> Result<bool, Trouble> {
    let proofs = shelf.proofs()?;
    for proof in &proofs {
        if let (Challenge::Dns01(command), "dns-01") = (&acme.challenge, &*proof.kind)
            && let Err(trouble) = run(command, Action::Cleanup, proof).await
        {
            tracing::warn!(name = proof.name, %trouble, "a record in DNS was not removed");
        }
        shelf.withdraw(proof)?;
    }
    issuing.challenges.put(&acme.entry(), Vec::new());
    Ok(!proofs.is_empty())
}

/// Has the listeners answer as the shelf says: of an edge that orders and of all that share its
/// folder.
pub fn answer(issuing: &Issuing, acme: &Acme, shelf: &Shelf) -> Result<(), Trouble> {
    issuing.challenges.put(&acme.entry(), answers(shelf.proofs()?)?);
    Ok(())
}

/// What listeners answer to show proofs.
pub fn answers(proofs: Vec<Proof>) -> Result<Vec<Answer>, Trouble> {
    let mut answers = Vec::new();
    for proof in proofs {
        match &*proof.kind {
            "http-01" => {
                answers.push(Answer::Http { token: proof.token, text: proof.authorization });
            }
            "tls-alpn-01" => {
                let digest = sha256(&proof.authorization);
                let made = tls_answer(&proof.name, &digest);
                answers.push(made.map_err(|why| Trouble::new(Kind::Here, why))?);
            }
            _ => {}
        }
    }
    Ok(answers)
}

fn sha256(text: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    octets
}

// The command runs beside everything else, and ends with all that it began when its time is up.
async fn run(dns: &DnsCommand, action: Action, proof: &Proof) -> Result<(), Trouble> {
    let (dns, proof) = (dns.clone(), proof.clone());
    let ran = tokio::task::spawn_blocking(move || run_here(&dns, action, &proof)).await;
    let ran = ran.unwrap_or_else(|error| Err(error.to_string()));
    ran.map_err(|why| Trouble::new(Kind::Here, format!("dns_command ({}): {why}", action.word())))
}

fn run_here(dns: &DnsCommand, action: Action, proof: &Proof) -> Result<(), String> {
    let Some((program, arguments)) = dns.words.split_first() else {
        return Err("there is none".into());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("ACME_ACTION", action.word())
        .env("ACME_DOMAIN", &proof.name)
        .env("ACME_RECORD", format!("_acme-challenge.{}", proof.name))
        .env("ACME_VALUE", base64url(&sha256(&proof.authorization)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    // Looked at twenty times a second: there is no wait with an end for a process.
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{program}: {status}")),
            Ok(None) if waited < dns.patience => std::thread::sleep(step),
            Ok(None) => break,
            Err(error) => return Err(format!("{program}: {error}")),
        }
        waited += step;
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("{program} did not end within {:?}", dns.patience))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof {
            kind: "dns-01".into(),
            name: "a.test".into(),
            token: "t".into(),
            authorization: "t.thumb".into(),
        }
    }

    fn command(script: &str, patience: Duration) -> DnsCommand {
        let words = ["sh", "-c", script].map(String::from).to_vec();
        DnsCommand { words, patience, settle: Duration::ZERO }
    }

    #[test]
    fn the_command_is_told_the_record_and_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!(
            "echo \"$ACME_ACTION $ACME_DOMAIN $ACME_RECORD $ACME_VALUE\" > {}",
            out.display()
        );
        let patience = Duration::from_secs(30);
        run_here(&command(&script, patience), Action::Present, &proof()).unwrap();
        let value = base64url(&sha256("t.thumb"));
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            format!("present a.test _acme-challenge.a.test {value}\n")
        );
        assert_eq!(value.len(), 43);
    }

    #[test]
    fn a_command_that_fails_hangs_or_is_not_there_is_an_error() {
        let patience = Duration::from_secs(30);
        let failed = run_here(&command("exit 3", patience), Action::Cleanup, &proof());
        assert!(failed.is_err_and(|why| why.contains('3')));
        let short = Duration::from_millis(100);
        let hung = run_here(&command("sleep 600", short), Action::Present, &proof());
        assert!(hung.is_err_and(|why| why.contains("did not end")));
        let words = vec!["/no/such/program".to_string()];
        let none = DnsCommand { words, patience, settle: Duration::ZERO };
        assert!(run_here(&none, Action::Present, &proof()).is_err());
    }
}
