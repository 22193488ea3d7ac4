//! The contract suite.

use crate::support::{broker, fresh_log, run};
use spine_log::contract::{self, Fresh};
use std::sync::Arc;

#[test]
fn the_log_keeps_the_contract() {
    let Some(broker) = broker() else { return };
    run(async {
        let fresh = async |partitions: u32| {
            let (_, log) = fresh_log(&broker, partitions).await?;
            // Letters take the largest records.
            let topic = Arc::clone(&log.topics().letters);
            Ok(Fresh { log, topic })
        };
        contract::all(fresh).await.unwrap();
    });
}
