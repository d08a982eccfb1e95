//! Takes the interface `steps`, gives its export: apart, since few plug-ins have it.

wit_bindgen::generate!({
    path: "../wit",
    inline: "
        package sluicegate:sdk;
        world saga {
            export sluicegate:plugin/steps@0.1.0;
        }
    ",
    world: "sluicegate:sdk/saga",
    with: { "sluicegate:plugin/types@0.1.0": crate::bindings::sluicegate::plugin::types },
    pub_export_macro: true,
    export_macro_name: "export_saga",
    default_bindings_module: "sluicegate_guest::__private::saga",
});
