//! Takes the interfaces `projector` and `rows`, gives their export and import: apart, since few
//! plug-ins have them.

wit_bindgen::generate!({
    path: "../wit",
    inline: "
        package sluicegate:sdk;
        world projection {
            import sluicegate:plugin/rows@0.1.0;
            export sluicegate:plugin/projector@0.1.0;
        }
    ",
    world: "sluicegate:sdk/projection",
    generate_all,
    with: {
        "sluicegate:plugin/types@0.1.0": crate::bindings::sluicegate::plugin::types,
    },
    pub_export_macro: true,
    export_macro_name: "export_projector",
    default_bindings_module: "sluicegate_guest::__private::projection",
});
