//! Mail that came back, from the mailbox that it came to: works on the database itself, while the
//! server runs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
};

use anyhow::Context;

use crate::{
    auth::OrganizationId,
    cli::{ACTOR, out},
    config::Config,
    marketing::sending::bounce::{self, Messages, Whose},
    seal::{self, Lasting},
    serve,
};

pub(super) async fn run(files: &[PathBuf], config: &Config) -> anyhow::Result<()> {
    let db = serve::open_database(config).await?;
    let sealer = seal::check(&db, config.key_origin()).await?;
    let lasting = Lasting::new(db.clone(), sealer);
    let keyed = lasting.keyed().await?;
    let (mut messages, mut recorded, mut others) = (0_u64, 0_u64, 0_u64);
    for path in files {
        let shown = path.display();
        let source: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
            Box::new(BufReader::new(file))
        };
        for message in Messages::new(source) {
            let message = message.with_context(|| format!("cannot read {shown}"))?;
            messages += 1;
            let mut any = false;
            for report in bounce::reports(&message) {
                let Some(mail) = bounce::marked(keyed, &report.mark) else { continue };
                let (whose, organization) = (Whose::Mail(mail), OrganizationId::FIRST);
                let (kind, reason) = (report.kind, &report.reason);
                any |=
                    bounce::record(&db, keyed, organization, &whose, kind, reason, ACTOR).await?;
            }
            if any {
                recorded += 1;
            } else {
                others += 1;
            }
        }
    }
    db.close().await;
    writeln!(
        out(),
        "{messages} messages: {recorded} reports recorded, {others} say nothing of a mail of ours"
    )?;
    Ok(())
}
