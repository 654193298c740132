//! Events, groups and the writer on both databases.

use chrono::{DateTime, TimeDelta, Utc};
use lux::{
    auth::OrganizationId,
    clock,
    db::Db,
    error::Error,
    errors::{
        Capture, NewEvent,
        event::Origin,
        find::{Field, Query, Term},
        grouping::Rules,
        store::{
            events,
            groups::{self, Decision, Group, Position, Sort, Status},
            search::{self, Search},
            write::Recorded,
        },
    },
    logs::Severity,
};

use crate::both::on_both;

const ONE: OrganizationId = OrganizationId::FIRST;

pub(crate) fn event(error_type: &str, message: &str) -> NewEvent {
    NewEvent { error_type: error_type.into(), error_message: message.into(), ..NewEvent::default() }
}

fn at(time: DateTime<Utc>, event: NewEvent) -> NewEvent {
    NewEvent { created_at: Some(time), ..event }
}

async fn second_organization(db: &Db) -> OrganizationId {
    db.query("insert into organization (name) values ('other') returning id")
        .scalar()
        .await
        .unwrap()
}

pub(crate) async fn all_groups(db: &Db, organization: OrganizationId) -> Vec<Group> {
    let filter = groups::Filter::default();
    groups::list(db, organization, &filter, Sort::Count, 200, None).await.unwrap().0
}

fn id_of(recorded: lux::error::Result<Recorded>) -> i64 {
    recorded.unwrap().id().unwrap()
}

fn recent(terms: Vec<Term>) -> Search {
    let now = clock::now();
    let (since, until) = (now - TimeDelta::hours(24), now + TimeDelta::hours(1));
    Search { since, until, group: None, resolved: None, terms }
}

on_both! {
    async fn like_events_form_one_group(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let mut sent = Vec::new();
        for i in 0..250 {
            sent.push(NewEvent {
                user_id: Some(format!("user-{}", i % 7)),
                severity: (i == 9).then_some(Severity::Critical),
                ..event("KeyError", &format!("order {i} of customer {} is missing", i * 31))
            });
        }
        let ids: Vec<i64> = capture.record(ONE, sent).await.into_iter().map(id_of).collect();
        assert_eq!(ids.len(), 250);
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids follow the order of the events");

        let groups = all_groups(&db, ONE).await;
        assert_eq!(groups.len(), 1, "{groups:#?}");
        let group = &groups[0];
        assert_eq!((group.count, group.users, group.status), (250, 7, Status::Unresolved));
        assert_eq!(group.severity, Severity::Critical);
        let buckets = groups::buckets(&db, &[group.id], clock::now()).await.unwrap();
        assert_eq!(buckets[&group.id].iter().sum::<i64>(), 250);
        let detail = events::find(&db, ONE, ids[9]).await.unwrap().unwrap();
        assert_eq!(detail.event.error_message, "order 9 of customer 279 is missing");
        assert_eq!((detail.event.severity, detail.event.group_id), (Severity::Critical, group.id));
        let summary = groups::summary(&db, ONE, clock::now()).await.unwrap();
        assert_eq!((summary.unresolved, summary.events_last_day), (1, 250));
        assert_eq!((summary.critical_last_day, summary.resolved), (1, 0));
    }

    async fn many_callers_share_transactions_and_lose_nothing(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let callers: Vec<_> = (0..40)
            .map(|caller| {
                let capture = capture.clone();
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    for i in 0..10 {
                        let name = ["KeyError", "ValueError", "OSError"][(caller + i) % 3];
                        let mut stored =
                            capture.record(ONE, vec![event(name, "it failed")]).await;
                        ids.push(id_of(stored.pop().unwrap()));
                    }
                    ids
                })
            })
            .collect();
        let mut ids = Vec::new();
        for caller in callers {
            ids.extend(caller.await.unwrap());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 400);
        let groups = all_groups(&db, ONE).await;
        assert_eq!(groups.iter().map(|group| group.count).sum::<i64>(), 400);
        assert_eq!(groups.len(), 3);
        let rows: i64 = db.query("select count(*) from error_log").scalar().await.unwrap();
        assert_eq!(rows, 400);
    }

    async fn more_than_may_wait_is_turned_away_at_once(url: &str) {
        // 10 000 may wait, beside those that are being stored.
        const MANY: usize = 12_500;
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        // Another program holds what is to be written.
        let other = Db::connect(url, 2).await.unwrap();
        let mut lock = other.begin().await.unwrap();
        let sql = lock.dialect("lock table error_log in access exclusive mode", "select 1");
        lock.query(sql).run().await.unwrap();
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..MANY {
            let (capture, answers) = (capture.clone(), answers.clone());
            tokio::spawn(async move {
                let outcome = capture.record(ONE, vec![event("A", "a")]).await.pop().unwrap();
                answers.send(outcome).unwrap();
            });
        }
        let first = answered.recv().await.unwrap();
        assert!(
            matches!(&first, Err(Error::Unavailable(text)) if text.contains("send it again")),
            "{first:?}"
        );
        drop(lock);
        other.close().await;
        let mut stored = 0;
        for _ in 1..MANY {
            stored += i64::from(answered.recv().await.unwrap().is_ok());
        }
        assert!((10_000..MANY as i64).contains(&stored), "{stored}");
        let rows: i64 = db.query("select count(*) from error_log").scalar().await.unwrap();
        let doing = capture.doing();
        assert_eq!((rows, doing.stored), (stored, stored.cast_unsigned()));
        assert_eq!(doing.turned_away, MANY as u64 - doing.stored);
        assert_eq!(doing.queued_kib, 0);
    }

    async fn what_cannot_be_stored_does_not_fail_the_others(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let stranger = OrganizationId(4711);
        let good = capture.record(ONE, vec![event("A", "a"), event("", "no type"), event("B", "b")]);
        let poison = capture.record(stranger, vec![event("C", "c")]);
        let other = capture.record(ONE, vec![event("D", "d")]);
        let (good, poison, other) = tokio::join!(good, poison, other);
        assert!(good[0].is_ok() && good[2].is_ok() && other[0].is_ok());
        assert!(matches!(&good[1], Err(Error::Invalid(text)) if text.contains("error_type")));
        assert!(matches!(&poison[0], Err(Error::Invalid(_))), "{poison:?}");
        assert_eq!(all_groups(&db, ONE).await.len(), 3);
    }

    async fn a_resolved_group_that_recurs_has_regressed(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let past = clock::now() - TimeDelta::minutes(10);
        capture.record(ONE, vec![at(past, event("E", "x"))]).await;
        let id = all_groups(&db, ONE).await[0].id;
        let resolve = Decision::Resolve("restarted; the probe is green");
        groups::decide(&db, ONE, &[id], &resolve, "ann", clock::now()).await.unwrap();
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!(group.status, Status::Resolved);
        assert_eq!(group.resolution.as_deref(), Some("restarted; the probe is green"));
        let listed = search::events(&db, ONE, &recent(vec![]), 10, None).await.unwrap().0;
        assert!(listed[0].event.resolved && listed[0].event.resolution_notes.is_some());

        // What happened before the resolution and arrives late only counts.
        capture.record(ONE, vec![at(past, event("E", "x"))]).await;
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!((group.status, group.count), (Status::Resolved, 2));

        capture.record(ONE, vec![event("E", "x")]).await;
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!((group.status, group.count, group.regressions), (Status::Regressed, 3, 1));
        assert_eq!(group.resolution, None);

        groups::decide(&db, ONE, &[id], &Decision::Ignore(None), "ann", clock::now()).await.unwrap();
        capture.record(ONE, vec![event("E", "x")]).await;
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!((group.status, group.count), (Status::Ignored, 4));
        groups::decide(&db, ONE, &[id], &Decision::Reopen, "ann", clock::now()).await.unwrap();
        let group = groups::find(&db, ONE, id).await.unwrap().unwrap();
        assert_eq!(group.status, Status::Unresolved);
    }

    async fn the_database_refuses_resolved_without_evidence(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        capture.record(ONE, vec![event("E", "x")]).await;
        let group = db.query("update error_group set status = 'resolved'").run().await;
        assert!(group.is_err());
        let event = db.query("update error_log set is_resolved = true").run().await;
        assert!(event.is_err());
    }

    async fn another_organization_sees_and_changes_nothing(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let other = second_organization(&db).await;
        let mut ids = capture.record(ONE, vec![event("E", "x")]).await;
        let theirs = capture.record(other, vec![event("E", "x")]).await;
        assert!(theirs[0].is_ok());
        let id = id_of(ids.pop().unwrap());
        let (mine, foreign) = (all_groups(&db, ONE).await, all_groups(&db, other).await);
        assert_eq!((mine.len(), foreign.len()), (1, 1));
        assert_ne!(mine[0].id, foreign[0].id);
        assert!(events::find(&db, other, id).await.unwrap().is_none());
        assert!(groups::find(&db, other, mine[0].id).await.unwrap().is_none());
        assert!(events::of_group(&db, other, mine[0].id, 5).await.unwrap().is_empty());
        let found = search::events(&db, other, &recent(vec![]), 10, None).await.unwrap().0;
        assert_eq!(found.len(), 1);
        let both = [mine[0].id, foreign[0].id];
        let decided = groups::decide(&db, other, &both, &Decision::Ignore(None), "eve", clock::now());
        assert!(matches!(decided.await, Err(Error::NotFound("group"))));
        assert_eq!(all_groups(&db, other).await[0].status, Status::Unresolved, "all or none");
    }

    async fn events_are_paged_and_filtered(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let start = clock::now() - TimeDelta::hours(2);
        let sent = (0..95).map(|i| {
            let mut event = event("ValueError", &format!("row 100% {i} \\ bad_value"));
            // Equal times: the id decides.
            event.created_at = Some(start + TimeDelta::seconds(i / 10));
            event.endpoint = Some(if i % 2 == 0 { "/Cart?x=1".into() } else { "/pay".into() });
            event.severity = Some(if i % 5 == 0 { Severity::Critical } else { Severity::Error });
            event.app = Some(if i < 50 { "shop".into() } else { "blog".into() });
            event
        });
        assert!(capture.record(ONE, sent.collect()).await.iter().all(Result::is_ok));
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let search = recent(vec![]);
            let (page, next) = search::events(&db, ONE, &search, 10, after).await.unwrap();
            seen.extend(page.iter().map(|found| (found.event.created_at, found.event.id)));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 95);
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
        let count = async |search: Search| {
            let (page, next) = search::events(&db, ONE, &search, 200, None).await.unwrap();
            assert_eq!(next, None);
            page.len()
        };
        let field = |field, value| recent(vec![Term::field(field, value)]);
        assert_eq!(count(field(Field::Severity, "critical")).await, 19);
        assert_eq!(count(field(Field::Endpoint, "/Cart")).await, 48);
        assert_eq!(count(field(Field::Endpoint, "/pa")).await, 0);
        assert_eq!(count(field(Field::App, "shop")).await, 50);
        assert_eq!(count(Search { resolved: Some(true), ..recent(vec![]) }).await, 0);
        assert_eq!(count(Search { resolved: Some(false), ..recent(vec![]) }).await, 95);
        let text = |q| recent(Query::parse(q).unwrap().0);
        assert_eq!(count(text("\"100% 7 BAD_value\"")).await, 1);
        assert_eq!(count(text("valueerr*")).await, 95);
        assert_eq!(count(text("\"100 8 7\"")).await, 0);
        assert_eq!(count(Search { since: start + TimeDelta::seconds(9), ..recent(vec![]) }).await, 5);
    }

    async fn groups_are_paged_in_every_order(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let start = clock::now() - TimeDelta::hours(3);
        let mut sent = Vec::new();
        for i in 0_u8..23 {
            for n in 0..=(i % 4) {
                let time = start + TimeDelta::seconds(i64::from(i % 6 + n));
                let kind = format!("Error{}", char::from(b'A' + i % 3));
                sent.push(at(time, event(&kind, &format!("kind {}", char::from(b'a' + i)))));
            }
        }
        assert!(capture.record(ONE, sent).await.iter().all(Result::is_ok));
        for sort in [Sort::LastSeen, Sort::FirstSeen, Sort::Count] {
            let (mut seen, mut after): (Vec<Group>, Option<Position>) = (Vec::new(), None);
            loop {
                let filter = groups::Filter::default();
                let (page, next) =
                    groups::list(&db, ONE, &filter, sort, 5, after).await.unwrap();
                seen.extend(page);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen.len(), 23, "{sort:?}");
            let key = |group: &Group| match sort {
                Sort::LastSeen => (group.last_seen.timestamp(), group.id),
                Sort::FirstSeen => (group.first_seen.timestamp(), group.id),
                Sort::Count => (group.count, group.id),
            };
            assert!(seen.windows(2).all(|pair| key(&pair[0]) > key(&pair[1])), "{sort:?}");
        }
        let id = all_groups(&db, ONE).await[3].id;
        groups::decide(&db, ONE, &[id], &Decision::Ignore(None), "ann", clock::now()).await.unwrap();
        for sort in [Sort::LastSeen, Sort::Count] {
            let filter = groups::Filter { status: Some(Status::Ignored), ..Default::default() };
            let (page, next) = groups::list(&db, ONE, &filter, sort, 5, None).await.unwrap();
            assert_eq!((page.len(), next), (1, None), "{sort:?}");
        }
        let filter = groups::Filter { q: Some("KIND C"), ..Default::default() };
        let (page, _) = groups::list(&db, ONE, &filter, Sort::LastSeen, 5, None).await.unwrap();
        assert_eq!(page.len(), 1);
        let foreign = groups::list(&db, ONE, &filter, Sort::LastSeen, 5, Some(Position::Count(1, 1)));
        assert!(matches!(foreign.await, Err(Error::Invalid(_))));
    }

    async fn a_drained_writer_has_stored_what_it_took(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let capture = capture.clone();
                tokio::spawn(async move { capture.record(ONE, vec![event("E", "x")]).await })
            })
            .collect();
        tokio::task::yield_now().await;
        capture.drain().await;
        let mut stored = 0;
        for answer in waiting {
            stored += answer.await.unwrap().iter().filter(|outcome| outcome.is_ok()).count();
        }
        let rows: i64 = db.query("select count(*) from error_log").scalar().await.unwrap();
        assert_eq!(usize::try_from(rows).unwrap(), stored);
        let late = capture.record(ONE, vec![event("E", "x")]).await;
        assert!(matches!(late[0], Err(Error::Unavailable(_))));
    }

    async fn an_event_that_is_sent_again_is_one(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 0);
        let sent = |id: &str, app: &str| NewEvent {
            event_id: Some(id.repeat(32)),
            app: Some(app.into()),
            ..event("E", "x")
        };
        let first = capture.record(ONE, vec![sent("a", "shop"), sent("b", "shop"), sent("a", "shop")]);
        let first: Vec<Recorded> = first.await.into_iter().map(Result::unwrap).collect();
        let [Recorded::Stored(a), Recorded::Stored(b), Recorded::Repeated(again)] = first[..] else {
            panic!("{first:?}");
        };
        assert!(a != b && a == again);
        // Another application's ids are its own.
        let later = capture.record(ONE, vec![sent("b", "shop"), sent("a", "site"), sent("c", "shop")]);
        let later: Vec<Recorded> = later.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(later[0], Recorded::Repeated(b));
        assert!(matches!(later[1..], [Recorded::Stored(_), Recorded::Stored(_)]), "{later:?}");
        let counts: i64 = all_groups(&db, ONE).await.iter().map(|group| group.count).sum();
        assert_eq!(counts, 4);
    }

    async fn of_a_storm_all_is_counted_and_some_is_kept(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let capture = Capture::start(db.clone(), Rules::default(), 20);
        let of = |origin| move |_| NewEvent { origin, user_id: Some("u".into()), ..event("E", "x") };
        let storm = capture.record(ONE, (0..300).map(of(Origin::Sentry)).collect()).await;
        let kept = storm.iter().filter(|one| matches!(one, Ok(Recorded::Stored(_)))).count();
        assert_eq!(kept, 20 + 17 + 2, "20, then every 10th to 199, then every 100th");
        // Whoever is promised an id gets a row.
        let told = capture.record(ONE, (0..50).map(of(Origin::Json)).collect()).await;
        assert!(told.iter().all(|one| matches!(one, Ok(Recorded::Stored(_)))));
        let groups = all_groups(&db, ONE).await;
        let [group] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((group.count, group.users), (350, 1));
        let rows: i64 = db.query("select count(*) from error_log").scalar().await.unwrap();
        assert_eq!(rows, 39 + 50);
        let sampled: i64 = db.query("select sampled from error_group").scalar().await.unwrap();
        assert_eq!(sampled, 300 - 39);
    }
}
