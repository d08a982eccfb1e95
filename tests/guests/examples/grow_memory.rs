//! Takes memory until it gets no more.

use sluicegate_guest::*;

#[consumer]
fn handle(_event: Event) -> Outcome {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(vec![1; 1 << 20]);
        std::hint::black_box(&held);
    }
}
