//! A disk without room is said to be so; what is there can be drained, and when there is room again the spool goes on.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;

/// Set for the child that [`the_disk_is_full_and_then_not`] starts: a disk of 4 MB.
const DISK: &str = "SLUICE_TEST_SMALL_DISK";

/// No test of its own: it runs where the small disk is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_on_a_small_disk() {
    let Some(disk) = std::env::var_os(DISK) else {
        return;
    };
    let disk = Path::new(&disk);
    std::fs::write(disk.join("other"), vec![1; 1_000_000]).expect("there is room");
    let folder = disk.join("spool");
    let (spool, tracker) = opened(&folder).await.expect("opens");
    let mut answered = Vec::new();
    let error = loop {
        let number = answered.len() as u64;
        match spool.append(&[(&event(number, 6_000), false)]).await {
            Ok(()) => answered.push(number.to_string()),
            Err(error) => break error,
        }
        assert!(answered.len() < 1_000, "the disk is not full");
    };
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(20 < answered.len(), "{answered:?}");
    for number in 1_000..1_050 {
        if spool
            .append(&[(&event(number, 6_000), false)])
            .await
            .is_ok()
        {
            answered.push(number.to_string());
        }
    }
    // What is there goes to the broker all the same.
    let found = until(|| spool.read(0, 5, 1 << 20)).await;
    let numbers: Vec<u64> = found.iter().map(|found| found.number).collect();
    until(|| spool.remove(numbers.clone())).await;
    answered.drain(..5);
    std::fs::remove_file(disk.join("other")).expect("removed");
    let last = event(7, 6_000);
    until(|| async { spool.append(&[(&last, false)]).await }).await;
    answered.push("7".to_owned());
    assert_eq!(
        ids(&spool).await,
        answered,
        "what was answered, and nothing else"
    );
    closed((spool, tracker)).await;
    let (spool, _tracker) = opened(&folder).await.expect("opens");
    assert_eq!(ids(&spool).await, answered);
    println!("held {}", answered.len());
}

async fn until<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_disk_is_full_and_then_not() {
    let folder = folder();
    // A file system of its own, where the machine lets a test have one.
    let output = Command::new("unshare")
        .args(["-r", "-m", "sh", "-c"])
        .arg("mount -t tmpfs -o size=4m small \"$1\" || exit 77; exec \"$0\" child_on_a_small_disk --nocapture")
        .arg(std::env::current_exe().expect("this program"))
        .arg(folder.path())
        .env(DISK, folder.path())
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no unshare on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        eprintln!("skipped: a small disk cannot be had: {errors}");
        return;
    }
    assert!(
        output.status.success() && text.contains("held "),
        "{text}\n{errors}"
    );
}
