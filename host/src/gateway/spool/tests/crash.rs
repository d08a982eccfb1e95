//! What was answered is there after any end of the process.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Set for the child that [`killed_while_it_writes`] starts: where it writes.
const FOLDER: &str = "SLUICE_TEST_SPOOL_FOLDER";

/// No test of its own: the program that is killed. It writes as fast as it can, 16 at a
/// time, and prints each number once that is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let (spool, _tracker) = opened(Path::new(&folder)).await.expect("opens");
    let writers = (0..16_u64).map(|writer| {
        let spool = spool.clone();
        async move {
            for count in 0.. {
                let number = count * 16 + writer;
                let event = event(number, 3_000);
                spool.append(&[(&event, false)]).await.expect("appended");
                println!("answered {number}");
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

/// Starts the child, kills it after so many answers; gives the answered numbers.
fn killed_after(folder: &Path, answers: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["child_that_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("its output");
    let mut answered = Vec::new();
    let mut killed = false;
    for line in BufReader::new(output).lines() {
        let line = line.expect("a line");
        answered.extend(line.split("answered ").nth(1).map(str::to_owned));
        if answers <= answered.len() && !killed {
            // SIGKILL.
            child.kill().expect("killed");
            killed = true;
        }
    }
    child.wait().expect("its end");
    assert!(killed, "the child ended by itself");
    // The last line may have been cut off in the middle of a number.
    answered.pop();
    answered
}

#[tokio::test]
async fn killed_while_it_writes() {
    for answers in [1, 50, 333, 1_000] {
        let folder = folder();
        let answered = killed_after(folder.path(), answers + 1);
        let (spool, tracker) = opened(folder.path()).await.expect("opens");
        let kept: std::collections::HashSet<String> = ids(&spool).await.into_iter().collect();
        let lost: Vec<&String> = answered.iter().filter(|id| !kept.contains(*id)).collect();
        assert!(
            lost.is_empty(),
            "of {} answered, lost: {lost:?}",
            answered.len()
        );
        assert_eq!(spool.standing().records, kept.len() as u64, "none twice");
        closed((spool, tracker)).await;
    }
}

#[tokio::test]
async fn the_file_is_whole_after_each_answer() {
    let folder = folder();
    let (spool, _tracker) = opened(folder.path()).await.expect("opens");
    for number in 0..20_u64 {
        let event = event(number, 5_000);
        spool.append(&[(&event, false)]).await.expect("appended");
        if number % 3 == 2 {
            spool.remove(vec![number - 1]).await.expect("removed");
        }
        // As the disk would be found after a power cut here.
        let copy = self::folder();
        let name = "spool.redb";
        std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("copied");
        let (found, tracker) = opened(copy.path()).await.expect("opens");
        assert_eq!(ids(&found).await, ids(&spool).await);
        assert_eq!(found.standing(), spool.standing());
        closed((found, tracker)).await;
    }
}
