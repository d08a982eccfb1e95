//! Subjects of a subscription, and the filters that come of them.

use super::error;
use crate::manifest::parse;

fn with_subjects(subjects: &[&str]) -> String {
    format!("[plugin]\nname = \"a\"\nversion = \"1\"\n[subscribe]\nsubjects = {subjects:?}\n")
}

#[test]
fn subjects_are_checked() {
    for good in [
        "d365.>",
        "d365.*",
        "d365.dataverse.*.record.account.*",
        "d365.dataverse.*.record.account.*.*",
        "d365.dataverse.*.record.account.update.15",
        "d365.dataverse.*.record.account.update.>",
        "d365.custom.acme",
    ] {
        assert!(parse(&with_subjects(&[good]), "p").is_ok(), "{good}");
    }
    for bad in [
        "",
        ">",
        "d365",
        "d365.",
        "d365..a",
        "d365.a.",
        ".d365.a",
        "d365.>.a",
        "d365.a*",
        "d365.a>",
        "d365.a b",
        "d365.a.b.c.d.e.16",
        "d365.a.b.c.d.e.03",
        "d365.a.b.c.d.e.f",
        "d365.a.b.c.d.e.f.g",
        "d365.a.b.c.d.e.f.>",
        "d365.replay.a",
        "d365.replay.>",
        "ledger.>",
        "D365.a",
    ] {
        let error = error(&with_subjects(&[bad]));
        assert!(
            error.starts_with("plugin.toml:5: [subscribe] subjects: found "),
            "{bad}: {error}"
        );
    }
    assert!(error(&with_subjects(&[])).contains("[subscribe] subjects is missing"));
    assert!(
        error("[plugin]\nname = \"a\"\nversion = \"1\"\n")
            .contains("[subscribe] subjects is missing")
    );
}

#[test]
fn filters_carry_the_slot() {
    let all: Vec<u8> = (0..16).collect();
    let filters = |subjects: &[&str], slots: &[u8]| {
        parse(&with_subjects(subjects), "p")
            .unwrap()
            .filter_subjects(slots)
    };
    let account = "d365.dataverse.*.record.account.*";
    assert_eq!(
        filters(&[account], &all),
        ["d365.dataverse.*.record.account.*.*"]
    );
    assert_eq!(
        filters(&[account], &[3, 11]),
        [
            "d365.dataverse.*.record.account.*.11",
            "d365.dataverse.*.record.account.*.3"
        ]
    );
    assert_eq!(filters(&["d365.custom.acme"], &[0]), ["d365.custom.acme.0"]);
    assert_eq!(filters(&["d365.>"], &all), ["d365.>"]);
    // With seven tokens the last is the slot already.
    assert_eq!(filters(&["d365.a.b.c.d.e.*"], &[2]), ["d365.a.b.c.d.e.2"]);
    assert_eq!(
        filters(&["d365.a.b.c.d.e.2"], &[2, 3]),
        ["d365.a.b.c.d.e.2"]
    );
    assert_eq!(filters(&["d365.a.b.c.d.e.2"], &[3]), [""; 0]);
    // What another subject contains is left out.
    assert_eq!(
        filters(&["d365.dataverse.>", account], &all),
        ["d365.dataverse.>"]
    );
    assert_eq!(
        filters(&["d365.a.b.c.d.e", "d365.a.*.c.d.*"], &[1]),
        ["d365.a.*.c.d.*.1"]
    );
    assert_eq!(
        filters(&["d365.a.b", "d365.a.c"], &all),
        ["d365.a.b.*", "d365.a.c.*"]
    );
}

#[test]
fn overlapping_subjects_are_refused() {
    let error = error(&with_subjects(&[
        "d365.dataverse.*.record",
        "d365.*.contoso.record",
    ]));
    assert!(
        error.starts_with("plugin.toml:5: [subscribe] subjects: "),
        "{error}"
    );
    for part in [
        "d365.dataverse.*.record.*",
        "d365.*.contoso.record.*",
        "overlap",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn open_subjects_need_one_partition() {
    let text = with_subjects(&["d365.a", "d365.dataverse.>"]) + "[delivery]\npartitions = 2\n";
    let error = error(&text);
    assert!(
        error.starts_with("plugin.toml:5: [subscribe] subjects: \"d365.dataverse.>\""),
        "{error}"
    );
    assert!(error.contains("partitions = 1"), "{error}");
}
