//! The scenarios: each a fault or a burden, the figures, and the promises that must hold.

pub mod comeback;
pub mod crash;
pub mod crowd;
pub mod frozen;
pub mod held;
pub mod kill9;
pub mod many;
pub mod planned;
pub mod release;
pub mod reload;
pub mod upgrade;
