//! What is analysed together: a component, its manifest, and as much of the rest as is at hand.

use super::facts::{Carrier, CarrierKind, Facts};
use super::python::{Flaw, MAX_SOURCES, Source, Unread, positions};
use super::report::Report;
use super::rules::{Context, Findings, MALFORMED, wishes};
use super::strings::Strings;
use super::{assembly, document};
use crate::manifest::{Manifest, Runtime};
use crate::package::Package;
use crate::text::quote;

/// What is analysed together. More of it makes the report more complete; what is missing is no finding.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    component: &'a [u8],
    manifest: &'a Manifest,
    readme: Option<&'a str>,
    files: Vec<(&'a str, &'a [u8])>,
    previous: Option<&'a Manifest>,
}

impl<'a> Subject<'a> {
    /// An entrypoint and its manifest.
    #[must_use]
    pub fn new(component: &'a [u8], manifest: &'a Manifest) -> Self {
        Self { component, manifest, readme: None, files: Vec::new(), previous: None }
    }

    /// A whole package: entrypoint, manifest, README, and every other file.
    #[must_use]
    pub fn package(package: &'a Package) -> Self {
        let manifest = package.manifest();
        let looked_at = ["manifest.json", "README.md", manifest.entrypoint.as_str()];
        let files = package.archive().files().filter(|(name, _)| !looked_at.contains(name));
        let files = files.map(|(name, content)| (name, content.as_ref())).collect();
        Self { files, ..Self::new(package.entrypoint(), manifest) }.with_readme(package.readme())
    }

    /// With the README.
    #[must_use]
    pub fn with_readme(self, readme: &'a str) -> Self {
        Self { readme: Some(readme), ..self }
    }

    /// As an update of the version that has this manifest: what goes beyond it is found.
    #[must_use]
    pub fn replacing(self, previous: &'a Manifest) -> Self {
        Self { previous: Some(previous), ..self }
    }

    /// Analyses it. Never fails: what cannot be read is a finding that rejects.
    #[must_use]
    pub fn analyse(&self) -> Report {
        let manifest = self.manifest;
        if manifest.runtime != Runtime::Wasm {
            return self.analyse_native();
        }
        let facts = match Facts::of(self.component) {
            Ok(facts) => facts,
            Err(flaw) => {
                let mut findings = Findings::new(MALFORMED.id);
                findings.error(&flaw.place(), flaw.message().to_owned(), flaw.advice());
                return Report::new(findings.into_list(), Vec::new());
            }
        };
        let files = self.files.iter().map(|(name, data)| Carrier { kind: CarrierKind::File(name), data, offset: 0 });
        let carriers: Vec<_> = facts.carriers.iter().copied().chain(files).collect();
        let strings = Strings::of(&carriers);
        let context = Context {
            facts: &facts,
            manifest,
            previous: self.previous,
            readme: self.readme,
            carriers: &carriers,
            strings: &strings,
            noticed: document::noticed(manifest, self.readme),
            texts: Vec::new(),
            python: Vec::new(),
            unread: Vec::new(),
            wishes: (Vec::new(), false),
        };
        let findings = context.check();
        let imports = facts.imports.iter().map(|import| import.name.clone()).collect();
        Report::new(findings, imports)
    }

    /// A skill of another runtime: there is no component, and all of its files are looked at as they are.
    fn analyse_native(&self) -> Report {
        let manifest = self.manifest;
        let entrypoint = (manifest.entrypoint.as_str(), self.component);
        let files: Vec<_> = std::iter::once(entrypoint).chain(self.files.iter().copied()).collect();
        let carriers: Vec<_> =
            files.iter().map(|(name, data)| Carrier { kind: CarrierKind::File(name), data, offset: 0 }).collect();
        let strings = Strings::of(&carriers);
        let texts = files.iter().filter_map(|(name, data)| Some((*name, std::str::from_utf8(data).ok()?))).collect();
        let is_source = |name: &str| manifest.runtime.is_python() && (name == entrypoint.0 || name.ends_with(".py"));
        let (mut python, mut unread, mut read) = (Vec::new(), Vec::new(), 0);
        for (name, data) in files.iter().filter(|(name, _)| is_source(name)) {
            read += data.len();
            if read > MAX_SOURCES {
                let flaw = Flaw { line: 1, message: "it and the sources before it have more than 16 MiB" };
                unread.push(Unread { name, flaw });
                continue;
            }
            match Source::read(name, data) {
                Ok(source) => python.push(source),
                Err(flaw) => unread.push(flaw),
            }
        }
        let is_assembly = |name: &str| {
            let name = name.to_ascii_lowercase();
            manifest.runtime == Runtime::CSharp && (name.ends_with(".dll") || name.ends_with(".exe"))
        };
        let literals = python.iter().flat_map(|source| {
            source
                .literals()
                .map(|(token, _)| (format!("{}, line {}", source.name, token.line), token.text.to_string()))
        });
        let assemblies = files.iter().filter(|(name, _)| is_assembly(name)).flat_map(|(name, data)| {
            assembly::urls(data).map(move |(at, text)| (format!("file {}, byte {at:#x}", quote(name)), text))
        });
        let wishes = wishes(literals.chain(assemblies), manifest);
        let positions = positions(&python, manifest);
        let context = Context {
            facts: &Facts::default(),
            manifest,
            previous: self.previous,
            readme: self.readme,
            carriers: &carriers,
            strings: &strings,
            noticed: document::noticed(manifest, self.readme),
            texts,
            python,
            unread,
            wishes,
        };
        Report::new(context.check(), Vec::new()).with_hosts(context.wishes.0).with_positions(positions)
    }
}
