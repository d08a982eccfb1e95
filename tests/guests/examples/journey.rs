//! A saga that goes the way its first event says, a letter a step, and emits what it did and
//! what it undid.
//!
//! `s` goes on, `w` waits for an answer that it asks for, `t` waits for one that never comes, `h`
//! waits for it without an end and takes the letters that it has for its next, `r` asks for another
//! attempt at first, `x` traps, `j` rejects, `f` fails; when there are no letters left it is done.
//! What undoes a step fails once after a capital letter, and always, until it is told to work,
//! after `P`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluicegate_guest::saga::{Next, Saga, Step, Undo};
use sluicegate_guest::*;

const GO: &str = "d365.custom.journey.go";
const NEVER: &str = "d365.custom.journey.never";

#[derive(Default, Serialize, Deserialize)]
struct Journey {
    plan: String,
    at: usize,
}

#[derive(Deserialize)]
struct Planned {
    plan: String,
}

#[derive(Deserialize)]
struct Came {
    #[serde(default)]
    letters: String,
}

#[derive(Serialize, Deserialize)]
struct Did {
    at: usize,
    letter: char,
}

#[saga]
impl Journey {
    fn begin(&mut self, saga: &mut Saga, planned: Data<Planned>) -> Step {
        if planned.0.plan == "-" {
            return Ok(Next::ignore());
        }
        self.plan = planned.0.plan;
        self.walk(saga)
    }

    fn go(&mut self, saga: &mut Saga) -> Step {
        self.walk(saga)
    }

    fn came(&mut self, saga: &mut Saga, came: Data<Came>) -> Step {
        self.plan.insert_str(self.at, &came.0.letters);
        self.walk(saga)
    }

    fn late(&mut self, saga: &mut Saga) -> Step {
        self.walk(saga)
    }

    fn undo(&mut self, undo: &Undo, did: Did) -> Outcome {
        let first = undo.delivery().attempt == 1;
        if did.letter.is_ascii_uppercase() && first && did.letter != 'P' {
            return Err(retry("not at first"));
        }
        if did.letter == 'P' && config::get("works").as_deref() != Some("yes") {
            return Err(reject("it cannot be undone"));
        }
        told("undid", undo.key(), &did)
    }
}

impl Journey {
    fn walk(&mut self, saga: &mut Saga) -> Step {
        let Some(letter) = self.plan.chars().nth(self.at) else {
            return Ok(Next::done());
        };
        let did = Did {
            at: self.at,
            letter,
        };
        let attempt = saga.delivery().attempt;
        match letter.to_ascii_lowercase() {
            'r' if attempt == 1 => return Err(retry("at first")),
            'x' => panic!("this step traps"),
            'j' => return Err(reject("this step rejects")),
            _ => {}
        }
        self.at += 1;
        told("did", saga.key(), &did)?;
        saga.undo_with(Self::UNDO, &did)?;
        Ok(match letter.to_ascii_lowercase() {
            'f' => Next::fail("this step fails"),
            'w' => {
                let go = Event::builder(GO).partition_key(saga.key()).json(&did)?;
                outbox::emit("d365.custom.test.business.journey.go", go);
                Next::wait_for(GO, Self::GO).at_most(Duration::from_secs(600), Self::LATE)
            }
            't' => Next::wait_for(NEVER, Self::GO).at_most(Duration::from_millis(300), Self::LATE),
            'h' => Next::wait_for(NEVER, Self::CAME).for_ever(),
            _ => Next::step(Self::GO),
        })
    }
}

fn told(what: &str, key: &str, did: &Did) -> Outcome {
    let version = config::get("says").unwrap_or_default();
    let told = serde_json::json!({ "what": what, "at": did.at, "version": version });
    let event = Event::builder("d365.custom.journey.told")
        .partition_key(key)
        .json(&told)?;
    outbox::emit("d365.custom.test.business.journey.told", event);
    Ok(())
}
