//! One run at a time: a short lease in the store.
//!
//! Spin's cron trigger lets runs overlap when one outlasts its interval, and at start a due second
//! can fire twice, one second apart; two runs must not write at once. The store has no
//! compare-and-set on every host, so a run writes its name, reads both sides, and looks again before
//! it writes anything: of two that wrote their names, the earlier finds the later's and yields.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ports::Host;

const KEY: &str = "lease";
const VERSION: u32 = 1;

/// What a lease outlives the run's budget by: a little more than a clock's step, and never more than
/// a minute, so that a killed run blocks no more than the next one.
const GRACE_SECS: u64 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    v: u32,
    /// A number that the run drew.
    holder: u64,
    /// When it ends, Unix seconds.
    until: u64,
}

/// The lease of this run.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` without a store: every run stands alone.
    mine: Option<Stored>,
}

/// Another run holds the lease, for at most this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held(pub(crate) Duration);

impl Lease {
    /// Takes the lease, unless another run holds it.
    pub(crate) fn take(
        host: &impl Host,
        holder: u64,
        now: u64,
        budget: Duration,
    ) -> Result<Self, Held> {
        let Ok(stored) = read(host) else { return Ok(Self { mine: None }) };
        let until = now + budget.as_secs() + GRACE_SECS;
        // A lease that ends later than one taken now is from a clock that was put back.
        if let Some(other) = stored.filter(|other| now < other.until && other.until <= until) {
            return Err(Held(Duration::from_secs(other.until - now)));
        }
        let mine = Stored { v: VERSION, holder, until };
        match write(host, &mine) {
            Ok(()) => Ok(Self { mine: Some(mine) }),
            Err(()) => Ok(Self { mine: None }),
        }
    }

    /// Whether it is still this run's. To be asked before anything is written.
    pub(crate) fn is_mine(&self, host: &impl Host) -> bool {
        match &self.mine {
            None => true,
            Some(mine) => matches!(read(host), Ok(Some(stored)) if stored == *mine),
        }
    }

    /// Gives it back, so that a run by hand need not wait.
    pub(crate) fn release(self, host: &impl Host) {
        if self.is_mine(host)
            && let Some(mine) = self.mine
        {
            let _ = write(host, &Stored { until: 0, ..mine });
        }
    }
}

/// What is stored; something that cannot be understood is no lease.
fn read(host: &impl Host) -> Result<Option<Stored>, ()> {
    let bytes = host.get(KEY).map_err(drop)?;
    let stored = bytes.and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
    Ok(stored.filter(|stored| stored.v == VERSION))
}

fn write(host: &impl Host, lease: &Stored) -> Result<(), ()> {
    let bytes = serde_json::to_vec(lease).expect("numbers always serialise");
    host.set(KEY, &bytes).map_err(drop)
}
