//! The ladder: what follows from a disk that fills up, and from a spool that grows because the object store fails.
//!
//! A rung is entered at its threshold and left only when there is a quarter more room than that, so that
//! nothing swings to and fro.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{Core, objects::blocking};

/// How full it is, and what follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    Normal,
    /// Somebody should look.
    Warn,
    /// No new session that must be recorded.
    RefuseNew,
    /// Sessions that must be recorded end; nothing is accepted any more.
    EndMandatory,
}

impl Pressure {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::RefuseNew => "refuse_new",
            Self::EndMandatory => "end_mandatory",
        }
    }
}

/// Free bytes of the disk at which a rung is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub warn_bytes: u64,
    pub refuse_bytes: u64,
    pub end_bytes: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            warn_bytes: 2 * 1024 * 1024 * 1024,
            refuse_bytes: 512 * 1024 * 1024,
            end_bytes: 128 * 1024 * 1024,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Free for us on the fuller of the disks.
    pub(super) free_bytes: u64,
    pub(super) spool_bytes: u64,
}

/// The rung that follows from `room`, coming from `now`. The spool's share of its limit counts as a disk does: four fifths
/// warn, nine tenths refuse, all of it ends.
pub(super) fn step(now: Pressure, room: Room, thresholds: Thresholds, spool_limit: u64) -> Pressure {
    let rung = |slack_quarters: u64| {
        let least = |threshold: u64| threshold.saturating_add(threshold / 4 * slack_quarters);
        // Leaving needs a tenth less in the spool.
        let most = |tenths: u64| spool_limit / 10 * (tenths - slack_quarters);
        if room.free_bytes < least(thresholds.end_bytes) || room.spool_bytes >= most(10) {
            Pressure::EndMandatory
        } else if room.free_bytes < least(thresholds.refuse_bytes) || room.spool_bytes >= most(9) {
            Pressure::RefuseNew
        } else if room.free_bytes < least(thresholds.warn_bytes) || room.spool_bytes >= most(8) {
            Pressure::Warn
        } else {
            Pressure::Normal
        }
    };
    // Up at the threshold, down only with the slack.
    rung(0).max(rung(1).min(now))
}

/// Bytes that an ordinary process may still write on a path's file system.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Core {
    pub(super) async fn room(&self) -> Result<Room, super::RecordingError> {
        let spool_dir = self.options.spool_dir.clone();
        let objects = self.objects.local.clone();
        blocking(&spool_dir.clone(), move || {
            let spool = free_bytes(&spool_dir)?;
            let objects = objects.as_deref().map_or(Ok(u64::MAX), free_bytes)?;
            Ok(Room { free_bytes: spool.min(objects), spool_bytes: super::spool::bytes_below(&spool_dir)? })
        })
        .await
    }

    pub(super) async fn look_at_the_disk(&self) {
        let limits = &self.options.limits;
        let store = self.store.clone();
        let kept = blocking(&self.options.spool_dir, move || store.keep_room()).await;
        if let Err(error) = kept {
            tracing::debug!(error = %super::sealing::chain(&error), "no room kept for the database");
        }
        let room = match self.room().await {
            Ok(room) => room,
            Err(error) => {
                // Nothing is known: the rung stays, and writing itself will say what is wrong.
                tracing::error!(error = %super::sealing::chain(&error), "the disk for recordings cannot be looked at");
                return;
            }
        };
        self.spool.bytes.store(room.spool_bytes, Ordering::Relaxed);
        let before = *self.pressure.borrow();
        let now = step(before, room, limits.thresholds, limits.spool_bytes);
        self.spool.blocked.store(now == Pressure::EndMandatory, Ordering::Relaxed);
        if now != before {
            let (free_bytes, spool_bytes) = (room.free_bytes, room.spool_bytes);
            let (was, is) = (before.key(), now.key());
            if now > before {
                tracing::warn!(was, is, free_bytes, spool_bytes, "recordings are short of room");
            } else {
                tracing::info!(was, is, free_bytes, spool_bytes, "recordings have room again");
            }
            self.pressure.send_replace(now);
        }
        if now <= Pressure::Warn {
            let spool = self.spool.clone();
            // Given away while the disk was full, it is taken back.
            let kept = blocking(&self.options.spool_dir, move || spool.reserve()).await;
            if let Err(error) = kept {
                tracing::debug!(error = %super::sealing::chain(&error), "no reserve");
            }
        }
    }

    pub(super) async fn watch_the_disk(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.options.limits.look_every.to_std());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.look_at_the_disk().await,
                () = self.stopped() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Thresholds = Thresholds { warn_bytes: 400, refuse_bytes: 200, end_bytes: 100 };

    fn at(now: Pressure, free_bytes: u64) -> Pressure {
        step(now, Room { free_bytes, spool_bytes: 0 }, T, 1000)
    }

    #[test]
    fn the_ladder_goes_up_at_once_and_down_with_slack() {
        use Pressure::{EndMandatory, Normal, RefuseNew, Warn};
        assert_eq!(at(Normal, 400), Normal);
        assert_eq!(at(Normal, 399), Warn);
        assert_eq!(at(Normal, 150), RefuseNew);
        assert_eq!(at(Normal, 50), EndMandatory);
        assert_eq!(at(EndMandatory, 110), EndMandatory);
        assert_eq!(at(EndMandatory, 125), RefuseNew);
        assert_eq!(at(RefuseNew, 240), RefuseNew);
        assert_eq!(at(RefuseNew, 250), Warn);
        assert_eq!(at(Warn, 499), Warn);
        assert_eq!(at(Warn, 500), Normal);
        assert_eq!(at(EndMandatory, 9999), Normal);
    }

    #[test]
    fn a_spool_that_grows_climbs_the_same_ladder() {
        let at = |now, spool_bytes| step(now, Room { free_bytes: 9999, spool_bytes }, T, 1000);
        assert_eq!(at(Pressure::Normal, 799), Pressure::Normal);
        assert_eq!(at(Pressure::Normal, 800), Pressure::Warn);
        assert_eq!(at(Pressure::Normal, 900), Pressure::RefuseNew);
        assert_eq!(at(Pressure::Normal, 1000), Pressure::EndMandatory);
        assert_eq!(at(Pressure::EndMandatory, 950), Pressure::EndMandatory);
        assert_eq!(at(Pressure::EndMandatory, 850), Pressure::RefuseNew);
    }
}
