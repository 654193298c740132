//! Rows that other programs write: into `error_log` itself, or into a table of their own.

use chrono::{DateTime, TimeDelta, Utc};
use lux::{
    auth::OrganizationId,
    clock,
    db::{Db, Foreign},
    errors::{
        Capture,
        grouping::Rules,
        store::{
            groups::{self, Decision, Status},
            index, intake,
            search::{self, Search},
        },
    },
    logs::Severity,
};

use crate::{
    both::{self, on_both},
    errors_store::{all_groups, event},
    support::{PATIENCE, schema, until},
};

const ONE: OrganizationId = OrganizationId::FIRST;

async fn insert(db: &Db, kind: &str, message: &str) {
    db.query("insert into error_log (error_type, error_message) values ($1, $2)")
        .bind(kind)
        .bind(message)
        .run()
        .await
        .unwrap();
}

on_both! {
    async fn rows_of_others_are_grouped_once_by_several_replicas(url: &str) {
        let db = Db::connect(url, 8).await.unwrap();
        for i in 0..120 {
            insert(&db, "KeyError", &format!("order {i} is missing")).await;
        }
        let replicas: Vec<_> = (0..6)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut found = 0;
                    // A replica may find nothing while others hold what is left.
                    for _ in 0..20 {
                        found += intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap();
                    }
                    found
                })
            })
            .collect();
        let mut found = 0;
        for replica in replicas {
            found += replica.await.unwrap();
        }
        assert_eq!(found, 120);
        let counted: i64 = all_groups(&db, ONE).await.iter().map(|group| group.count).sum();
        assert_eq!(counted, 120);
    }

    async fn any_row_is_made_to_fit(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let sql = db.dialect(
            "insert into error_log (error_type, error_message, severity, created_at, method)
             values ('T', 'm', 'FATAL', '2026-01-31 12:00:00.5', 'post'),
                 ('', '', 'strange', 'infinity', null),
                 (repeat('x', 3000), repeat('m', 100000), '', '0044-03-15 12:00:00 BC', null)",
            "insert into error_log (error_type, error_message, severity, created_at, method)
             values ('T', 'm', 'FATAL', '2026-01-31 12:00:00.5', 'post'),
                 (x'ff00', x'00fe', 7, 'never', null),
                 (printf('%03000d', 1), zeroblob(100000), null, 12, null)",
        );
        // SQLite's `not null` stands: a null severity is refused there by the table.
        let sql = if db.name() == "sqlite" { sql.replace("null, 12", "'?', 12") } else { sql.into() };
        let sql: &'static str = Box::leak(sql.into_boxed_str());
        assert_eq!(db.query(sql).run().await.unwrap(), 3);
        let now = clock::now();
        assert_eq!(intake::adopt(&db, &Rules::default(), 10, now).await.unwrap(), 3);
        assert_eq!(intake::adopt(&db, &Rules::default(), 10, now).await.unwrap(), 0);
        let (since, until) = (DateTime::UNIX_EPOCH, now + TimeDelta::days(1));
        let search = Search { since, until, group: None, resolved: None, terms: Vec::new() };
        let (found, _) = search::events(&db, ONE, &search, 10, None).await.unwrap();
        let mut rows: Vec<_> = found.into_iter().map(|found| found.event).collect();
        rows.sort_by_key(|row| row.id);
        let half: DateTime<Utc> = "2026-01-31T12:00:00.5Z".parse().unwrap();
        assert_eq!((rows[0].severity, rows[0].created_at), (Severity::Critical, half));
        assert_eq!(rows[0].method.as_deref(), Some("POST"));
        assert_eq!((rows[1].severity, rows[1].created_at), (Severity::Error, now));
        assert_eq!(rows[2].created_at, now);
        assert!(rows[2].error_type.len() <= 255 && rows[2].error_message.len() < 17_000);
    }

    async fn a_row_that_cannot_be_grouped_is_put_aside(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        insert(&db, "Good", "a").await;
        insert(&db, "Bad", "b").await;
        insert(&db, "Good", "c").await;
        // A rule that only the grouping of the second row breaks.
        let sql = db.dialect(
            "alter table error_group add constraint no_bad check (error_type <> 'Bad')",
            "create trigger no_bad before insert on error_group when new.error_type = 'Bad'
             begin select raise(abort, 'no bad'); end",
        );
        db.query(sql).run().await.unwrap();
        assert!(intake::adopt(&db, &Rules::default(), 10, clock::now()).await.is_err());
        // The attempt that failed may hold its rows for a moment yet, and locked ones are passed over.
        until("both good ones are adopted", async || {
            intake::adopt_singly(&db, &Rules::default(), 10, clock::now()).await.unwrap();
            (all_groups(&db, ONE).await.len() == 2).then_some(())
        })
        .await;
        assert_eq!(intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap(), 0, "it is not looped over");
        assert_eq!(all_groups(&db, ONE).await.len(), 2);
        let refused: Vec<(String, String)> = db
            .query("select error_type, refused from error_log where refused is not null")
            .all()
            .await
            .unwrap();
        assert_eq!((refused.len(), refused[0].0.as_str()), (1, "Bad"));
    }

    /// `current_timestamp` has no fraction on SQLite.
    async fn a_row_of_the_same_second_is_a_recurrence(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        insert(&db, "E", "x").await;
        intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap();
        let id = all_groups(&db, ONE).await[0].id;
        let resolve = Decision::Resolve("done");
        groups::decide(&db, ONE, &[id], &resolve, "ann", clock::now()).await.unwrap();
        insert(&db, "E", "x").await;
        intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap();
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!((group.status, group.count), (Status::Regressed, 2));
    }

    /// The same error reported over HTTP and written as a row is one group.
    async fn both_ways_in_meet(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        assert!(capture.record(ONE, vec![event("E", "row 7")]).await[0].is_ok());
        insert(&db, "E", "row 8").await;
        intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap();
        assert_eq!(all_groups(&db, ONE).await.iter().map(|group| group.count).sum::<i64>(), 2);
    }

    /// The application's table is PostgreSQL's; Lux's own database is either.
    async fn a_foreign_table_is_copied_and_left_alone(url: &str) {
        let Some(foreign) = application().await else { return };
        let db = Db::connect(url, 4).await.unwrap();
        let table = Foreign::new(&foreign.url, "error_log").unwrap();
        let copy = async || {
            intake::copy(&db, &table, &Rules::default(), ("shop", "shop"), 3, clock::now()).await.unwrap()
        };
        foreign.insert("KeyError", "1").await;
        foreign.insert("KeyError", "2").await;
        assert_eq!(copy().await, 0, "the first step only finds its place");
        assert_eq!(copy().await, 2);
        assert_eq!(copy().await, 0);

        // An id is taken, another one is committed, the first one follows.
        let mut slow = foreign.pool.begin().await.unwrap();
        foreign.insert_on(&mut *slow, "ValueError", "late").await;
        for i in 0..5 {
            foreign.insert("KeyError", &i.to_string()).await;
        }
        assert_eq!((copy().await, copy().await, copy().await), (3, 2, 0));
        slow.commit().await.unwrap();
        assert_eq!((copy().await, copy().await), (1, 0), "the late row is found, once");

        let groups = all_groups(&db, ONE).await;
        let mut counts: Vec<_> =
            groups.iter().map(|g| (g.error_type.as_str(), g.count, g.app.as_str())).collect();
        counts.sort_unstable();
        assert_eq!(counts, [("KeyError", 7, "shop"), ("ValueError", 1, "shop")]);
        let ago = clock::now() - groups[0].last_seen;
        assert!(ago.abs() < TimeDelta::minutes(1), "a time without zone is UTC: {ago}");

        let copies: Vec<_> = (0..4).map(|_| {
            let (db, table) = (db.clone(), table.clone());
            tokio::spawn(async move {
                intake::copy(&db, &table, &Rules::default(), ("shop", "shop"), 100, clock::now()).await.unwrap()
            })
        }).collect();
        foreign.insert("KeyError", "9").await;
        let mut copied = copy().await;
        for task in copies {
            copied += task.await.unwrap();
        }
        copied += copy().await;
        assert_eq!(copied, 1, "replicas do not copy twice");
    }

    async fn a_foreign_table_that_is_missing_is_an_error_not_a_loss(url: &str) {
        let Some(foreign) = application().await else { return };
        let db = Db::connect(url, 4).await.unwrap();
        let table = Foreign::new(&foreign.url, "no_such_table").unwrap();
        let step = intake::copy(&db, &table, &Rules::default(), ("shop", ""), 10, clock::now()).await;
        assert!(step.unwrap_err().to_string().contains("no_such_table"));
    }
}

/// An application's own database with the table that SQLAlchemy makes.
struct Application {
    url: String,
    pool: sqlx::PgPool,
}

async fn application() -> Option<Application> {
    let empty = both::postgres().await?;
    // Beside tables of Lux's own of the same name.
    let url = schema(&empty.url).await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "create table error_log (id serial primary key, error_type varchar(100) not null,
             error_message text not null, error_stack text, endpoint varchar(255),
             method varchar(10), user_id integer, severity varchar(20), is_resolved boolean,
             resolution_notes json, created_at timestamp without time zone)",
    )
    .execute(&pool)
    .await
    .unwrap();
    Some(Application { url, pool })
}

impl Application {
    async fn insert(&self, kind: &str, message: &str) {
        self.insert_on(&self.pool, kind, message).await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the application, not Lux")]
    async fn insert_on(&self, on: impl sqlx::PgExecutor<'_>, kind: &str, message: &str) {
        sqlx::query(
            "insert into error_log (error_type, error_message, user_id, severity, created_at)
             values ($1, $2, 5, 'medium', now() at time zone 'utc')",
        )
        .bind(kind)
        .bind(message)
        .execute(on)
        .await
        .unwrap();
    }
}

/// On SQLite there is one writer at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_passes_over_what_is_being_deleted() {
    let Some(empty) = both::postgres().await else { return };
    let db = Db::connect(&empty.url, 4).await.unwrap();
    for i in 0..3 {
        insert(&db, "KeyError", &format!("order {i}")).await;
    }
    assert_eq!(intake::adopt(&db, &Rules::default(), 10, clock::now()).await.unwrap(), 3);
    let mut clearing = db.begin().await.unwrap();
    let delete = "delete from error_log where error_message = 'order 1'";
    assert_eq!(clearing.query(delete).run().await.unwrap(), 1);
    // With the deletion still open: neither waits for the other. Rows come in order of their
    // ids only when nothing older is open, in any database of the server: here it has been
    // open for longer than the index has patience.
    let index = async {
        let mut indexed = 0;
        for hour in 1..=2 {
            indexed += index::step(&db, clock::now() + TimeDelta::hours(hour)).await.unwrap();
        }
        indexed
    };
    assert_eq!(tokio::time::timeout(PATIENCE, index).await.expect("it waited"), 2);
    assert_eq!(index::late(&db).await.unwrap(), 0);
    // It stays after all, and is not forgotten.
    drop(clearing);
    until("the row is free", async || (index::late(&db).await.unwrap() == 1).then_some(())).await;
    let terms = "select count(*) from error_term";
    assert_eq!(db.query(terms).scalar::<i64>().await.unwrap(), 3);
    db.close().await;
    empty.drop().await;
}
