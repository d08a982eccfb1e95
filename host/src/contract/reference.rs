//! Takes the contract, gives its reference in Markdown: every interface, function and type.

use std::fmt::{self, Write as _};

use wit_parser::{
    Function, Interface, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeOwner, World,
    WorldItem, WorldKey,
};

/// The page that `docs/wit.md` is.
///
/// # Errors
/// When `wit/` is no WIT, which the tests see.
pub fn reference() -> Result<String, String> {
    let (resolve, package) = super::resolve()?;
    let mut page = Page {
        resolve: &resolve,
        text: String::new(),
    };
    page.package(package).map_err(|error| error.to_string())?;
    Ok(page.text)
}

struct Page<'a> {
    resolve: &'a Resolve,
    text: String,
}

impl Page<'_> {
    fn package(&mut self, id: PackageId) -> fmt::Result {
        let resolve = self.resolve;
        let Some(package) = resolve.packages.get(id) else {
            return Ok(());
        };
        writeln!(self.text, "# {}\n", package.name)?;
        writeln!(
            self.text,
            "<!-- Written by `sluice wit --markdown`; a test compares. -->\n"
        )?;
        self.docs(package.docs.contents.as_deref())?;
        writeln!(self.text, "## Worlds\n")?;
        for id in package.worlds.values() {
            if let Some(world) = resolve.worlds.get(*id) {
                self.world(world)?;
            }
        }
        for (name, id) in &package.interfaces {
            if let Some(interface) = resolve.interfaces.get(*id) {
                self.interface(name, interface)?;
            }
        }
        let end = self.text.trim_end().len();
        self.text.truncate(end);
        self.text.push('\n');
        Ok(())
    }

    fn world(&mut self, world: &World) -> fmt::Result {
        writeln!(self.text, "### `{}`\n", world.name)?;
        self.docs(world.docs.contents.as_deref())?;
        let imports = world.imports.iter().map(|item| ("imports", item));
        for (what, (key, item)) in imports.chain(world.exports.iter().map(|item| ("exports", item)))
        {
            if let WorldItem::Interface { .. } = item {
                let name = self.interface_name(key);
                writeln!(self.text, "- {what} `{name}`")?;
            }
        }
        self.text.push('\n');
        Ok(())
    }

    fn interface_name(&self, key: &WorldKey) -> String {
        match key {
            WorldKey::Name(name) => name.clone(),
            WorldKey::Interface(id) => {
                let interface = self.resolve.interfaces.get(*id);
                interface
                    .and_then(|found| found.name.clone())
                    .unwrap_or_default()
            }
        }
    }

    fn interface(&mut self, name: &str, interface: &Interface) -> fmt::Result {
        writeln!(self.text, "## Interface `{name}`\n")?;
        self.docs(interface.docs.contents.as_deref())?;
        for (name, id) in &interface.types {
            if let Some(found) = self.resolve.types.get(*id) {
                self.type_def(name, found)?;
            }
        }
        for function in interface.functions.values() {
            self.function(function)?;
        }
        Ok(())
    }

    fn function(&mut self, function: &Function) -> fmt::Result {
        let params = function.params.iter();
        let params: Vec<String> = params
            .map(|param| format!("{}: {}", param.name, self.type_name(&param.ty)))
            .collect();
        let result = match &function.result {
            Some(result) => format!(" -> {}", self.type_name(result)),
            None => String::new(),
        };
        let (name, params) = (&function.name, params.join(", "));
        writeln!(self.text, "### `{name}: func({params}){result}`\n")?;
        self.docs(function.docs.contents.as_deref())
    }

    fn type_def(&mut self, name: &str, found: &TypeDef) -> fmt::Result {
        let members: Vec<(&str, String, Option<&str>)> = match &found.kind {
            TypeDefKind::Record(record) => record
                .fields
                .iter()
                .map(|field| {
                    (
                        &*field.name,
                        self.type_name(&field.ty),
                        field.docs.contents.as_deref(),
                    )
                })
                .collect(),
            TypeDefKind::Variant(variant) => variant
                .cases
                .iter()
                .map(|case| {
                    let payload = case.ty.as_ref().map(|payload| self.type_name(payload));
                    (
                        &*case.name,
                        payload.unwrap_or_default(),
                        case.docs.contents.as_deref(),
                    )
                })
                .collect(),
            TypeDefKind::Enum(cases) => cases
                .cases
                .iter()
                .map(|case| (&*case.name, String::new(), case.docs.contents.as_deref()))
                .collect(),
            // A name for a type of another interface.
            _ => return Ok(()),
        };
        writeln!(self.text, "### {} `{name}`\n", found.kind.as_str())?;
        self.docs(found.docs.contents.as_deref())?;
        for (name, holds, docs) in members {
            let holds = if holds.is_empty() {
                holds
            } else {
                format!(": `{holds}`")
            };
            let docs = docs
                .map(|docs| format!(". {}", one_line(docs)))
                .unwrap_or_default();
            writeln!(self.text, "- `{name}`{holds}{docs}")?;
        }
        self.text.push('\n');
        Ok(())
    }

    fn docs(&mut self, docs: Option<&str>) -> fmt::Result {
        for line in docs.into_iter().flat_map(str::lines) {
            writeln!(self.text, "{}", line.trim_end())?;
        }
        if docs.is_some() {
            self.text.push('\n');
        }
        Ok(())
    }

    fn type_name(&self, found: &Type) -> String {
        let Type::Id(id) = found else {
            return match found {
                Type::String => "string".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            };
        };
        let Some(found) = self.resolve.types.get(*id) else {
            return String::new();
        };
        if let (Some(name), TypeOwner::Interface(_) | TypeOwner::World(_)) =
            (&found.name, found.owner)
        {
            return name.clone();
        }
        let of = |inner: &Type| self.type_name(inner);
        let or_nothing = |inner: &Option<Type>| inner.as_ref().map_or("_".to_owned(), of);
        match &found.kind {
            TypeDefKind::Option(inner) => format!("option<{}>", of(inner)),
            TypeDefKind::List(inner) => format!("list<{}>", of(inner)),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<String> = tuple.types.iter().map(of).collect();
                format!("tuple<{}>", types.join(", "))
            }
            TypeDefKind::Result(result) => {
                format!(
                    "result<{}, {}>",
                    or_nothing(&result.ok),
                    or_nothing(&result.err)
                )
            }
            TypeDefKind::Type(inner) => of(inner),
            other => other.as_str().to_owned(),
        }
    }
}

fn one_line(docs: &str) -> String {
    docs.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_what_the_contract_says() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wit.md");
        let page = std::fs::read_to_string(page).expect("docs/wit.md");
        let now = super::reference().expect("wit/ is WIT");
        assert!(
            page == now,
            "write it again: sluice wit --markdown > docs/wit.md"
        );
    }
}
