//! Where recovery points live: restic's format (repository version 2), in a directory or an object store.
//!
//! ```text
//!   Repository ──▶ put: walk · feed ──▶ archiver (rustic_core) ──▶ gate ──▶ storage (rustic_backend)
//!              │        └── counted, compared, amended; only then a snapshot is written ──▶ store
//!              ├─▶ get: stream · tree
//!              └─▶ records (recovery points, verifications) · forget · check
//!
//!   locks: restic's, around all of it      policy: which recovery points a `forget` keeps
//! ```
//!
//! Every artifact is one snapshot, tagged with its run; a recovery point is a small snapshot of one JSON file that
//! names them, written last. So `restic` can list, check and restore everything without Standstill.

mod check;
mod fault;
mod forget;
mod gate;
mod get;
pub mod location;
mod locks;
mod metadata;
mod objects;
mod open;
pub mod policy;
mod put;
mod records;
mod remembered;
mod repository;
mod seal;
mod store;
mod tags;

pub use location::Location;
pub use policy::Policy;
pub use repository::Repository;
