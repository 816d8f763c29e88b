//! Finds PostgreSQL's own programs: `initdb`, `pg_ctl` and `postgres`, version 14 or newer.
//!
//! The first usable place wins: the one that `WA_OUTBOX_PG_BIN` names (and then no other), the PATH, where the systems'
//! packages put them (highest version first), what was fetched before, and last a fetch. A place is usable when the user
//! who will run the server can run its `postgres`; one that is not is named in the error with the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::Account;
use super::{EmbeddedError, shell_word};

/// The oldest major version that the schema supports.
const OLDEST: u32 = 14;

/// The programs that a place must have. `psql` is welcome but not needed.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Where packages put each version into a folder of its own: the folder above, and what comes before and after the version.
const PACKAGED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Where to look for PostgreSQL's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    given: Option<PathBuf>,
    places: Vec<PathBuf>,
    /// Also where packages put them and in the cache, and fetch them if need be.
    everywhere: bool,
}

impl Search {
    /// All places where this machine may have them, and a fetch if it has not.
    pub fn this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path)
            .filter(|place| place.is_absolute())
            .collect();
        Self {
            given: std::env::var_os("WA_OUTBOX_PG_BIN").map(PathBuf::from),
            places,
            everywhere: true,
        }
    }

    /// These folders alone, in this order; nothing is fetched.
    pub fn only(places: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            given: None,
            places: places.into_iter().collect(),
            everywhere: false,
        }
    }

    /// The first usable programs, of the major version `wanted` where data exists that needs it.
    pub(super) fn find(
        &self,
        account: Account,
        wanted: Option<u32>,
    ) -> Result<Programs, EmbeddedError> {
        if let Some(folder) = &self.given {
            return Programs::at(folder, account)
                .unwrap_or_else(|| Err("it has not all three programs".to_owned()))
                .map_err(|reason| EmbeddedError::GivenPrograms {
                    folder: folder.clone(),
                    reason,
                });
        }
        let cache = self.everywhere.then(|| cache_folder(account));
        let (mut other_version, mut refused) = (None, Vec::new());
        let places = self
            .places
            .iter()
            .cloned()
            .chain(cache.iter().flat_map(|cache| packaged_or_in(cache)));
        for found in places.filter_map(|place| Programs::at(&place, account)) {
            match found {
                Ok(programs) if wanted.is_none_or(|wanted| programs.version == wanted) => {
                    return Ok(programs);
                }
                Ok(programs) => other_version = other_version.or(Some(programs)),
                Err(reason) => refused.push(reason),
            }
        }
        if let Some(programs) = other_version {
            return Ok(programs);
        }
        let fetch = match cache.map(|cache| fetched(&cache, account)) {
            Some(Ok(programs)) => return Ok(programs),
            Some(Err(reason)) => reason,
            None => None,
        };
        // Several places may lead to the same programs.
        refused.dedup();
        Err(EmbeddedError::NoPrograms {
            searched: self.searched(),
            refused,
            fetch,
        })
    }

    /// The places as a person would name them.
    fn searched(&self) -> Vec<PathBuf> {
        let pattern = |(above, prefix, below): &(&str, &str, &str)| {
            format!("{above}/{prefix}*/{below}").into()
        };
        let patterns = PACKAGED.iter().filter(|_| self.everywhere).map(pattern);
        self.places.iter().cloned().chain(patterns).collect()
    }
}

/// Where packages put the programs, and what was fetched into `cache`; of each, the highest version first.
fn packaged_or_in(cache: &Path) -> impl Iterator<Item = PathBuf> {
    let packaged = PACKAGED
        .iter()
        .map(|(above, prefix, below)| (Path::new(above), *prefix, *below));
    let all = packaged.chain([(cache, "", "bin")]);
    all.flat_map(|(above, prefix, below)| {
        numbered(above, prefix)
            .into_iter()
            .map(move |it| it.join(below))
    })
}

/// Fetches the programs into `cache`; on failure the reason, where there is one to tell.
#[cfg(feature = "fetch-postgres")]
fn fetched(cache: &Path, account: Account) -> Result<Programs, Option<String>> {
    let folder = super::fetch::fetch_into(cache, account, super::fetch::SOURCE).map_err(Some)?;
    Programs::at(&folder.join("bin"), account)
        .unwrap_or_else(|| Err(format!("{} has not all three programs", folder.display())))
        .map_err(Some)
}

#[cfg(not(feature = "fetch-postgres"))]
fn fetched(_: &Path, _: Account) -> Result<Programs, Option<String>> {
    Err(None)
}

/// Where fetched programs are kept. Root's own cache may be closed to the user who will run them.
fn cache_folder(account: Account) -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let own =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let own = own.filter(|own| {
        account.may_enter(own) || !own.exists() && !rustix::process::geteuid().is_root()
    });
    let shared = || {
        if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/cache")
        } else {
            std::env::temp_dir()
        }
    };
    own.unwrap_or_else(shared).join("wa-outbox/postgres")
}

/// The folders in `above` named `prefix` and a version, the highest version first.
fn numbered(above: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(above) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let rest = name.to_str()?.strip_prefix(prefix)?.trim_start_matches('@');
            // Nameless or "latest" ones come last: with a version in the name we know what we get.
            Some((
                rest.split('.')
                    .map_while(|part| part.parse().ok())
                    .collect(),
                entry.path(),
            ))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// PostgreSQL's programs in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    folder: PathBuf,
    version: u32,
}

impl Programs {
    /// The programs in `place`; `None` if they are not all there, or the reason why they cannot be used.
    fn at(place: &Path, account: Account) -> Option<Result<Self, String>> {
        // A PATH may hold links to the programs; those in the folder they point to find their libraries more surely.
        let target = fs::canonicalize(place.join("postgres"))
            .ok()
            .and_then(|real| real.parent().map(Path::to_owned));
        let complete = |folder: &PathBuf| NEEDED.iter().all(|name| folder.join(name).is_file());
        let folder = target
            .filter(complete)
            .or_else(|| Some(place.to_owned()).filter(complete))?;
        let output = account
            .command(&folder.join("postgres"))
            .arg("--version")
            .stdout(Stdio::piped())
            .output();
        Some(match output {
            Err(error) => Err(format!(
                "{}: it cannot be run by uid {}: {error}",
                folder.display(),
                account.uid()
            )),
            Ok(output) => match major_version(&String::from_utf8_lossy(&output.stdout)) {
                None => Err(format!(
                    "{}: `postgres --version` did not answer",
                    folder.display()
                )),
                Some(version) if version < OLDEST => Err(format!(
                    "{}: version {version} is too old",
                    folder.display()
                )),
                Some(version) => Ok(Self { folder, version }),
            },
        })
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// `psql` as a person would type it: by its name if the PATH knows it.
    pub(super) fn psql(&self) -> String {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let known = std::env::split_paths(&path).any(|place| place.join("psql").is_file());
        let own = self.path("psql");
        if known || !own.is_file() {
            "psql".to_owned()
        } else {
            shell_word(&own.to_string_lossy())
        }
    }
}

/// The major version in what `postgres --version` says, such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL)")?.1.trim_start();
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_whatever_follows_it() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major_version("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(major_version("command not found"), None);
    }

    #[test]
    fn the_highest_version_comes_first_by_number_not_by_letter() {
        let above = std::env::temp_dir().join(format!("wa-outbox-numbered-{}", std::process::id()));
        for name in [
            "postgresql@9.6",
            "postgresql@15",
            "postgresql",
            "postgresql@14",
            "other",
        ] {
            fs::create_dir_all(above.join(name)).expect("a folder");
        }
        let found: Vec<_> = numbered(&above, "postgresql")
            .into_iter()
            .map(|path| path.strip_prefix(&above).expect("below").to_owned())
            .collect();
        let expected = [
            "postgresql@15",
            "postgresql@14",
            "postgresql@9.6",
            "postgresql",
        ];
        fs::remove_dir_all(&above).expect("removed");
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
