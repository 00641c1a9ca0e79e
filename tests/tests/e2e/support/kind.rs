//! What is protected, how, and on which file system.

use super::{
    filesystem,
    mariadb::{Flavour, MARIADB},
    mongodb,
    mysql::MYSQL,
    postgresql::Version,
};

/// What is protected, how, and on which file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `sqlite` on the temporary directory's file system: a copy.
    Sqlite,
    /// `sqlite` on btrfs: a snapshot.
    SqliteOnBtrfs,
    /// `sqlite-online`.
    SqliteOnline,
    /// `postgresql`, straight from the live files.
    Postgresql(Version),
    /// `postgresql` on btrfs: a snapshot.
    PostgresqlOnBtrfs(Version),
    /// `postgresql`, with a copy asked for.
    PostgresqlCopied(Version),
    /// `postgresql-basebackup`.
    Basebackup(Version),
    /// `postgresql-dump`.
    Dump(Version),
    /// `mariadb` on btrfs: a snapshot under a backup stage that lets commits go on.
    Mariadb,
    /// The same, with commits waiting and exact facts.
    MariadbBlocked,
    /// `mariadb-backup`.
    MariadbBackup,
    /// `mariadb-dump`.
    MariadbDump,
    /// A group of PostgreSQL and SQLite: copies.
    Group(Version),
    /// The same on btrfs: snapshots.
    GroupOnBtrfs(Version),
    /// `redis`, straight from the live files.
    Redis,
    /// `redis` on btrfs: a snapshot.
    RedisOnBtrfs,
    /// `redis-aof`, straight from the live files.
    RedisAof,
    /// `redis-aof` on btrfs: a snapshot.
    RedisAofOnBtrfs,
    /// `redis-dump`.
    RedisDump,
    /// `etcd`: its own snapshot.
    Etcd,
    /// `mongodb`, copied under the lock: the fake.
    MongodbLocked,
    /// `mongodb` on btrfs, a snapshot after a flush: the fake.
    Mongodb,
    /// `mongodb-dump`: `SecantusDB`.
    MongodbDump,
    /// `filesystem`: a copy of a frozen one.
    Frozen(filesystem::Kind),
    /// `mysql` on btrfs: a snapshot under the lock for backups, while writes go on.
    Mysql,
    /// The same, with the global read lock and exact facts.
    MysqlBlocked,
    /// `mysql-dump`.
    MysqlDump,
    /// An application that no hook knows, by `pair`.
    Pair,
    /// The same, by `session`.
    Session,
}

impl Kind {
    pub const fn blueprint(&self) -> &'static str {
        match self {
            Self::Sqlite | Self::SqliteOnBtrfs => "sqlite",
            Self::SqliteOnline => "sqlite-online",
            Self::Postgresql(_) | Self::PostgresqlOnBtrfs(_) | Self::PostgresqlCopied(_) => "postgresql",
            Self::Basebackup(_) => "postgresql-basebackup",
            Self::Dump(_) => "postgresql-dump",
            Self::Mariadb | Self::MariadbBlocked => "mariadb",
            Self::MariadbBackup => "mariadb-backup",
            Self::MariadbDump => "mariadb-dump",
            Self::Group(_) | Self::GroupOnBtrfs(_) => "shop",
            Self::Redis | Self::RedisOnBtrfs => "redis",
            Self::RedisAof | Self::RedisAofOnBtrfs => "redis-aof",
            Self::RedisDump => "redis-dump",
            Self::Etcd => "etcd",
            Self::Mongodb | Self::MongodbLocked => "mongodb",
            Self::MongodbDump => "mongodb-dump",
            Self::Frozen(_) => "filesystem",
            Self::Mysql | Self::MysqlBlocked => "mysql",
            Self::MysqlDump => "mysql-dump",
            Self::Pair => "kv-pair",
            Self::Session => "kv-session",
        }
    }

    pub const fn version(&self) -> Option<&Version> {
        match self {
            Self::Postgresql(version)
            | Self::PostgresqlOnBtrfs(version)
            | Self::PostgresqlCopied(version)
            | Self::Basebackup(version)
            | Self::Dump(version)
            | Self::Group(version)
            | Self::GroupOnBtrfs(version) => Some(version),
            _ => None,
        }
    }

    pub const fn on_btrfs(&self) -> bool {
        matches!(
            self,
            Self::SqliteOnBtrfs
                | Self::PostgresqlOnBtrfs(_)
                | Self::GroupOnBtrfs(_)
                | Self::Mariadb
                | Self::MariadbBlocked
                | Self::RedisOnBtrfs
                | Self::RedisAofOnBtrfs
                | Self::Mysql
                | Self::MysqlBlocked
                | Self::Mongodb
        )
    }

    /// Whether it is MariaDB, or MySQL, which is much the same.
    pub const fn flavour(&self) -> Option<&'static Flavour> {
        match self {
            Self::Mariadb | Self::MariadbBlocked | Self::MariadbBackup | Self::MariadbDump => Some(&MARIADB),
            Self::Mysql | Self::MysqlBlocked | Self::MysqlDump => Some(&MYSQL),
            _ => None,
        }
    }

    pub const fn is_group(&self) -> bool {
        matches!(self, Self::Group(_) | Self::GroupOnBtrfs(_))
    }

    pub const fn is_redis(&self) -> bool {
        matches!(
            self,
            Self::Redis | Self::RedisOnBtrfs | Self::RedisAof | Self::RedisAofOnBtrfs | Self::RedisDump
        )
    }

    /// Which server it is, if it speaks MongoDB's protocol.
    pub const fn mongodb(&self) -> Option<mongodb::Flavour> {
        match self {
            Self::Mongodb | Self::MongodbLocked => Some(mongodb::Flavour::Fake),
            Self::MongodbDump => Some(mongodb::Flavour::Secantus),
            _ => None,
        }
    }

    pub const fn redis_settings(&self) -> &[&str] {
        match self {
            Self::RedisAof | Self::RedisAofOnBtrfs => &["--appendonly", "yes"],
            _ => &[],
        }
    }

    /// Whether something is held that outlives the runner for a lease.
    pub const fn has_lease(&self) -> bool {
        !matches!(
            self,
            Self::SqliteOnline
                | Self::Basebackup(_)
                | Self::MariadbDump
                | Self::MysqlDump
                | Self::Redis
                | Self::RedisOnBtrfs
                | Self::RedisDump
                | Self::Etcd
                | Self::Mongodb
                | Self::MongodbDump
        )
    }

    /// What a backup of it is.
    pub const fn consistency(&self) -> &'static str {
        match self {
            // The files are of one moment; what the application had yet to write nobody knows.
            Self::Frozen(_) => "crash",
            _ => "application",
        }
    }

    /// Whether the live files themselves can be copied, as a control.
    pub const fn is_physical(&self) -> bool {
        !matches!(
            self,
            Self::Dump(_)
                | Self::MariadbDump
                | Self::MysqlDump
                | Self::RedisDump
                | Self::MongodbDump
                | Self::Etcd
        )
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.blueprint())?;
        match self {
            Self::SqliteOnBtrfs
            | Self::PostgresqlOnBtrfs(_)
            | Self::GroupOnBtrfs(_)
            | Self::RedisOnBtrfs
            | Self::RedisAofOnBtrfs => {
                formatter.write_str(" on btrfs")?;
            }
            Self::PostgresqlCopied(_) => formatter.write_str(" copied")?,
            Self::MongodbLocked => formatter.write_str(" locked")?,
            Self::MariadbBlocked | Self::MysqlBlocked => formatter.write_str(" with commits blocked")?,
            Self::Frozen(kind) => write!(formatter, " {kind:?}")?,
            _ => {}
        }
        match self.version() {
            Some(version) => write!(formatter, " {}", version.major),
            None => Ok(()),
        }
    }
}
