//! Certificates: where they come from, which one a name is served with, and what is wrong with those that aren't used.
//!
//! [`Certificates`] is asked for a name at each handshake. At start it knows no more than the names of the files; they
//! are read when they are asked for, and all others in the background. What can't be used disables itself alone:
//! it is listed with its [`Problem`], and the one that was good before goes on being used. It decides nothing about
//! sites, and it makes no certificates.

mod certificate;
mod folder;
mod pem;
mod problem;
mod reading;
mod shared;
mod store;
mod view;

#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use folder::{Place, Source};
pub use problem::Problem;
pub use reading::Reloaded;
pub use store::{Certificates, Sources, Survey};
pub use view::{CertificateView, Summary, Wanted};
