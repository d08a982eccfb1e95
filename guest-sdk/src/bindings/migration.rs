//! Takes the interface `migration`, gives its export: apart, since few plug-ins have it.

wit_bindgen::generate!({
    path: "../wit",
    inline: "
        package sluicegate:sdk;
        world migration {
            export sluicegate:plugin/migration@0.1.0;
        }
    ",
    world: "sluicegate:sdk/migration",
    pub_export_macro: true,
    export_macro_name: "export_migration",
    default_bindings_module: "sluicegate_guest::__private::migration",
});
