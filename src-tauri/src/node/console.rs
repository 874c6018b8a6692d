//! The console for browsers of other machines: one task opens its port once there is a certificate that can be used, and
//! takes a renewed one in place of it. Whatever is wrong is an alarm and costs the node nothing else: what it guards does not
//! stand still because a certificate has ended. It must not know who may do what there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde_json::json;

use super::config::console::ConsoleConfig;
use super::context::alarms::AlarmKind;
use super::context::{Context, Event, Severity};
use crate::adapters::transport::certificate::{Files, day};
use crate::adapters::transport::{AwayListener, AwayTls, Certificate, CertificateError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{CERTIFICATE_ENDS_SOON_MS, CERTIFICATE_LOOK_MS};

/// What to do about a port that cannot be opened.
const PORT_ADVICE: &str =
    "end the program that has the port, or choose another with console.listen";
/// What to do about a certificate.
const CERTIFICATE_ADVICE: &str = "mend what is said here: the files are looked at again and again, and nothing has to be started again; docs/phone.md says more";

/// What was found when the files were looked at.
enum Found {
    /// They are those in use, or there is nothing new that can be used.
    Same,
    /// Others that can be used.
    New(Box<Certificate>),
}

/// Keeps the console open for other machines until the node ends.
pub(super) async fn run(context: Context, console: ConsoleConfig, app: Router) {
    let console = Arc::new(console);
    let mut tick = tokio::time::interval(Duration::from_millis(CERTIFICATE_LOOK_MS));
    let mut in_use: Option<(Certificate, AwayTls)> = None;
    loop {
        tokio::select! {
            biased;
            () = context.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = context.now();
        let known = in_use.as_ref().map(|(certificate, _)| certificate.clone());
        let problem = match look(console.clone(), known, now).await {
            Ok(Found::Same) => ends_soon(&console.cert, in_use.as_ref(), now),
            Ok(Found::New(certificate)) => {
                match take(&context, &console, &app, *certificate, &mut in_use).await {
                    Ok(()) => ends_soon(&console.cert, in_use.as_ref(), now),
                    Err(problem) => Some((problem, PORT_ADVICE)),
                }
            }
            Err(error) => Some((error.to_string(), CERTIFICATE_ADVICE)),
        };
        tell(&context, in_use.is_some(), problem).await;
    }
}

/// Reads the files and checks what is new in them.
async fn look(
    console: Arc<ConsoleConfig>,
    known: Option<Certificate>,
    now: TimeMs,
) -> Result<Found, CertificateError> {
    let path = console.cert.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let paths = (console.cert.as_path(), console.key.as_path());
        let read = Files::read(paths.0, paths.1)?;
        if known.is_some_and(|known| known.is_of(&read)) {
            return Ok(Found::Same);
        }
        let made = Certificate::of(&read, paths, &console.names(), now)?;
        Ok(Found::New(Box::new(made)))
    });
    looked.await.unwrap_or_else(|_| {
        Err(CertificateError::Content {
            key: "cert",
            path,
            why: "it could not be looked at".to_owned(),
        })
    })
}

/// Puts a certificate in the place of the one in use, or opens the port with the first one.
async fn take(
    context: &Context,
    console: &ConsoleConfig,
    app: &Router,
    certificate: Certificate,
    in_use: &mut Option<(Certificate, AwayTls)>,
) -> Result<(), String> {
    let until = day(certificate.ends());
    let message = match in_use {
        Some((held, tls)) => {
            tls.replace(&certificate);
            *held = certificate;
            format!("The console has a new certificate, which counts until {until}")
        }
        None => {
            let tls = AwayTls::new(&certificate).map_err(|e| e.to_string())?;
            let listener = AwayListener::bind(console.listen)
                .await
                .map_err(|e| format!("console.listen: {e}"))?;
            let address = listener.local_addr();
            // One task opens it, once.
            let _ = console.port.set(address.port());
            let (tracker, stop) = (
                context.tasks.tracker().clone(),
                context.tasks.stop().clone(),
            );
            let served = listener.serve(app.clone(), tls.clone(), tracker, stop);
            context.tasks.passing("console for other machines", served);
            *in_use = Some((certificate, tls));
            format!(
                "The console is open for other machines on {address}; its certificate counts until {until}"
            )
        }
    };
    tracing::info!("{message}");
    let data = json!({"until": until});
    let journal = &context.journal;
    journal
        .record(Event::ConsoleServed, Severity::Info, &message, data)
        .await;
    Ok(())
}

/// What is wrong with the certificate in use: it has ended, or does so soon.
fn ends_soon(
    path: &Path,
    in_use: Option<&(Certificate, AwayTls)>,
    now: TimeMs,
) -> Option<(String, &'static str)> {
    let (certificate, _) = in_use?;
    if let Err(error) = certificate.counts_at(path, now) {
        return Some((error.to_string(), CERTIFICATE_ADVICE));
    }
    let left = certificate.ends().since(now);
    (left < CERTIFICATE_ENDS_SOON_MS).then(|| {
        let why = format!(
            "console.cert: {} ends on {}",
            path.display(),
            day(certificate.ends())
        );
        (why, "renew it; whatever does so should have done it by now")
    })
}

/// Raises the alarm, or ends it; what is new is told.
async fn tell(context: &Context, open: bool, problem: Option<(String, &'static str)>) {
    let Some((problem, advice)) = problem else {
        context.alarms.clear(AlarmKind::ConsoleCertificate, "");
        return;
    };
    let message = match open {
        true => format!("{problem}; the console goes on with the certificate that it has"),
        false => format!("the console is not open for other machines: {problem}"),
    };
    let now = context.now();
    let kind = AlarmKind::ConsoleCertificate;
    if context.alarms.raise(kind, "", &message, advice, now) {
        tracing::error!("{message}; {advice}");
    }
}
