//! What the hooks of database servers share: the room between the seam and one database's own words.
//!
//! ```text
//!   arguments, describe        a verb: reading what it is told, and saying what it is
//!   settings, ssl, tls         a connection's settings, and its words for TLS
//!   role, volumes              which kind of server it is, and whether volumes hold what it keeps
//!   driver, patience           the thread that serves all sessions, and waiting for what takes long
//!   hold, lock, undo           what lives and dies with a session: a hold, the run's lock, what a dead run left
//!   facts, compare, names      facts, and how a restored server is asked for them
//!   crc64                      the checksum of several formats
//!   errors                     what is said of a hold that is no more, and of a server that is another one
//! ```
//!
//! Nothing here knows a protocol or a database.

pub(crate) mod arguments;
pub(crate) mod compare;
pub(crate) mod crc64;
pub(crate) mod describe;
pub(crate) mod driver;
pub(crate) mod errors;
pub(crate) mod facts;
pub(crate) mod hold;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod patience;
pub(crate) mod role;
pub(crate) mod settings;
pub(crate) mod ssl;
pub(crate) mod tls;
pub(crate) mod undo;
pub(crate) mod volumes;
