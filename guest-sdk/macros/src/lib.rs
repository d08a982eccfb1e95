//! Takes a function that handles one event, or carries state over, or the steps of a saga, gives
//! the export that the Sluicegate host calls.
//!
//! Use it through the crate `sluicegate-guest`, which re-exports it with what it expands to.

mod saga;

use proc_macro::TokenStream;
use proc_macro2::{Ident, Span, TokenStream as Tokens};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, ReturnType, Type};

/// An attribute on a function that takes an event.
struct Kind {
    name: &'static str,
    export: &'static str,
}

const CONSUMER: Kind = Kind {
    name: "consumer",
    export: "__export",
};
const PROJECTION: Kind = Kind {
    name: "projection",
    export: "__export_projection",
};

impl Kind {
    fn shape(&self) -> String {
        format!(
            "#[{}] goes on `fn(Event) -> Outcome`, or on one with other parameters that are \
             Extract, such as `fn(Record<Account>, Delivery) -> Outcome`",
            self.name
        )
    }
}

/// As many parameters as `Handler` is implemented for.
const MOST_PARAMETERS: usize = 6;

/// Makes a function the plug-in's handler of events.
///
/// It takes 1 to 6 parameters, each one `Extract`: `Event`, `Delivery`, `Record<T>`,
/// `BusinessEvent<T>`, `Data<T>`, `State<T>`; and returns an `Outcome`. There is one in a plug-in;
/// a second one is an error when linking. The function stays what it was, so that a test can call
/// it.
#[proc_macro_attribute]
pub fn consumer(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_as(&CONSUMER, options.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// Makes a function the one that takes events into the rows of a projection.
///
/// It is shaped like one under `#[consumer]`: 1 to 6 parameters, each one `Extract`, but no
/// `State<T>`, and returns an `Outcome`. The host calls it with each event that the manifest
/// subscribes to, one after another in the order of the store. The function stays what it was, so
/// that a test can call it.
#[proc_macro_attribute]
pub fn projection(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_as(&PROJECTION, options.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

const MIGRATION_SHAPE: &str = "#[migrate] goes on `fn(u16, String, Vec<u8>) -> Migrated`";

/// Makes a function the one that carries the plug-in's state over from an older version.
///
/// It takes the version that `migrate_from` in plugin.toml names, one of its keys and the value,
/// and returns what stands under `state_version` instead. The host calls it once for each key,
/// before the first event. The function stays what it was, so that a test can call it.
#[proc_macro_attribute]
pub fn migrate(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_migration(options.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// Makes the methods of an `impl` the steps of a saga, and what undoes them.
///
/// A method that takes `saga: &mut Saga` is a step and returns a `Step`; one that takes
/// `undo: &Undo` is a compensation and returns an `Outcome`. Each but `begin`, with which the saga
/// starts, gets a constant of its name in capitals, by which other steps refer to it. Anything
/// else belongs into another `impl`. The type is `Serialize`, `Deserialize` and `Default`.
#[proc_macro_attribute]
pub fn saga(options: TokenStream, item: TokenStream) -> TokenStream {
    saga::expand(&options.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand_migration(options: Tokens, item: Tokens) -> Result<Tokens, Error> {
    if !options.is_empty() {
        return Err(Error::new(
            options.span(),
            "#[migrate] takes no options; the versions are set in plugin.toml, as \
             `state_version` and `migrate_from`",
        ));
    }
    let function: ItemFn =
        syn::parse2(item).map_err(|error| Error::new(error.span(), MIGRATION_SHAPE))?;
    let signature = &function.sig;
    let is_plain = signature.asyncness.is_none()
        && signature.abi.is_none()
        && signature.generics.params.is_empty()
        && signature.inputs.len() == 3
        && !matches!(signature.output, ReturnType::Default);
    if !is_plain {
        return Err(Error::new(signature.ident.span(), MIGRATION_SHAPE));
    }
    let name = &signature.ident;
    Ok(quote! {
        #function

        const _: () = {
            // A wrong type is reported here, in the words of the shape that is wanted.
            const SHAPE: fn(u16, String, Vec<u8>) -> ::sluicegate_guest::Migrated = #name;
            ::sluicegate_guest::__export_migration!(SHAPE);
        };
    })
}

fn expand_as(kind: &Kind, options: Tokens, item: Tokens) -> Result<Tokens, Error> {
    if !options.is_empty() {
        return Err(Error::new(
            options.span(),
            format!(
                "#[{}] takes no options; limits, retries and subjects are set in plugin.toml",
                kind.name
            ),
        ));
    }
    let shape = kind.shape();
    let function: ItemFn = syn::parse2(item).map_err(|error| Error::new(error.span(), &shape))?;
    let name = &function.sig.ident;
    let export = Ident::new(kind.export, Span::call_site());
    // A type that is none is reported here, at the parameter.
    let checks = parameters(kind, &function)?
        .into_iter()
        .map(|parameter| quote_spanned!(parameter.span()=> ::sluicegate_guest::__is_extract::<#parameter>();));
    Ok(quote! {
        #function

        const _: () = {
            #(#checks)*
            ::sluicegate_guest::#export!(#name);
        };
    })
}

/// The types of the parameters.
fn parameters<'a>(kind: &Kind, function: &'a ItemFn) -> Result<Vec<&'a Type>, Error> {
    let signature = &function.sig;
    let shape = kind.shape();
    let wrong = |span: Span, what: &str| Err(Error::new(span, format!("{what}; {shape}")));
    if let Some(token) = &signature.asyncness {
        return wrong(
            token.span(),
            "the handler runs to its end in one call and is not async",
        );
    }
    if let syn::Safety::Unsafe(token) = &signature.safety {
        return wrong(token.span(), "the handler is safe to call");
    }
    if let Some(abi) = &signature.abi {
        return wrong(
            abi.span(),
            "the handler is a Rust function: the attribute makes the export",
        );
    }
    if !signature.generics.params.is_empty() {
        return wrong(
            signature.generics.span(),
            "the handler has no generic parameters",
        );
    }
    if let Some(receiver) = signature
        .inputs
        .iter()
        .find(|input| matches!(input, FnArg::Receiver(_)))
    {
        return wrong(
            receiver.span(),
            "the handler is a free function and has no `self`",
        );
    }
    if matches!(signature.output, ReturnType::Default) {
        return wrong(signature.ident.span(), "the handler returns nothing");
    }
    if signature.inputs.is_empty() {
        return wrong(signature.ident.span(), "the handler takes no event");
    }
    if signature.inputs.len() > MOST_PARAMETERS {
        let what = "the handler has more than 6 parameters";
        return wrong(signature.inputs.span(), what);
    }
    let types = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(parameter) => Some(&*parameter.ty),
        FnArg::Receiver(_) => None,
    });
    Ok(types.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(options: Tokens, item: Tokens) -> Result<Tokens, Error> {
        expand_as(&CONSUMER, options, item)
    }

    fn refused(item: Tokens) -> String {
        expand(Tokens::new(), item)
            .expect_err("this shape must be refused")
            .to_string()
    }

    #[test]
    fn every_shape_is_taken_and_the_function_stays() {
        for item in [
            quote!(
                fn handle(event: Event) -> Outcome {
                    Ok(())
                }
            ),
            quote!(
                pub fn handle(event: Event, delivery: Delivery) -> Outcome {
                    Ok(())
                }
            ),
            quote!(
                fn handle(Record { row, .. }: Record<Account>, mut seen: State<u64>) -> Outcome {
                    Ok(())
                }
            ),
        ] {
            let expanded = expand(Tokens::new(), item.clone()).unwrap().to_string();
            assert!(expanded.starts_with(&item.to_string()), "{expanded}");
            assert!(expanded.contains("__export"), "{expanded}");
        }
    }

    #[test]
    fn a_wrong_shape_is_refused_in_words() {
        for (item, word) in [
            (
                quote!(
                    struct Handler;
                ),
                "#[consumer] goes on",
            ),
            (
                quote!(
                    fn handle() -> Outcome {
                        Ok(())
                    }
                ),
                "takes no event",
            ),
            (
                quote!(
                    fn handle(event: Event) {}
                ),
                "returns nothing",
            ),
            (
                quote!(
                    async fn handle(event: Event) -> Outcome {
                        Ok(())
                    }
                ),
                "not async",
            ),
            (
                quote!(
                    fn handle<T>(event: T) -> Outcome {
                        Ok(())
                    }
                ),
                "generic",
            ),
            (
                quote!(
                    fn handle(&self, event: Event) -> Outcome {
                        Ok(())
                    }
                ),
                "free function",
            ),
            (
                quote!(
                    fn handle(a: A, b: A, c: A, d: A, e: A, f: A, g: A) -> Outcome {
                        Ok(())
                    }
                ),
                "6 parameters",
            ),
            (
                quote!(
                    unsafe fn handle(event: Event) -> Outcome {
                        Ok(())
                    }
                ),
                "safe to call",
            ),
            (
                quote!(
                    extern "C" fn handle(event: Event) -> Outcome {
                        Ok(())
                    }
                ),
                "Rust function",
            ),
        ] {
            let message = refused(item);
            assert!(message.contains(word), "{message}");
            assert!(message.contains("fn(Event) -> Outcome"), "{message}");
        }
    }

    #[test]
    fn a_migration_of_another_shape_is_refused_in_words() {
        let migration = quote!(
            fn carry(from: u16, key: String, value: Vec<u8>) -> Migrated {
                Ok(Vec::new())
            }
        );
        let expanded = expand_migration(Tokens::new(), migration.clone()).unwrap();
        assert!(expanded.to_string().contains("__export_migration"));
        let wrong = quote!(
            fn carry(key: String) -> Migrated {
                Ok(Vec::new())
            }
        );
        let error = expand_migration(Tokens::new(), wrong).unwrap_err();
        assert!(
            error.to_string().contains("fn(u16, String, Vec<u8>)"),
            "{error}"
        );
        let error = expand_migration(quote!(from = 1), migration).unwrap_err();
        assert!(error.to_string().contains("migrate_from"), "{error}");
    }

    #[test]
    fn a_projection_has_the_shape_of_a_consumer_and_an_export_of_its_own() {
        let item = quote!(
            fn apply(event: Event) -> Outcome {
                Ok(())
            }
        );
        let expanded = expand_as(&PROJECTION, Tokens::new(), item).unwrap();
        assert!(expanded.to_string().contains("__export_projection"));
        let wrong = quote!(
            fn apply(event: Event) {}
        );
        let error = expand_as(&PROJECTION, Tokens::new(), wrong).unwrap_err();
        assert!(error.to_string().contains("#[projection]"), "{error}");
    }

    #[test]
    fn options_are_refused() {
        let item = quote!(
            fn handle(event: Event) -> Outcome {
                Ok(())
            }
        );
        let error = expand(quote!(retries = 3), item).unwrap_err();
        assert!(error.to_string().contains("plugin.toml"), "{error}");
    }
}
