//! A value that others wait for. Tokio's `watch` wakes those who wait in an order of chance; here it is the order in which
//! they came, so that a seed decides all.

use std::cell::Cell;

use tokio::sync::Notify;

pub(crate) struct Changing<T> {
    value: Cell<T>,
    changes: Notify,
}

impl<T: Copy + PartialEq> Changing<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Cell::new(value), changes: Notify::new() }
    }

    pub(crate) fn get(&self) -> T {
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) {
        if self.value.replace(value) != value {
            self.changes.notify_waiters();
        }
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, is_so: impl Fn(T) -> bool) {
        loop {
            let change = self.changes.notified();
            if is_so(self.get()) {
                return;
            }
            change.await;
        }
    }

    /// Waits until it is another than this.
    pub(crate) async fn differs_from(&self, value: T) {
        self.until(|now| now != value).await;
    }
}
