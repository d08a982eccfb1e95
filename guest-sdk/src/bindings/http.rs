//! Takes `wasi:http`, gives its imports: apart, since few plug-ins have them.

wit_bindgen::generate!({
    path: "../wit",
    inline: "
        package sluicegate:sdk;
        world http {
            import wasi:http/outgoing-handler@0.2.12;
        }
    ",
    world: "sluicegate:sdk/http",
    generate_all,
});
