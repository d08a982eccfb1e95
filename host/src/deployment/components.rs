//! Takes components, gives them back by digest: the object store `plugins`.

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{
    Config as StoreConfig, DeleteErrorKind, InfoErrorKind, ObjectStore,
};

use super::Error;
use crate::config::Config;
use crate::objects;
use crate::plugin::package;

const BUCKET: &str = "plugins";
/// The stream behind the bucket.
pub const STREAM: &str = "OBJ_plugins";

/// Makes the bucket, or leaves it as it is.
///
/// # Errors
/// [`Error::Store`].
pub async fn provision(context: &Context, config: &Config) -> Result<(), Error> {
    let bucket = StoreConfig {
        bucket: BUCKET.to_owned(),
        description: Some("Deployed plug-ins, by digest".to_owned()),
        num_replicas: config.nats.replicas,
        ..StoreConfig::default()
    };
    objects::provision(context, bucket).await.map_err(failed)
}

/// What a component is called that is kept for sagas.
fn of_sagas(digest: &str) -> String {
    format!("sagas/{digest}")
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

/// The object store.
#[derive(Clone)]
pub struct Components {
    context: Context,
    store: ObjectStore,
}

impl Components {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn open(context: &Context) -> Result<Self, Error> {
        let store = objects::open(context, BUCKET).await.map_err(failed)?;
        let context = context.clone();
        Ok(Self { context, store })
    }

    /// Puts a component in, unless it is there already; gives its digest.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn put(&self, bytes: &[u8]) -> Result<String, Error> {
        let digest = package::digest(bytes);
        self.put_as(&digest, bytes).await?;
        Ok(digest)
    }

    async fn put_as(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match self.store.info(name).await {
            Ok(info) if info.size == bytes.len() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let put = objects::put(&self.context, &self.store, name, bytes).await;
        put.map_err(failed)
    }

    /// Keeps a component for sagas that begin with it, unless it is kept already. It stays when
    /// nobody wants it deployed any more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_for_sagas(&self, bytes: &[u8]) -> Result<(), Error> {
        self.put_as(&of_sagas(&package::digest(bytes)), bytes).await
    }

    /// A component that was kept so.
    ///
    /// # Errors
    /// When it is not there, or is not what it was.
    pub async fn get_for_sagas(&self, digest: &str) -> Result<Vec<u8>, Error> {
        self.found(digest, &of_sagas(digest)).await
    }

    /// Whether there is a component with this digest.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn has(&self, digest: &str) -> Result<bool, Error> {
        match self.store.info(digest).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The component with this digest.
    ///
    /// # Errors
    /// When it is not there, or is not what it was.
    pub async fn get(&self, digest: &str) -> Result<Vec<u8>, Error> {
        self.found(digest, digest).await
    }

    async fn found(&self, digest: &str, name: &str) -> Result<Vec<u8>, Error> {
        let found = objects::get(&self.store, name).await.map_err(failed)?;
        let bytes = found.ok_or_else(|| Error::NoComponent(digest.to_owned()))?;
        if package::digest(&bytes) != digest {
            return Err(Error::Changed(digest.to_owned()));
        }
        Ok(bytes)
    }

    /// Lets go of a component.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete(&self, digest: &str) -> Result<(), Error> {
        match self.store.delete(digest).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}
