//! What the stand-ins for other services' APIs share: connections that can be cut, requests from this machine
//! only, and text in HTML.

mod connection;
mod escaped;
mod local_requests;

pub use connection::{CutHandle, CuttableListener, CuttableStream};
pub use escaped::Escaped;
pub use local_requests::reject_foreign_requests;
