//! The verb `scratch-config`: a configuration under which a copy can be looked at and reaches out to nothing.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};

use super::{directory::DataDirectory, place_label};

/// What `scratch-config` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Where the data directory is in the volume; the volume itself by default.
    #[serde(default)]
    under: PathBuf,
    /// Other scratch volumes, which links may lead to.
    #[serde(default)]
    volumes: Vec<String>,
    /// Libraries that the data cannot be read without; by default none is loaded.
    #[serde(default)]
    preload: Vec<String>,
}

/// The address and the port come on the command line; without them nothing is listened at, and the server says so.
/// Recovery's lower limits are those of the server that was backed up, which are not known here, so what they are
/// compared with is either off or ample.
const CONFIGURATION: &str = "\
listen_addresses = ''
unix_socket_directories = ''
unix_socket_permissions = 0700
ssl = off
max_connections = 50
superuser_reserved_connections = 3
shared_buffers = 64MB
maintenance_work_mem = 128MB
max_locks_per_transaction = 256
max_prepared_transactions = 512
wal_level = replica
fsync = off
full_page_writes = off
synchronous_commit = off
synchronous_standby_names = ''
max_wal_senders = 0
max_replication_slots = 32
hot_standby = off
archive_mode = off
archive_command = ''
primary_conninfo = ''
primary_slot_name = ''
archive_cleanup_command = ''
recovery_end_command = ''
max_logical_replication_workers = 0
autovacuum = off
event_source = ''
logging_collector = off
log_destination = 'stderr'
log_min_messages = warning
session_preload_libraries = ''
local_preload_libraries = ''
jit = off
";

const HBA: &str = "local all all trust\n";

/// Does the verb. It may be called again.
pub(super) fn configure(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let directory = DataDirectory::of(context, &arguments.under)?;
    let mut also = vec![context.volume()?.clone()];
    for name in &arguments.volumes {
        let path = context.volumes.get(name).ok_or_else(|| {
            Error::input(format!("`volumes` names {name}, which this action does not have"))
                .remedy("Name volumes that the action declares.")
        })?;
        also.push(path.clone());
    }
    directory.refuse_leaving_links(&also)?;
    let target = place_label::aimed_at(&directory);
    let recovery = if target.is_empty() { "restore_command = ''\n" } else { &target };
    let quote = |text: &str| text.replace('\'', "''");
    let preload = quote(&arguments.preload.join(","));
    let text = format!(
        "# A scratch copy: made by Standstill to be looked at and removed.\n\
         {CONFIGURATION}shared_preload_libraries = '{preload}'\n\
         data_directory = '{path}'\nhba_file = '{path}/pg_hba.conf'\nident_file = '{path}/pg_ident.conf'\n{recovery}",
        path = quote(&directory.path.to_string_lossy()),
    );
    directory.write("postgresql.conf", &text)?;
    directory.write("pg_hba.conf", HBA)?;
    directory.write("pg_ident.conf", "")?;
    // Written anew: a second call must still know the target.
    directory.write("postgresql.auto.conf", &place_label::carried(&target))?;
    directory.remove("standby.signal")?;
    directory.remove("postmaster.pid")?;
    Ok(Called::default())
}
