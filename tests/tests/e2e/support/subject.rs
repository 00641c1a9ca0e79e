//! A database, the blueprint that protects it, and the values that bind the two.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    database::Database,
    etcd,
    files::Files,
    filesystem::{self, Mounted},
    group::{self, Group},
    kind::Kind,
    kv::{self, Kv},
    leftovers, mariadb, mongodb,
    place::Place,
    postgresql::{self, Server},
    redis,
    sqlite::{self, Sqlite},
};

/// The lease in tests: long enough for a busy machine to renew in time, short enough to be waited for.
pub const LEASE: Duration = Duration::from_secs(3);

/// The application, by what more than a [`Database`] it can be asked for.
pub enum Application {
    Sqlite(Sqlite),
    Postgresql(Server),
    Mariadb(mariadb::Server),
    Redis(redis::Server),
    Etcd(etcd::Member),
    Mongodb(mongodb::Server),
    Files(Files),
    Kv(Kv),
    Group(Group),
}

/// A database that is protected in a place of its own.
pub struct Subject {
    // In the order in which they must go: the server, the file system below it, the directory below that.
    pub application: Application,
    _mounted: Option<Mounted>,
    pub place: Place,
    pub kind: Kind,
    /// A built-in's name or a path.
    pub blueprint: String,
    /// Values more than those that bind it.
    more: Vec<String>,
    /// The processes that belong there.
    known: Vec<u32>,
}

impl Subject {
    /// Makes the database and the repository; `None` where this machine cannot.
    pub fn new(kind: &Kind) -> Option<Self> {
        // A server whose binary log nobody removes grows all the time.
        Self::sized(kind, if kind.flavour().is_some() { 4096 } else { 1024 })
    }

    /// As [`Subject::new`], with a file system of that many megabytes where it has one of its own.
    pub fn sized(kind: &Kind, megabytes: u64) -> Option<Self> {
        let lacks = kind.flavour().is_some_and(|flavour| !flavour.is_here());
        let lacks = lacks || kind.mongodb().is_some_and(|flavour| flavour.program().is_none());
        if lacks || (kind.is_redis() && !redis::is_here()) || (*kind == Kind::Etcd && !etcd::is_here()) {
            return None;
        }
        let mut place = Place::new();
        let mounted = if kind.on_btrfs() {
            Some(Mounted::new(filesystem::Kind::Btrfs, &place.join("disk"), megabytes)?)
        } else if let Kind::Frozen(kind) = kind {
            fs::create_dir(place.join("disk")).unwrap();
            Some(Mounted::new(*kind, &place.join("disk/data"), megabytes)?)
        } else {
            None
        };
        let disk = place.join("disk");
        if !disk.exists() {
            fs::create_dir(&disk).unwrap();
        }
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o755)).unwrap();
        let directory = |name: &str| {
            let mounted = mounted.as_ref().map(|mounted| mounted.subvolume(name));
            mounted.unwrap_or_else(|| disk.join(name))
        };
        let application = match kind.version() {
            Some(version) if kind.is_group() => {
                place.path = vec![version.bin.clone()];
                let (orders, index) = (directory("orders"), directory("index"));
                Application::Group(Group::make(version, &orders, &index, &place.join("pg")))
            }
            Some(version) => {
                place.path = vec![version.bin.clone()];
                let server = Server::make(version, &directory("data"), &place.join("pg"), "");
                server.sql("CREATE DATABASE app");
                server.sql(&format!(
                    "CREATE ROLE {} LOGIN SUPERUSER REPLICATION PASSWORD '{}'",
                    postgresql::ROLE,
                    *postgresql::ROLE_PASSWORD
                ));
                server.make_tables("app");
                Application::Postgresql(server)
            }
            None if matches!(kind, Kind::Frozen(_)) => Application::Files(Files::make(&disk.join("data"))),
            None if kind.is_redis() => {
                let data = directory("data");
                let server = redis::Server::make(&data, &place.join("re"), kind.redis_settings());
                server.make_keys();
                Application::Redis(server)
            }
            None if *kind == Kind::Etcd => Application::Etcd(etcd::Member::make(&directory("data"))),
            None if kind.mongodb().is_some() => {
                let flavour = kind.mongodb().unwrap();
                Application::Mongodb(mongodb::Server::make(flavour, &directory("data"), &place.join("bin")))
            }
            None => match kind.flavour() {
                Some(flavour) => {
                    let server = mariadb::Server::make(flavour, &directory("data"), &place.join("my"), "");
                    server.make_tables();
                    Application::Mariadb(server)
                }
                None if matches!(kind, Kind::Pair | Kind::Session) => {
                    Application::Kv(Kv::start(&directory("data")))
                }
                None => Application::Sqlite(Sqlite::make(&directory("data"))),
            },
        };
        let of_ones_own = match kind {
            Kind::Pair | Kind::Session => Some(kv::blueprint(*kind == Kind::Session)),
            Kind::Group(_) | Kind::GroupOnBtrfs(_) => Some(group::TEXT.to_owned()),
            Kind::PostgresqlCopied(_) => Some(shipped(kind.blueprint()).replace("mode: auto", "mode: copy")),
            _ => None,
        };
        let blueprint = match of_ones_own {
            Some(text) => place.file("blueprint.yaml", &text).to_str().unwrap().to_owned(),
            None => kind.blueprint().to_owned(),
        };
        place.init();
        let known = leftovers::residents(&place);
        Some(Self {
            application,
            _mounted: mounted,
            place,
            kind: kind.clone(),
            blueprint,
            more: Vec::new(),
            known,
        })
    }

    /// From now on with the lease of the tests, where the blueprint holds something.
    #[must_use]
    pub fn with_short_lease(self) -> Self {
        let lease = format!("lease={}s", LEASE.as_secs());
        if self.kind.is_group() {
            return self.with(&format!("orders.{lease}")).with(&format!("index.{lease}"));
        }
        if self.kind.has_lease() { self.with(&lease) } else { self }
    }

    /// From now on with another value more.
    #[must_use]
    pub fn with(mut self, value: &str) -> Self {
        self.more.push(value.to_owned());
        self
    }

    pub fn database(&self) -> &dyn Database {
        match &self.application {
            Application::Sqlite(sqlite) => sqlite,
            Application::Postgresql(server) => server,
            Application::Mariadb(server) => server,
            Application::Redis(server) => server,
            Application::Etcd(member) => member,
            Application::Mongodb(server) => server,
            Application::Files(files) => files,
            Application::Kv(kv) => kv,
            Application::Group(group) => group,
        }
    }

    #[track_caller]
    pub fn server(&self) -> &Server {
        match &self.application {
            Application::Postgresql(server) => server,
            _ => panic!("{} has no server", self.kind),
        }
    }

    #[track_caller]
    pub fn mariadb(&self) -> &mariadb::Server {
        match &self.application {
            Application::Mariadb(server) => server,
            _ => panic!("{} is not MariaDB", self.kind),
        }
    }

    #[track_caller]
    pub fn redis(&self) -> &redis::Server {
        match &self.application {
            Application::Redis(server) => server,
            _ => panic!("{} is not Redis", self.kind),
        }
    }

    #[track_caller]
    pub fn etcd(&self) -> &etcd::Member {
        match &self.application {
            Application::Etcd(member) => member,
            _ => panic!("{} is not etcd", self.kind),
        }
    }

    #[track_caller]
    pub fn mongodb(&mut self) -> &mut mongodb::Server {
        match &mut self.application {
            Application::Mongodb(server) => server,
            _ => panic!("{} is not MongoDB", self.kind),
        }
    }

    /// The directory that is protected.
    pub fn data(&self) -> PathBuf {
        match &self.application {
            Application::Sqlite(sqlite) => sqlite.directory.clone(),
            Application::Postgresql(server) => server.data.clone(),
            Application::Mariadb(server) => server.data.clone(),
            Application::Redis(server) => server.data.clone(),
            Application::Etcd(member) => member.data.clone(),
            Application::Mongodb(server) => server.data.clone(),
            Application::Files(files) => files.directory.clone(),
            Application::Kv(kv) => kv.directory.clone(),
            // Both are in it.
            Application::Group(group) => group.index.directory.parent().unwrap().to_owned(),
        }
    }

    /// The values for a backup.
    pub fn values(&self) -> Vec<String> {
        let mut values = self.places(&self.data());
        match &self.application {
            // An application on a busy machine; how short the freeze is, others measure.
            Application::Sqlite(_) | Application::Files(_) if self.kind.has_lease() => {
                values.push("maxFreeze=20s".to_owned());
            }
            Application::Postgresql(server) => {
                values.push(format!("host={}", server.sockets.display()));
                values.push(format!("port={}", server.port));
                values.push(format!("binDir={}", server.version.bin.display()));
            }
            Application::Mariadb(server) => {
                values.push(format!("socket={}", server.socket().display()));
                values.push(format!("user={}", mariadb::USER));
                match self.kind {
                    Kind::MariadbBlocked => {
                        values.extend(["stage=block-commit".to_owned(), "facts=exact".to_owned()]);
                    }
                    Kind::MysqlBlocked => {
                        values.extend(["lock=global".to_owned(), "facts=exact".to_owned()]);
                    }
                    _ => {}
                }
                values.extend(server.flavour.value());
            }
            Application::Group(group) => {
                values.push(format!("orders.host={}", group.orders.sockets.display()));
                values.push(format!("orders.port={}", group.orders.port));
                values.push(format!("orders.binDir={}", group.orders.version.bin.display()));
                values.push("index.maxFreeze=20s".to_owned());
            }
            Application::Redis(server) => {
                values.push(format!("socket={}", server.socket().display()));
                values.push(format!("user={}", redis::USER));
            }
            Application::Etcd(member) => {
                values.push("host=127.0.0.1".to_owned());
                values.push(format!("port={}", member.port));
            }
            Application::Mongodb(server) => {
                values.push("host=127.0.0.1".to_owned());
                values.push(format!("port={}", server.port));
                values.push(format!("binDir={}", server.bin.display()));
                if self.kind == Kind::MongodbLocked {
                    values.extend(["quiesce=lock".to_owned(), "maxFreeze=20s".to_owned()]);
                }
            }
            Application::Sqlite(_) | Application::Files(_) | Application::Kv(_) => {}
        }
        values.extend(self.more.clone());
        values
    }

    /// The values that say where the database is.
    fn places(&self, directory: &Path) -> Vec<String> {
        let directory = directory.display();
        match &self.application {
            Application::Sqlite(_) => {
                vec![format!("directory={directory}"), format!("file={}", sqlite::FILE)]
            }
            Application::Group(_) => vec![
                format!("orders.dataDir={directory}/orders"),
                format!("index.directory={directory}/index"),
                format!("index.file={}", sqlite::FILE),
            ],
            Application::Files(_) => vec![format!("path={directory}")],
            Application::Kv(_) => vec![format!("directory={directory}"), format!("kv={}", kv::PROGRAM)],
            Application::Postgresql(_) if matches!(self.kind, Kind::Dump(_)) => {
                vec![format!("scratchOwner={directory}")]
            }
            Application::Mariadb(_) if matches!(self.kind, Kind::MariadbDump | Kind::MysqlDump) => {
                vec![format!("scratchOwner={directory}")]
            }
            Application::Mongodb(_) if self.kind == Kind::MongodbDump => {
                vec![format!("scratchOwner={directory}")]
            }
            Application::Postgresql(_)
            | Application::Mariadb(_)
            | Application::Redis(_)
            | Application::Mongodb(_)
            | Application::Etcd(_) => {
                vec![format!("dataDir={directory}")]
            }
        }
    }

    /// Restores a recovery point into a new place.
    #[track_caller]
    pub fn restore(&self, point: &str, name: &str) -> Restored {
        let copy = self.place.join(name);
        let mut arguments = vec!["restore".to_owned(), point.to_owned()];
        let mut second = None;
        match &self.application {
            Application::Postgresql(server) if matches!(self.kind, Kind::Dump(_)) => {
                let sockets = self.place.join(&format!("{name}.s"));
                let other = Server::make(&server.version, &copy, &sockets, "");
                arguments.push(format!("--set=host={}", sockets.display()));
                arguments.push(format!("--set=port={}", other.port));
                second = Some(Application::Postgresql(other));
            }
            Application::Mariadb(server) if matches!(self.kind, Kind::MariadbDump | Kind::MysqlDump) => {
                let sockets = self.place.join(&format!("{name}.s"));
                let other = mariadb::Server::make(server.flavour, &copy, &sockets, "");
                arguments.push(format!("--set=socket={}", other.socket().display()));
                arguments.push("--set=user=root".to_owned());
                second = Some(Application::Mariadb(other));
            }
            Application::Mongodb(server) if self.kind == Kind::MongodbDump => {
                let other = mongodb::Server::make(server.flavour, &copy, &server.bin);
                let file = self.place.join(&format!("{name}.dump"));
                arguments.push(format!("--set=port={}", other.port));
                arguments.push(format!("--set=file={}", file.display()));
                second = Some(Application::Mongodb(other));
            }
            Application::Postgresql(_) if matches!(self.kind, Kind::Basebackup(_)) => {
                // What comes out of an archive belongs to the owner of the directory that it is put into.
                fs::create_dir(&copy).unwrap();
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
                postgresql::give(&copy);
                arguments.extend(self.places(&copy).iter().map(|value| format!("--set={value}")));
            }
            Application::Mariadb(_) if self.kind == Kind::MariadbBackup => {
                fs::create_dir(&copy).unwrap();
                mariadb::give(&copy);
                arguments.extend(self.places(&copy).iter().map(|value| format!("--set={value}")));
            }
            _ => {
                if self.kind.is_group() {
                    fs::create_dir(&copy).unwrap();
                }
                arguments.extend(self.places(&copy).iter().map(|value| format!("--set={value}")));
            }
        }
        let outcome = self.place.run(arguments);
        assert_eq!(outcome.code(), Some(0), "{}: {outcome}", self.kind);
        Restored { copy, server: second }
    }

    /// Every number in a restored copy, after the engine's own check.
    #[track_caller]
    pub fn read(&self, restored: &Restored) -> Vec<i64> {
        match &restored.server {
            Some(Application::Postgresql(server)) => server.numbers("app").unwrap(),
            Some(Application::Mariadb(server)) => server.numbers().unwrap(),
            Some(Application::Mongodb(server)) => server.numbers().unwrap(),
            Some(_) => panic!("{} is not restored into a server", self.kind),
            None => self.database().read_copy(&restored.copy),
        }
    }

    /// Asserts that nothing is held and nothing of any run is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        super::eventually(
            Duration::from_secs(5),
            &format!("nothing is held: {:?}", self.database().held()),
            || self.database().held().is_empty(),
        );
        leftovers::assert_none(&self.place, &self.known, &[&self.data()]);
    }
}

/// A restored copy: a directory, or a server that it was restored into.
pub struct Restored {
    pub copy: PathBuf,
    server: Option<Application>,
}

impl Restored {
    /// The port of the server that it was restored into.
    #[track_caller]
    pub fn port(&self) -> u16 {
        match &self.server {
            Some(Application::Mongodb(server)) => server.port,
            _ => panic!("not restored into a server with a port"),
        }
    }
}

/// The text of a blueprint that ships.
pub fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blueprints").join(name).join("blueprint.yaml");
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}
