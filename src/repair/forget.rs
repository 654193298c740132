//! Forgetting: what is older than `repair.keep` is removed after the nightly clearing, but
//! for what a standing resolution rests on.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Repair,
    store::forget::{self, Old},
};
use crate::{
    clock,
    error::{Error, Result},
    jobs::{Done, Lease},
};

/// The kind of the job that removes what is old.
pub const FORGET: &str = "forget";

impl Repair {
    /// The job's handler: removes until nothing is left; each batch belongs to the lease.
    pub(super) async fn forget(&self, lease: &Lease) -> Result<Done> {
        let keep = TimeDelta::from_std(self.app.config.repair.keep).unwrap_or(TimeDelta::MAX);
        let before = clock::now().checked_sub_signed(keep).unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
        let mut removed = 0;
        for old in Old::ALL {
            loop {
                if lease.lost.is_cancelled() {
                    return Err(Error::Unavailable("forgetting was interrupted".to_owned()));
                }
                let mut tx = self.app.db.begin().await?;
                lease.hold(&mut tx).await?;
                let some = forget::batch(&mut tx, old, before).await?;
                tx.commit().await?;
                removed += some;
                if some == 0 {
                    break;
                }
            }
        }
        tracing::info!(removed, %before, "old results, runs and actions are forgotten");
        Ok(Done::Finished)
    }
}
