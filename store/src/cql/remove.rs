//! Removing a keyspace: one that is a store, of whatever version, and no pointer that servers need.

use super::{link, open, options::Options, store::CqlStore};
use crate::{Error, Result};

impl CqlStore {
    /// Removes the keyspace that is named and all that it holds, of whatever version its rows are. What another
    /// process has open is lost for it, too: stop the owners first.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no store, or when it says that another keyspace is the live one,
    /// [`Error::Unavailable`] when no node answers.
    pub async fn remove(options: &Options) -> Result<()> {
        let (session, keyspace) = (open::pointing(options).await?, &options.keyspace);
        if let Some(live) = open::live(&session, keyspace).await?
            && live.keyspace != *keyspace
        {
            return Err(Error::Refused(format!(
                "remove keyspace {keyspace}: servers that name it use {}, and would forget it; first \
                 switch back to {keyspace}",
                live.keyspace
            )));
        }
        let text = format!("DROP KEYSPACE IF EXISTS {keyspace}");
        let drop = || async { Ok(session.query_unpaged(text.as_str(), ()).await) };
        link::patiently("remove the keyspace", drop).await.map(|_| ())
    }
}
