//! Certificates for 127.0.0.1.

use std::{fs, path::PathBuf, process::Command};

use super::Place;

/// Makes all of them in the current directory. Servers read their key as users of their own.
const MAKE: &str = r"
    new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    for name in ca other; do
        openssl req -x509 $new -days 2 -subj /CN=$name -keyout $name.key -out $name.pem
    done
    for name in server client; do
        openssl req $new -subj /CN=$name -keyout $name.key -out $name.csr
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > $name.ext
        openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem
    done
    chmod 644 server.key
";

/// An authority (`ca`), a `server`'s and a `client`'s certificate of it, and another authority (`other`): each a `.pem` and a
/// `.key`.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Makes them in a place.
    #[track_caller]
    pub fn make(place: &Place) -> Self {
        let directory = place.join("certificates");
        fs::create_dir(&directory).unwrap();
        let made = Command::new("sh").args(["-ec", MAKE]).current_dir(&directory).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(directory)
    }

    /// The path of one of the files.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}
