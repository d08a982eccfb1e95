//! Promise: an operator sees what happens and mends it, in a browser, with a pointer or a
//! keyboard, wide or narrow, light or dark. The browser is a real one; where it cannot be had,
//! the tests say so.

use anyhow::Result;
use sluicegate_tests::scene::{browse, company, play, trickle};
use sluicegate_tests::{Setup, within};

#[test]
fn a_dead_letter_is_found_read_edited_replayed_and_seen_done() -> Result<()> {
    within(240, async {
        let stage = company(|setup| setup).await?;
        play(&stage).await?;
        browse(&stage, "dead_letter.mjs", &[]).await?;
        Ok(())
    })
}

#[test]
fn one_order_is_followed_through_three_plug_ins() -> Result<()> {
    within(240, async {
        let stage = company(|setup| setup).await?;
        play(&stage).await?;
        browse(&stage, "order.mjs", &[]).await?;
        Ok(())
    })
}

#[test]
fn a_saga_is_read_and_goes_on() -> Result<()> {
    within(240, async {
        let stage = company(|setup| setup).await?;
        play(&stage).await?;
        sluicegate_tests::journeys::is(&stage.broker, "journey/parked", "parked").await?;
        browse(&stage, "saga.mjs", &[]).await?;
        Ok(())
    })
}

#[test]
fn a_paused_plug_in_is_seen_to_fall_behind() -> Result<()> {
    within(240, async {
        let stage = company(|setup| setup).await?;
        play(&stage).await?;
        browse(&stage, "pause.mjs", &[]).await?;
        Ok(())
    })
}

#[test]
fn one_signs_in_with_a_token_and_a_viewer_has_no_buttons() -> Result<()> {
    within(240, async {
        let vera = "[[admin.user]]\nname = \"vera\"\nrole = \"viewer\"\ntoken = \"${VERA}\"\n";
        let guarded = |setup: Setup| {
            let setup = setup.guarded("an-operators-token");
            setup.variable("VERA", "a-viewers-token").with(vera)
        };
        let stage = company(guarded).await?;
        play(&stage).await?;
        let tokens = [
            ("OPERATOR", "an-operators-token"),
            ("VIEWER", "a-viewers-token"),
        ];
        browse(&stage, "sign_in.mjs", &tokens).await?;
        Ok(())
    })
}

/// `cargo xtask screenshots` keeps the pictures.
#[test]
fn every_page_reads_well_at_both_widths_in_light_and_dark() -> Result<()> {
    within(240, async {
        let stage = company(|setup| setup).await?;
        play(&stage).await?;
        // A replay to look at, and something in the audit.
        let url = stage.broker.url();
        let replay = [
            "replay",
            "--where",
            "reason=rejected",
            "--where",
            "plugin=mendable",
        ];
        sluicegate_tests::sluice::dlq(&url, &replay).await?.ok()?;
        sluicegate_tests::outputs::wait_dead_letters(&stage.jetstream, 43, 60).await?;
        let folder = std::env::var("SLUICE_SCREENSHOTS").unwrap_or_default();
        let folder = [("SLUICE_SCREENSHOTS", folder.as_str())];
        // Something flows meanwhile.
        tokio::select! {
            seen = browse(&stage, "every_page.mjs", &folder) => drop(seen?),
            stopped = trickle(&stage) => stopped?,
        }
        Ok(())
    })
}
