//! A file that is not what it should be is said to be so, with its path and what to do.

use std::fs;

use super::*;

/// A closed spool with some records.
async fn written(folder: &Path) -> Vec<u8> {
    let (spool, tracker) = opened(folder).await.expect("opens");
    for number in 0..40 {
        let event = event(number, 4_000);
        spool.append(&[(&event, false)]).await.expect("appended");
    }
    closed((spool, tracker)).await;
    fs::read(folder.join("spool.redb")).expect("the file")
}

async fn error_of(bytes: &[u8]) -> OpenError {
    let folder = folder();
    fs::write(folder.path().join("spool.redb"), bytes).expect("written");
    let error = opened(folder.path())
        .await
        .map(|_| ())
        .expect_err("refused");
    let text = error.to_string();
    assert!(
        text.contains("spool.redb") && text.contains("move the file away"),
        "{text}"
    );
    error
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = folder();
    let whole = written(folder.path()).await;
    for part in [1, 100, 5_000, whole.len() / 2, whole.len() - 1] {
        error_of(&whole[..part]).await;
    }
}

#[tokio::test]
async fn a_foreign_file_is_refused() {
    error_of(b"listen = \"127.0.0.1:8365\"\n").await;
    error_of(&vec![0; 100_000]).await;
    error_of(b"SQLite format 3\0 and more").await;
}

#[tokio::test]
async fn another_format_is_refused() {
    let folder = folder();
    drop(Store::open(folder.path()).expect("opens"));
    let path = folder.path().join("spool.redb");
    let database = redb::Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        let mut meta = transaction.open_table(meta).expect("a table");
        meta.insert("format", 2).expect("inserted");
    }
    transaction.commit().expect("committed");
    drop(database);
    let error = opened(folder.path())
        .await
        .map(|_| ())
        .expect_err("refused");
    assert!(error.to_string().contains("format 2"), "{error}");
}

/// A changed byte is either found, or was one that nobody reads; it never makes another
/// message out of one.
#[tokio::test]
async fn changed_bytes_are_found_or_do_no_harm() {
    let folder = folder();
    let whole = written(folder.path()).await;
    let expected: Vec<String> = (0..40).map(|number: u64| number.to_string()).collect();
    let (mut found, mut harmless) = (0, 0);
    for step in 0..150 {
        let at = step * whole.len() / 150 + step % 7;
        let mut changed = whole.clone();
        changed[at] ^= 0x5a;
        let copy = self::folder();
        fs::write(copy.path().join("spool.redb"), &changed).expect("written");
        match opened(copy.path()).await {
            Ok((spool, tracker)) => {
                assert_eq!(ids(&spool).await, expected, "byte {at} was changed");
                harmless += 1;
                closed((spool, tracker)).await;
            }
            Err(error) => {
                assert!(
                    matches!(error, OpenError::Unusable { .. }),
                    "byte {at}: {error}"
                );
                found += 1;
            }
        }
    }
    assert!(0 < found, "{found} found, {harmless} harmless");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, b"x").expect("written");
    let error = opened(&file.join("spool"))
        .await
        .map(|_| ())
        .expect_err("refused");
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert!(error.to_string().contains("file/spool"), "{error}");
}
