//! How fast it is, beside what the disk can do. Run by hand: `--ignored --nocapture`.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::*;

const BYTES: usize = 6_000;
const FOR: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a promise"]
async fn appends_a_second() {
    for appenders in [1_u64, 64, 256] {
        let folder = folder();
        let fsync = plain_fsync(folder.path());
        let (spool, tracker) = opened(folder.path()).await.expect("opens");
        let until = Instant::now() + FOR;
        let running = (0..appenders).map(|appender| {
            let spool = spool.clone();
            let event = event(appender, BYTES);
            async move {
                let mut count = 0_u64;
                while Instant::now() < until {
                    spool.append(&[(&event, false)]).await.expect("appended");
                    count += 1;
                }
                count
            }
        });
        let started = Instant::now();
        let count: u64 = futures_util::future::join_all(running)
            .await
            .into_iter()
            .sum();
        let rate = count as f64 / started.elapsed().as_secs_f64();
        let standing = spool.standing();
        let file = std::fs::metadata(folder.path().join("spool.redb")).expect("the file");
        println!(
            "{appenders} appenders: {rate:.0} appends/s; plain write and fsync of {BYTES} bytes: \
             {fsync:?}; {:.2} bytes of file a byte kept",
            file.len() as f64 / standing.bytes as f64
        );
        let started = Instant::now();
        let mut next = 0;
        let mut read = 0;
        loop {
            let found = spool.read(next, 1_024, 8 << 20).await.expect("read");
            let Some(last) = found.last() else { break };
            next = last.number + 1;
            read += found.len();
            let numbers = found.iter().map(|found| found.number).collect();
            spool.remove(numbers).await.expect("removed");
        }
        let rate = read as f64 / started.elapsed().as_secs_f64();
        let file = std::fs::metadata(folder.path().join("spool.redb")).expect("the file");
        println!(
            "  read and removed again: {rate:.0}/s; the file then: {} bytes",
            file.len()
        );
        closed((spool, tracker)).await;
    }
}

fn plain_fsync(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("plain")).expect("a file");
    let bytes = vec![b'x'; BYTES];
    let count = 200;
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(&bytes).expect("written");
        file.sync_data().expect("synced");
    }
    started.elapsed() / count
}
