//! Promise: the rows of `customer-360` are those of an oracle that takes the same events one after
//! another, over SIGKILLs, and a new build of it takes over while events come.

#![allow(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sluicegate_guest::testing::{RecordBuilder, choice, lookup, money, record};
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{Message, publish_messages, slot};
use sluicegate_tests::projected::{all, ask, differing, listed, reached};
use sluicegate_tests::{Broker, Setup, Stage, environment, until, within};
use tokio::time::{Instant, sleep};

/// What an event did to a column: nothing, cleared it, or set it.
type Told<T> = Option<Option<T>>;

/// One change, as the oracle has it.
enum Change {
    Account {
        id: usize,
        name: Told<String>,
        number: Told<String>,
        country: Told<String>,
        limit: Told<i64>,
    },
    Contact {
        id: usize,
        customer: Told<usize>,
    },
    Opportunity {
        id: usize,
        customer: Told<usize>,
        cents: Told<i64>,
        closed: Told<bool>,
    },
    Fno {
        id: usize,
        account: Told<String>,
        name: Told<String>,
    },
    Gone(&'static str, usize),
}

#[derive(Default, Clone, PartialEq)]
struct Account {
    known: bool,
    name: Option<String>,
    number: Option<String>,
    country: Option<String>,
    limit: Option<i64>,
}

/// What is known, in plain tables; the rows are made of them at the end.
#[derive(Default)]
struct Oracle {
    accounts: BTreeMap<usize, Account>,
    contacts: BTreeMap<usize, Option<usize>>,
    opportunities: BTreeMap<usize, (Option<usize>, i64, bool)>,
    fno: BTreeMap<usize, (Option<String>, Option<String>)>,
    /// Whose a number is: the account that said so last, and the F&O customer.
    numbers: BTreeMap<String, (Option<usize>, Option<usize>)>,
}

fn set<T: Clone>(value: &mut Option<T>, told: &Told<T>) {
    if let Some(told) = told {
        value.clone_from(told);
    }
}

impl Oracle {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Account {
                id,
                name,
                number,
                country,
                limit,
            } => {
                let account = self.accounts.entry(*id).or_default();
                account.known = true;
                set(&mut account.name, name);
                set(&mut account.country, country);
                set(&mut account.limit, limit);
                let before = account.number.clone();
                set(&mut account.number, number);
                let after = account.number.clone();
                self.renumber(*id, before, after);
            }
            Change::Contact { id, customer } => {
                set(self.contacts.entry(*id).or_default(), customer);
            }
            Change::Opportunity {
                id,
                customer,
                cents,
                closed,
            } => {
                let (whose, value, is_closed) = self.opportunities.entry(*id).or_default();
                set(whose, customer);
                if let Some(cents) = cents {
                    *value = cents.unwrap_or(0);
                }
                if let Some(closed) = closed {
                    *is_closed = closed.unwrap_or(false);
                }
            }
            Change::Fno { id, account, name } => {
                let row = self.fno.entry(*id).or_default();
                let before = row.0.clone();
                set(&mut row.0, account);
                set(&mut row.1, name);
                let after = row.0.clone();
                self.link(
                    *id,
                    before.filter(|before| Some(before) != after.as_ref()),
                    after,
                );
            }
            Change::Gone("account", id) => {
                let before = self.accounts.remove(id).and_then(|account| account.number);
                self.renumber(*id, before, None);
            }
            Change::Gone("contact", id) => drop(self.contacts.remove(id)),
            Change::Gone("opportunity", id) => drop(self.opportunities.remove(id)),
            Change::Gone(_, id) => {
                let before = self.fno.remove(id).and_then(|(account, _)| account);
                self.link(*id, before, None);
            }
        }
    }

    fn renumber(&mut self, id: usize, before: Option<String>, after: Option<String>) {
        if before == after {
            return;
        }
        if let Some((whose, _)) = before.and_then(|before| self.numbers.get_mut(&before))
            && *whose == Some(id)
        {
            *whose = None;
        }
        if let Some(after) = after {
            self.numbers.entry(after).or_default().0 = Some(id);
        }
    }

    fn link(&mut self, id: usize, before: Option<String>, after: Option<String>) {
        if let Some((_, fno)) = before.and_then(|before| self.numbers.get_mut(&before))
            && *fno == Some(id)
        {
            *fno = None;
        }
        if let Some(after) = after {
            self.numbers.entry(after).or_default().1 = Some(id);
        }
    }

    fn customers(&self) -> BTreeMap<String, Value> {
        let mut counts: BTreeMap<usize, (u64, u64, i64)> = BTreeMap::new();
        for customer in self.contacts.values().flatten() {
            counts.entry(*customer).or_default().0 += 1;
        }
        for (customer, cents, closed) in self.opportunities.values() {
            if let (Some(customer), false) = (customer, closed) {
                let counts = counts.entry(*customer).or_default();
                counts.1 += 1;
                counts.2 += cents;
            }
        }
        let mut rows = BTreeMap::new();
        let ids = self.accounts.keys().chain(counts.keys());
        for id in ids {
            let account = self.accounts.get(id).cloned().unwrap_or_default();
            let (contacts, open, cents) = counts.get(id).copied().unwrap_or_default();
            let link = account
                .number
                .as_ref()
                .and_then(|number| self.numbers.get(number));
            let fno = link
                .filter(|(whose, _)| *whose == Some(*id))
                .and_then(|(_, fno)| *fno);
            let fno = fno.and_then(|fno| self.fno.get(&fno)).map(
                |(account, name)| json!({ "account": account, "name": name, "credit_limit": null }),
            );
            let row = json!({
                "is_known": account.known,
                "name": account.name,
                "number": account.number,
                "country": account.country,
                "credit_limit": account.limit,
                "contacts": contacts,
                "open_opportunities": open,
                "open_value": amount(cents),
                "fno": fno,
            });
            rows.insert(guid(0xA, *id), row);
        }
        rows
    }
}

/// An amount of cents, as few digits as it takes.
fn amount(cents: i64) -> Value {
    let text = match (cents / 100, cents % 100) {
        (whole, 0) => whole.to_string(),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}"),
    };
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn guid(table: u32, id: usize) -> String {
    format!("{table:08x}-0000-4000-8000-{id:012x}")
}

/// Draws what happens.
struct World {
    random: StdRng,
    accounts: usize,
    number: u64,
}

impl World {
    fn next(&mut self) -> (Change, Message) {
        self.number += 1;
        let accounts = self.accounts;
        let random = &mut self.random;
        let id = random.random_range(0..accounts);
        let mut is = |of: u32| random.random_range(0..100) < of;
        let (is_gone, moves, clears) = (is(3), is(40), is(5));
        let whose = random.random_range(0..accounts);
        let account = |id| lookup("account", &guid(0xA, id));
        let builder = |table: &str, kind, id| record(table).id(guid(kind, id));
        let (change, event, table, source) = match random.random_range(0..100) {
            0..30 => {
                let name = moves.then(|| (!clears).then(|| format!("Customer {}", self.number)));
                let number = random.random_range(0..accounts);
                let number = is_gone_or(random, 20).then(|| Some(format!("C-{number}")));
                let country = Some(Some(["SE", "DE", "US", "FI"][id % 4].to_owned()));
                let limit = moves.then(|| (!clears).then(|| random.random_range(0..100_000)));
                let mut event = builder("account", 0xA, id).update();
                event = column(event, "name", &name);
                event = column(event, "accountnumber", &number);
                event = column(event, "address1_country", &country);
                event = match &limit {
                    None => event,
                    Some(None) => event.clear("creditlimit"),
                    Some(Some(limit)) => event.set("creditlimit", money(&limit.to_string())),
                };
                let change = Change::Account {
                    id,
                    name,
                    number,
                    country,
                    limit,
                };
                (change, event, "account", "dataverse")
            }
            30..55 => {
                let id = random.random_range(0..accounts * 3);
                let customer = moves.then(|| (!clears).then_some(whose));
                let mut event = builder("contact", 0xC, id)
                    .update()
                    .set("fullname", "A Person");
                event = match customer {
                    None => event,
                    Some(None) => event.clear("parentcustomerid"),
                    Some(Some(whose)) => event.set("parentcustomerid", account(whose)),
                };
                (
                    Change::Contact { id, customer },
                    event,
                    "contact",
                    "dataverse",
                )
            }
            55..90 => {
                let id = random.random_range(0..accounts * 3);
                let customer = moves.then(|| (!clears).then_some(whose));
                let cents = is_gone_or(random, 60).then(|| Some(random.random_range(0..1_000_000)));
                let closed = is_gone_or(random, 30).then(|| Some(is_gone_or(random, 50)));
                let mut event = builder("opportunity", 0xD, id).update();
                event = match customer {
                    None => event,
                    Some(None) => event.clear("customerid"),
                    Some(Some(whose)) => event.set("customerid", account(whose)),
                };
                if let Some(Some(cents)) = cents {
                    let text = format!("{}.{:02}00", cents / 100, cents % 100);
                    event = event.set("estimatedvalue", money(&text));
                }
                if let Some(Some(closed)) = closed {
                    event = event.set("statecode", choice(i64::from(closed)));
                }
                let change = Change::Opportunity {
                    id,
                    customer,
                    cents,
                    closed,
                };
                (change, event, "opportunity", "dataverse")
            }
            _ => {
                let table = "mserp_custcustomerv3entity";
                let id = random.random_range(0..accounts);
                let account = is_gone_or(random, 30).then(|| Some(format!("C-{whose}")));
                let name = Some(Some(format!("F&O {id}")));
                let mut event = builder(table, 0x4951, id).update();
                event = column(event, "mserp_customeraccount", &account);
                event = column(event, "mserp_organizationname", &name);
                (Change::Fno { id, account, name }, event, table, "fno")
            }
        };
        let (change, event, action) = match is_gone {
            true => (gone(&change), event.delete(), "delete"),
            false => (change, event, "update"),
        };
        (change, self.message(&event, (source, table, action)))
    }

    fn message(
        &self,
        event: &RecordBuilder,
        (source, table, action): (&str, &str, &str),
    ) -> Message {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", format!("e{}", self.number).as_str());
        headers.insert("ce-source", format!("/{source}/contoso").as_str());
        headers.insert(
            "ce-type",
            format!("d365.{source}.{table}.{action}").as_str(),
        );
        headers.insert("ce-datacontenttype", "application/json");
        let key = format!("{table}/{}", self.number % 97);
        headers.insert("ce-partitionkey", key.as_str());
        Message {
            subject: format!(
                "d365.{source}.contoso.record.{table}.{action}.{}",
                slot(&key)
            ),
            headers,
            body: event.body().into(),
        }
    }
}

fn is_gone_or(random: &mut StdRng, of: u32) -> bool {
    random.random_range(0..100) < of
}

fn column(event: RecordBuilder, name: &str, told: &Told<String>) -> RecordBuilder {
    match told {
        None => event,
        Some(None) => event.clear(name),
        Some(Some(text)) => event.set(name, text.as_str()),
    }
}

fn gone(change: &Change) -> Change {
    match change {
        Change::Account { id, .. } => Change::Gone("account", *id),
        Change::Contact { id, .. } => Change::Gone("contact", *id),
        Change::Opportunity { id, .. } => Change::Gone("opportunity", *id),
        Change::Fno { id, .. } => Change::Gone("fno", *id),
        Change::Gone(table, id) => Change::Gone(table, *id),
    }
}

/// A group of events, published; gives the place of the last.
async fn happen(stage: &Stage, world: &mut World, oracle: &mut Oracle, count: u64) -> Result<u64> {
    let mut messages = Vec::new();
    for _ in 0..count {
        let (change, message) = world.next();
        oracle.take(&change);
        messages.push(message);
    }
    let sequences = publish_messages(&stage.jetstream, &messages).await?;
    sequences.last().copied().context("no event")
}

async fn as_the_oracle(stage: &Stage, oracle: &Oracle) -> Result<()> {
    let found = all(&stage.host, "/customer-360").await?;
    let wanted = oracle.customers();
    ensure!(found == wanted, "{}", differing(&found, &wanted));
    let contacts = all(&stage.host, "/customer-360/contacts").await?;
    ensure!(
        contacts.len() == oracle.contacts.len(),
        "{} contacts",
        contacts.len()
    );
    let of: BTreeMap<String, Value> = all(&stage.host, "/customer-360/opportunities").await?;
    for (id, (customer, cents, closed)) in &oracle.opportunities {
        let customer = customer.map(|customer| guid(0xA, customer));
        let row = json!({ "customer": customer, "value": amount(*cents), "is_closed": closed });
        ensure!(
            of.get(&guid(0xD, *id)) == Some(&row),
            "{id}: {row}, not {:?}",
            of.get(&guid(0xD, *id))
        );
    }
    ensure!(
        of.len() == oracle.opportunities.len(),
        "{} opportunities",
        of.len()
    );
    Ok(())
}

#[test]
fn customers_are_those_of_the_oracle_and_a_new_build_takes_over_under_traffic() -> Result<()> {
    let is_long = environment::long();
    let (events, accounts) = if is_long {
        (1_000_000, 20_000)
    } else {
        (5_000, 200)
    };
    within(1_700, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).events("max_bytes = \"3GiB\"");
        let mut stage = Stage::of(broker, setup).await?;
        let random = StdRng::seed_from_u64(environment::seed()?);
        let mut world = World {
            random,
            accounts,
            number: 0,
        };
        let mut oracle = Oracle::default();
        let mut last = 0;
        while world.number < events {
            let left = (events - world.number).min(10_000);
            last = happen(&stage, &mut world, &mut oracle, left).await?;
        }
        let plugin = std::fs::read(environment::plugin("customer-360")?)?;
        let begun = Instant::now();
        stage.host.put_plugin("customer-360.wasm", &plugin)?;
        // Killed at a third of it, and at two thirds.
        let mut kills = vec![last / 3 * 2, last / 3];
        let mut peak = 0;
        loop {
            peak = peak.max(stage.host.resident_bytes().unwrap_or(0));
            let listed = listed(&stage.host, "customer-360").await;
            let position = listed
                .as_ref()
                .ok()
                .and_then(|one| one["current"]["position"].as_u64());
            let position = position.unwrap_or(0);
            if kills.last().is_some_and(|at| *at <= position) {
                kills.pop();
                stage.host.kill9();
                stage.host.start().await?;
            }
            if last <= position {
                break;
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(2_000),
                "at {position} of {last}"
            );
            sleep(Duration::from_millis(20)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        as_the_oracle(&stage, &oracle).await?;
        let listed_at = listed(&stage.host, "customer-360").await?;

        // Another build, under traffic, with a SIGKILL while it is built.
        let other = with_words(&plugin, &[("version = \"1.0.0\"", "version = \"2.0.0\"")])?;
        stage.host.put_plugin("customer-360.wasm", &other)?;
        until("the new build to begin", 60, async || {
            let listed = listed(&stage.host, "customer-360").await?;
            let has_begun =
                !listed["building"].is_null() || listed["current"]["version"] == "2.0.0";
            ensure!(has_begun);
            Ok(())
        })
        .await?;
        let rebuilding = Instant::now();
        stage.host.kill9();
        stage.host.start().await?;
        let (mut answers, mut place, mut versions) = (0, 0, Vec::new());
        loop {
            last = happen(&stage, &mut world, &mut oracle, 50).await?;
            peak = peak.max(stage.host.resident_bytes().unwrap_or(0));
            let said = ask(&stage.host, "/customer-360?order=-open_value&limit=20", &[]).await?;
            let said = said.is(200)?;
            answers += 1;
            let position: u64 = said
                .headers
                .get("sluice-position")
                .context("none")?
                .parse()?;
            ensure!(place <= position, "back from {place} to {position}");
            place = position;
            let version = said.body["version"].as_str().context("none")?.to_owned();
            if versions.last() != Some(&version) {
                versions.push(version);
            }
            ensure!(versions.len() <= 2, "{versions:?}");
            ensure!(said.rows()?.len() == 20, "{said:?}");
            if versions.len() == 2
                || listed(&stage.host, "customer-360").await?["current"]["version"] == "2.0.0"
            {
                break;
            }
            ensure!(
                rebuilding.elapsed() < Duration::from_secs(1_500),
                "never swapped"
            );
            // Some hundred events a second.
            sleep(Duration::from_millis(100)).await;
        }
        let rebuilt = rebuilding.elapsed().as_secs_f64();
        reached(&stage.host, "customer-360", last, 60).await?;
        as_the_oracle(&stage, &oracle).await?;
        let figures = json!({
            "events": events,
            "customers": listed_at["current"]["rows"]["customers"],
            "events_a_second": (events as f64 / seconds).round(),
            "seconds": seconds,
            "peak_resident_mib": peak >> 20,
            "file_mib": listed_at["current"]["bytes"].as_u64().unwrap_or(0) >> 20,
            "rebuild_seconds": rebuilt,
            "answers_meanwhile": answers,
        });
        environment::write_figures("customer-360", &figures)?;
        stage.host.hush();
        Ok(())
    })
}
