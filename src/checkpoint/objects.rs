//! An object store as a storage of checkpoints: S3, Google Cloud Storage and Azure, each behind a cargo feature.
//!
//! | address | feature | credentials |
//! | --- | --- | --- |
//! | `s3://bucket/prefix` | `s3` | `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT` ..., or the machine's role |
//! | `gs://bucket/prefix` | `gcs` | `GOOGLE_SERVICE_ACCOUNT`, or the machine's account |
//! | `az://container/prefix`, `abfss://...` | `azure` | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` ... |
//!
//! A file is put only where there is none of its name (`If-None-Match: *`): of two processes that write one name, one
//! fails. A put whose answer is lost is not tried again: nobody knows whose the file then is.

use super::storage::Storage;
use crate::fault::Failure;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// An object store whose calls wait for their answers, on the thread that makes them.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    place: String,
    runtime: Runtime,
}

impl Objects {
    /// The objects of a store whose names begin with a prefix and `/`. `place` is what people call it.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, place: &str) -> Result<Objects, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("cannot speak to {place}: {error}")))?;
        Ok(Objects { store, prefix: prefix.trim_matches('/').to_owned(), place: place.to_owned(), runtime })
    }

    /// The store that an address names.
    pub fn open(scheme: &str, address: &str) -> Result<Objects, Failure> {
        let refused = |error: Error| failure("cannot be used", address, &error);
        let store = connect(scheme, address).ok_or_else(|| not_built(scheme))?.map_err(refused)?;
        let rest = address.split_once("://").map_or("", |(_, rest)| rest);
        Objects::new(store, rest.split_once('/').map_or("", |(_, prefix)| prefix), address)
    }

    fn path(&self, name: &str) -> Result<ObjectPath, Failure> {
        let path = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        ObjectPath::parse(&path).map_err(|error| Failure::new(format!("{path} cannot name an object: {error}")))
    }

    fn failed(&self, what: &str, name: &str, error: &Error) -> Failure {
        failure(what, &format!("{}/{name}", self.place.trim_end_matches('/')), error)
    }
}

impl Storage for Objects {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (path, options) = (self.path(name)?, PutOptions::from(PutMode::Create));
        let put = self.runtime.block_on(self.store.put_opts(&path, bytes.to_vec().into(), options));
        put.map(drop).map_err(|error| self.failed("cannot be written", name, &error))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path(name)?;
        let read = self.runtime.block_on(async { self.store.get(&path).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("cannot be read", name, &error)),
        }
    }

    fn list(&self) -> Result<Vec<String>, Failure> {
        let prefix = if self.prefix.is_empty() { None } else { Some(self.path("")?) };
        let listed = self.runtime.block_on(self.store.list_with_delimiter(prefix.as_ref()));
        let listed = listed.map_err(|error| self.failed("cannot be listed", "", &error))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name)?;
        match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("cannot be removed", name, &error)),
        }
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// The cargo feature that speaks to the stores of a scheme; `None` where no store has that scheme.
pub fn feature_of(scheme: &str) -> Option<&'static str> {
    match scheme {
        "s3" | "s3a" => Some("s3"),
        "gs" => Some("gcs"),
        "az" | "azure" | "adl" | "abfs" | "abfss" => Some("azure"),
        _ => None,
    }
}

/// Whether this program speaks to the stores of a scheme, or what would be right.
pub fn is_built(scheme: &str) -> Result<(), Failure> {
    let features = [("s3", cfg!(feature = "s3")), ("gcs", cfg!(feature = "gcs")), ("azure", cfg!(feature = "azure"))];
    let built = features.iter().any(|(feature, built)| *built && feature_of(scheme) == Some(feature));
    if built { Ok(()) } else { Err(not_built(scheme)) }
}

fn not_built(scheme: &str) -> Failure {
    match feature_of(scheme) {
        Some(feature) => Failure::new(format!("this program was built without `{scheme}://`"))
            .help(format!("build it with `cargo build --release --features {feature}`, or name a folder")),
        None => Failure::new(format!("nothing is stored under `{scheme}://`"))
            .help("a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"),
    }
}

/// A client for an address; `None` where this program has none for it.
#[allow(unused_variables, reason = "a program that is built without any of the features has no client")]
fn connect(scheme: &str, address: &str) -> Option<Result<Arc<dyn ObjectStore>, Error>> {
    match feature_of(scheme)? {
        #[cfg(feature = "s3")]
        "s3" => Some(shared(object_store::aws::AmazonS3Builder::from_env().with_url(address).build())),
        #[cfg(feature = "gcs")]
        "gcs" => Some(shared(object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(address).build())),
        #[cfg(feature = "azure")]
        "azure" => Some(shared(object_store::azure::MicrosoftAzureBuilder::from_env().with_url(address).build())),
        _ => None,
    }
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn shared(built: Result<impl ObjectStore, Error>) -> Result<Arc<dyn ObjectStore>, Error> {
    built.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
}

fn failure(what: &str, place: &str, error: &Error) -> Failure {
    let failure = Failure::new(format!("{place} {what}: {error}"));
    match error {
        Error::AlreadyExists { .. } => failure.help("another process writes checkpoints of this job there"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            failure.help("the credentials of the environment must allow to read, write, list and delete there")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::example;
    use crate::checkpoint::{Store, storage};
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;
    use std::path::Path;

    /// What every storage promises, and a life of checkpoints in it.
    fn keeps_its_promises(storage: Objects) {
        assert_eq!((storage.list().expect("listed"), storage.read("a").expect("read")), (Vec::new(), None));
        for name in ["b%2dc", "a", "a.b_C"] {
            storage.put(name, name.as_bytes()).expect("put");
        }
        let again = storage.put("a", b"other").expect_err("there already");
        assert!(again.message.contains("/a cannot be written: "), "{again}");
        assert_eq!(again.help.as_deref(), Some("another process writes checkpoints of this job there"));
        assert_eq!(storage.list().expect("listed"), ["a", "a.b_C", "b%2dc"]);
        assert_eq!(storage.read("b%2dc").expect("read").as_deref(), Some(b"b%2dc".as_slice()));
        for _ in 0..2 {
            storage.remove("b%2dc").expect("removed");
        }
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let mut store = Store::open(storage.clone()).expect("a store");
        for _ in 0..3 {
            let id = store.begin();
            let file = store.put(id, "win dows", 0, b"state").expect("put");
            store.commit(&example(id, vec![file])).expect("committed");
        }
        assert_eq!(store.collect(1).expect("collected"), 4);
        let (newest, passed_over) = Store::open(storage.clone()).expect("a store").newest().expect("read");
        assert_eq!((newest.map(|manifest| manifest.id), passed_over), (Some(3), Vec::new()));
        let names = ["0000000003-win%20dows-0.arrow", "0000000003.manifest.json", "a", "a.b_C"];
        assert_eq!(storage.list().expect("listed"), names);
    }

    #[test]
    fn checkpoints_live_in_object_stores() {
        for prefix in ["", "jobs/sensors", "/jobs/"] {
            let store = Arc::new(InMemory::new());
            keeps_its_promises(Objects::new(store, prefix, "memory://test/").expect("a storage"));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalFileSystem::new_with_prefix(folder.path()).expect("a store");
        keeps_its_promises(Objects::new(Arc::new(store), "jobs", "file://test").expect("a storage"));
    }

    #[test]
    fn one_prefix_does_not_see_another() {
        let store = Arc::new(InMemory::new());
        let [jobs, other, below] = ["jobs", "jobs2", "jobs/a"]
            .map(|prefix| Objects::new(store.clone(), prefix, "memory://test").expect("a storage"));
        for (storage, name) in [(&jobs, "a"), (&other, "b"), (&below, "c")] {
            storage.put(name, b"x").expect("put");
        }
        assert_eq!(jobs.list().expect("listed"), ["a"]);
    }

    #[test]
    fn several_threads_may_put_at_once() {
        let storage = Objects::new(Arc::new(InMemory::new()), "jobs", "memory://test").expect("a storage");
        let won = |shard: usize| (0..50).filter(|i| storage.put(&i.to_string(), &[shard as u8]).is_ok()).count();
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|shard| scope.spawn(move || won(shard))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!((won, storage.list().expect("listed").len()), (50, 50), "each name is put by exactly one");
    }

    #[test]
    fn an_address_that_is_not_understood_is_refused() {
        let said = |dir: &str| storage::check(Path::new(dir)).map_err(|failure| failure.to_string());
        assert_eq!(said("checkpoints"), Ok(()));
        assert_eq!(said("file:///tmp/checkpoints"), Ok(()));
        let unknown = said("ftp://host/checkpoints").expect_err("refused");
        assert!(unknown.starts_with("nothing is stored under `ftp://`\n  help: a folder, s3://"), "{unknown}");
        for (dir, scheme, feature) in
            [("s3://bucket/a", "s3", "s3"), ("gs://bucket", "gs", "gcs"), ("abfss://c@a.host/b", "abfss", "azure")]
        {
            if let Err(refused) = said(dir) {
                assert!(refused.starts_with(&format!("this program was built without `{scheme}://`")), "{refused}");
                assert!(refused.contains(&format!("--features {feature}`")), "{refused}");
            }
        }
    }
}
