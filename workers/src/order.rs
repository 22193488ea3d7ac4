//! What an owner is told to do with its partition, and how it hears of it.

use tokio::sync::watch;

/// What is to become of an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    #[default]
    Own,
    /// The process stops: wind down within the configured time.
    Stop,
    /// The partition was taken away: wind down within a short time, the next owner waits.
    HandOver,
}

/// The owner's end of its orders.
#[derive(Clone, Debug)]
pub(crate) struct Orders(watch::Receiver<Order>);

impl Orders {
    /// Listens to whoever gives the orders.
    pub(crate) fn of(sender: &watch::Sender<Order>) -> Self {
        Self(sender.subscribe())
    }

    /// Whether the owner must go.
    pub(crate) fn must_go(&self) -> bool {
        *self.0.borrow() != Order::Own
    }

    /// Waits for another order than the one that is being followed. Cancel safe.
    pub(crate) async fn other_than(&mut self, followed: Order) -> Order {
        let ordered = self.0.wait_for(|now| *now != followed).await.map(|now| *now);
        match ordered {
            Ok(now) => now,
            // Nobody gives orders any more: the process is going.
            Err(_) if followed == Order::Own => Order::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}
