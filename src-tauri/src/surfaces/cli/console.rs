//! `console`: a one-time link that opens the console in a browser, of this machine or of a phone, and the sessions that such
//! links made. It opens nothing by itself: on a machine without a screen the link goes through a tunnel.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::args::{ConsoleArgs, ConsoleCommand};
use super::context::Context;
use super::fail::Done;
use super::{clean, format, out};
use crate::operator::access::listed::OpenSession;

/// `console`.
///
/// # Errors
/// If the node does not run or refuses.
pub(super) async fn run(ctx: &Context, args: &ConsoleArgs) -> Done {
    let remote = ctx.remote().await?;
    match &args.what {
        Some(ConsoleCommand::Sessions) => return listed(ctx, &remote.console_sessions().await?),
        Some(ConsoleCommand::End { id }) => {
            return listed(ctx, &remote.console_session_end(id).await?);
        }
        None => {}
    }
    let person = args.name.clone().unwrap_or_else(|| ctx.person());
    let link = match args.phone {
        true => {
            remote
                .console_link_away(args.scope, &person, args.host.as_deref())
                .await?
        }
        false => remote.console_link(args.scope, &person).await?,
    };
    if ctx.json {
        return out::json(&link);
    }
    out::whole(&link.url);
    if args.print {
        return Ok(());
    }
    if args.phone
        && let Some(picture) = picture(&link.url)
    {
        out::print(&picture);
    }
    let within = format::age(ctx.now(), link.expires_at);
    out::line(&format!(
        "opens the console once, within {}, with the {} scope; do not pass it on",
        within.trim_start_matches("in "),
        link.scope
    ));
    if args.phone {
        out::line(
            "point the camera of the phone at the picture; in an app on the home screen of an iPhone paste the link instead (docs/phone.md)",
        );
    } else {
        let port = remote.address().port();
        out::line(&format!(
            "from another machine: ssh -L {port}:127.0.0.1:{port} <this machine>, then open the link there"
        ));
    }
    Ok(())
}

fn listed(ctx: &Context, all: &[OpenSession]) -> Done {
    if ctx.json {
        return out::json(&all);
    }
    let rows: Vec<Vec<String>> = all.iter().map(|one| row(one, ctx.now())).collect();
    let head = [
        "ID", "WHO", "SCOPE", "WHERE", "PUSH", "SINCE", "USED", "UNTIL",
    ];
    out::table(&head, &rows, "no browser has a session");
    Ok(())
}

fn row(session: &OpenSession, now: u64) -> Vec<String> {
    let place = match (session.away, &session.from) {
        (false, _) => "this machine".to_owned(),
        (true, Some(from)) => format!("another machine, {from}"),
        (true, None) => "another machine".to_owned(),
    };
    vec![
        session.id.clone(),
        format::name(&session.name),
        session.scope.to_string(),
        place,
        match (session.push, &session.push_problem) {
            (false, _) => "-".to_owned(),
            (true, None) => "push".to_owned(),
            (true, Some(why)) => format!("push; {}", clean::line(why)),
        },
        format::age(now, session.since),
        format::age(now, session.seen_at),
        format::moment(session.expires_at),
    ]
}

/// A link as a QR code of two rows a line, for a terminal that is dark.
fn picture(link: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(link, EcLevel::L).ok()?;
    let text = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Some(format!("{text}\n"))
}
