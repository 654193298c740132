//! In which release a group appeared: the newest deploy of its application when it was
//! first seen.

use std::collections::HashMap;

use super::intake::json_ids;
use crate::db::{Db, Result};

/// The releases of those groups that have one.
pub async fn of_groups(db: &Db, groups: &[i64]) -> Result<HashMap<i64, String>> {
    let sql = db.dialect(
        "select g.id, (select d.release from deploy as d
                       where d.organization_id = g.organization_id and d.app = g.app
                         and d.at <= g.first_seen
                       order by d.at desc, d.id desc limit 1) as release
         from error_group as g
         where g.id in (select cast(value as bigint)
                        from json_array_elements_text(cast($1 as json)))",
        "select g.id, (select d.release from deploy as d
                       where d.organization_id = g.organization_id and d.app = g.app
                         and d.at <= g.first_seen
                       order by d.at desc, d.id desc limit 1) as release
         from error_group as g
         where g.id in (select value from json_each($1))",
    );
    let rows: Vec<(i64, Option<String>)> = db.query(sql).bind(json_ids(groups)).all().await?;
    Ok(rows.into_iter().filter_map(|(id, release)| Some((id, release?))).collect())
}
