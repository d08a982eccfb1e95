//! Takes the steps and compensations of a saga, gives their names as constants, and what finds
//! them by name.

use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Receiver, ReceiverKind, ReturnType, Type,
};

const SHAPE: &str = "a step is `fn(&mut self, saga: &mut Saga) -> Step`, with up to four parameters \
                     of its event, such as `created: Data<Created>`; a compensation is \
                     `fn(&mut self, undo: &Undo) -> Outcome`, or with its data as one parameter more";

/// As many parameters of an event as a step may have.
const MOST_PARAMETERS: usize = 4;

/// The name of the step that a saga starts with.
const BEGIN: &str = "begin";

enum Kind {
    Step,
    Compensation,
}

struct Method<'a> {
    kind: Kind,
    item: &'a ImplItemFn,
    /// Behind `&mut self` and the saga.
    parameters: Vec<&'a Type>,
}

pub(crate) fn expand(options: &Tokens, item: Tokens) -> Result<Tokens, Error> {
    if !options.is_empty() {
        return Err(Error::new(
            options.span(),
            "#[saga] takes no options; what starts it and what it hears of is set in plugin.toml, \
             under [saga]",
        ));
    }
    let block: ItemImpl = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "#[saga] goes on an `impl` of what it keeps"))?;
    if let Some((path, _)) = &block.trait_ {
        return Err(Error::new(
            path.span(),
            "#[saga] goes on an `impl` of the type itself, not of a trait",
        ));
    }
    if !block.generics.params.is_empty() {
        let what = "a saga has no generic parameters";
        return Err(Error::new(block.generics.span(), what));
    }
    let methods = methods(&block)?;
    let is_begin = |method: &&Method<'_>| method.item.sig.ident == BEGIN;
    match methods.iter().find(is_begin).map(|method| &method.kind) {
        Some(Kind::Step) => {}
        Some(Kind::Compensation) | None => {
            let what = "a saga starts with the step `begin`, and this one has none: \
                        fn begin(&mut self, saga: &mut Saga, event: Event) -> Step";
            return Err(Error::new(block.self_ty.span(), what));
        }
    }
    Ok(generate(&block, &methods))
}

fn methods(block: &ItemImpl) -> Result<Vec<Method<'_>>, Error> {
    let methods = block.items.iter().map(|item| match item {
        ImplItem::Fn(method) => read(method),
        other => {
            let what = "#[saga] takes steps and compensations only; put this into another `impl`";
            Err(Error::new(other.span(), what))
        }
    });
    methods.collect()
}

fn read(item: &ImplItemFn) -> Result<Method<'_>, Error> {
    let signature = &item.sig;
    let wrong = |span: Span, what: &str| Err(Error::new(span, format!("{what}; {SHAPE}")));
    if let Some(token) = &signature.asyncness {
        return wrong(token.span(), "a step runs to its end and is not async");
    }
    if !signature.generics.params.is_empty() {
        let what = "a step has no generic parameters";
        return wrong(signature.generics.span(), what);
    }
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if is_reference(receiver) => {}
        Some(other) => return wrong(other.span(), "this has to be `&mut self`"),
        None => return wrong(signature.ident.span(), "it takes nothing"),
    }
    let (kind, span) = match inputs.next() {
        Some(FnArg::Typed(saga)) => match last_name(&saga.ty).as_deref() {
            Some("Saga") => (Kind::Step, saga.span()),
            Some("Undo") => (Kind::Compensation, saga.span()),
            _ => {
                return wrong(
                    saga.span(),
                    "this has to be `saga: &mut Saga` or `undo: &Undo`",
                );
            }
        },
        Some(FnArg::Receiver(_)) | None => {
            let what = "it takes neither `saga: &mut Saga` nor `undo: &Undo`, so it is no step and \
                        no compensation and belongs into another `impl`";
            return wrong(signature.ident.span(), what);
        }
    };
    if matches!(signature.output, ReturnType::Default) {
        return wrong(signature.ident.span(), "it returns nothing");
    }
    let mut parameters = Vec::new();
    for input in inputs {
        let FnArg::Typed(parameter) = input else {
            continue;
        };
        let of = last_name(&parameter.ty);
        if matches!(kind, Kind::Step) && of.as_deref() == Some("State") {
            let what = "a saga has no state but its own: make it a field of the type";
            return wrong(parameter.span(), what);
        }
        parameters.push(&*parameter.ty);
    }
    match kind {
        Kind::Step if MOST_PARAMETERS < parameters.len() => {
            return wrong(span, "it takes more than four parameters of its event");
        }
        Kind::Compensation if 1 < parameters.len() => {
            let what = "it takes more than one parameter: make one type of them";
            return wrong(span, what);
        }
        Kind::Step | Kind::Compensation => {}
    }
    Ok(Method {
        kind,
        item,
        parameters,
    })
}

fn is_reference(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(..))
}

/// `Saga` of `&mut saga::Saga`.
fn last_name(of: &Type) -> Option<String> {
    match of {
        Type::Reference(reference) => last_name(&reference.elem),
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

fn generate(block: &ItemImpl, methods: &[Method<'_>]) -> Tokens {
    let of = &block.self_ty;
    let constants = methods.iter().filter_map(constant);
    let (mut steps, mut step_names) = (Vec::new(), Vec::new());
    let (mut compensations, mut compensation_names) = (Vec::new(), Vec::new());
    for method in methods {
        let name = method.item.sig.ident.to_string();
        match method.kind {
            Kind::Step => {
                steps.push(step(method, &name));
                step_names.push(name);
            }
            Kind::Compensation => {
                compensations.push(compensation(method, &name));
                compensation_names.push(name);
            }
        }
    }
    quote! {
        #block

        impl #of {
            #(#constants)*
        }

        #[automatically_derived]
        impl ::sluicegate_guest::saga::Steps for #of {
            const STEPS: &'static [&'static str] = &[#(#step_names),*];
            const COMPENSATIONS: &'static [&'static str] = &[#(#compensation_names),*];

            fn __step(
                &mut self,
                name: &str,
                saga: &mut ::sluicegate_guest::saga::Saga,
                event: ::core::option::Option<::sluicegate_guest::Event>,
            ) -> ::sluicegate_guest::saga::Step {
                match name {
                    #(#steps)*
                    other => Err(::sluicegate_guest::saga::__private::unknown(other, Self::STEPS)),
                }
            }

            fn __compensate(
                &mut self,
                name: &str,
                undo: &::sluicegate_guest::saga::Undo,
                data: &[u8],
            ) -> ::sluicegate_guest::Outcome {
                match name {
                    #(#compensations)*
                    other => Err(::sluicegate_guest::saga::__private::unknown(
                        other,
                        Self::COMPENSATIONS,
                    )),
                }
            }
        }

        ::sluicegate_guest::__export_saga!(#of);
    }
}

/// `CREATED` of `created`, with its span, so that an editor finds the method.
fn constant(method: &Method<'_>) -> Option<Tokens> {
    let item = method.item;
    let name = item.sig.ident.to_string();
    if name == BEGIN {
        return None;
    }
    let constant = Ident::new(&name.to_uppercase(), item.sig.ident.span());
    let visible = &item.vis;
    let what = format!(
        "The {} `{name}`.",
        match method.kind {
            Kind::Step => "step",
            Kind::Compensation => "compensation",
        }
    );
    let of = match method.kind {
        Kind::Step if method.parameters.is_empty() => quote!(PlainStep),
        Kind::Step => quote!(EventStep),
        Kind::Compensation => {
            let data = match method.parameters.first() {
                Some(data) => quote!(#data),
                None => quote!(()),
            };
            quote!(Compensation::<#data>)
        }
    };
    Some(quote! {
        #[doc = #what]
        #visible const #constant: ::sluicegate_guest::saga::#of =
            ::sluicegate_guest::saga::#of::__of(#name);
    })
}

fn step(method: &Method<'_>, name: &str) -> Tokens {
    let ident = &method.item.sig.ident;
    let types = &method.parameters;
    let private = quote!(::sluicegate_guest::saga::__private);
    let checked = shape(method, quote!(::sluicegate_guest::saga::Step));
    if types.is_empty() {
        return quote! {
            #name => {
                #checked
                Self::#ident(self, saga)
            }
        };
    }
    let locals: Vec<Ident> = (0..types.len())
        .map(|at| format_ident!("parameter_{at}"))
        .collect();
    let takes = types.iter().zip(&locals).map(|(of, local)| {
        // A type that is none is reported here, at the parameter.
        quote_spanned!(of.span()=> #private::taken::<#of>(&mut call, last, &mut #local)?;)
    });
    quote! {
        #name => {
            #checked
            let event = event.ok_or_else(|| #private::without_event(name))?;
            let mut call = #private::call(event, saga.delivery().clone());
            #(let mut #locals = ::core::option::Option::None;)*
            for last in [false, true] {
                #(#takes)*
            }
            match (#(#locals,)*) {
                (#(::core::option::Option::Some(#locals),)*) => Self::#ident(self, saga, #(#locals),*),
                _ => Err(#private::without_event(name)),
            }
        }
    }
}

fn compensation(method: &Method<'_>, name: &str) -> Tokens {
    let ident = &method.item.sig.ident;
    let checked = shape(method, quote!(::sluicegate_guest::Outcome));
    match method.parameters.first() {
        None => quote! {
            #name => {
                #checked
                Self::#ident(self, undo)
            }
        },
        Some(of) => {
            let data = quote_spanned! {of.span()=>
                ::sluicegate_guest::saga::__private::data_of::<#of>(name, data)?
            };
            quote! {
                #name => {
                    #checked
                    let data = #data;
                    Self::#ident(self, undo, data)
                }
            }
        }
    }
}

/// A use of the method by its whole type: what is wrong is said at its name.
fn shape(method: &Method<'_>, gives: Tokens) -> Tokens {
    let ident = &method.item.sig.ident;
    let types = &method.parameters;
    let takes = match method.kind {
        Kind::Step => quote!(&mut ::sluicegate_guest::saga::Saga),
        Kind::Compensation => quote!(&::sluicegate_guest::saga::Undo),
    };
    quote_spanned! {ident.span()=>
        let _: fn(&mut Self, #takes, #(#types),*) -> #gives = Self::#ident;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(item: Tokens) -> String {
        let refused = expand(&Tokens::new(), item).expect_err("this shape must be refused");
        refused.to_string()
    }

    #[test]
    fn each_method_has_a_name_and_the_methods_stay() {
        let item = quote! {
            impl Order {
                fn begin(&mut self, saga: &mut Saga, event: Event) -> Step { todo() }
                fn created(&mut self, saga: &mut saga::Saga, created: Data<Created>) -> Step { todo() }
                fn late(&mut self, saga: &mut Saga) -> Step { todo() }
                pub fn cancel(&mut self, undo: &Undo, number: String) -> Outcome { todo() }
                fn release(&mut self, undo: &Undo) -> Outcome { todo() }
            }
        };
        let expanded = expand(&Tokens::new(), item.clone()).unwrap().to_string();
        assert!(expanded.starts_with(&item.to_string()), "{expanded}");
        for constant in [
            "const CREATED : :: sluicegate_guest :: saga :: EventStep",
            "const LATE : :: sluicegate_guest :: saga :: PlainStep",
            "pub const CANCEL : :: sluicegate_guest :: saga :: Compensation :: < String >",
            "const RELEASE : :: sluicegate_guest :: saga :: Compensation :: < () >",
            "& [\"begin\" , \"created\" , \"late\"]",
        ] {
            assert!(expanded.contains(constant), "{constant}: {expanded}");
        }
        assert!(!expanded.contains("const BEGIN"));
    }

    #[test]
    fn a_wrong_shape_is_refused_in_words() {
        let begin = quote!(
            fn begin(&mut self, saga: &mut Saga) -> Step {
                todo()
            }
        );
        for (item, word) in [
            (
                quote!(
                    fn x() {}
                ),
                "goes on an `impl`",
            ),
            (quote!(impl Steps for Order { #begin }), "not of a trait"),
            (quote!(impl<T> Order<T> { #begin }), "generic"),
            (quote!(impl Order {}), "starts with the step `begin`"),
            (
                quote!(impl Order { fn begin(&mut self, undo: &Undo) -> Outcome { todo() } }),
                "`begin`",
            ),
            (
                quote!(impl Order { #begin const A: u8 = 1; }),
                "another `impl`",
            ),
            (
                quote!(impl Order { #begin fn total(&self) -> u8 { 1 } }),
                "belongs into another",
            ),
            (
                quote!(impl Order { #begin fn a(saga: &mut Saga) -> Step { todo() } }),
                "`&mut self`",
            ),
            (
                quote!(impl Order { #begin fn a() -> Step { todo() } }),
                "takes nothing",
            ),
            (
                quote!(impl Order { #begin fn a(&mut self, event: Event) -> Step { todo() } }),
                "`undo: &Undo`",
            ),
            (
                quote!(impl Order { #begin fn a(&mut self, saga: &mut Saga) {} }),
                "returns nothing",
            ),
            (
                quote!(impl Order { #begin async fn a(&mut self, saga: &mut Saga) -> Step { todo() } }),
                "not async",
            ),
            (
                quote!(impl Order { #begin fn a<T>(&mut self, saga: &mut Saga) -> Step { todo() } }),
                "generic",
            ),
            (
                quote!(impl Order { #begin fn a(&mut self, saga: &mut Saga, s: State<u8>) -> Step { todo() } }),
                "a field",
            ),
            (
                quote!(impl Order { #begin fn a(&mut self, saga: &mut Saga, a: A, b: A, c: A, d: A, e: A) -> Step { todo() } }),
                "four",
            ),
            (
                quote!(impl Order { #begin fn a(&mut self, undo: &Undo, a: A, b: A) -> Outcome { todo() } }),
                "one type",
            ),
        ] {
            let message = refused(item);
            assert!(message.contains(word), "{word}: {message}");
        }
        let error = expand(&quote!(keep = "30d"), quote!(impl Order { #begin })).unwrap_err();
        assert!(error.to_string().contains("plugin.toml"), "{error}");
    }
}
