//! A crate's modules as its source files spell them: which there are, what each one names, and
//! where a name leads through imports and re-exports. Nothing here judges.
//!
//! This reads tokens, not Rust: it knows `mod`, `use` and paths. That suffices because a path into
//! another module begins with `crate`, `self`, `super`, a child's name or an imported one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::source::without_comments_and_strings;

/// A module's path from the crate root; the root's own is empty.
pub(crate) type Module = Vec<String>;

/// One module: what it declares and what it names.
#[derive(Debug, Default)]
struct Content {
    /// Imported or re-exported names, and the path each stands for, from the crate root.
    names: BTreeMap<String, Module>,
    /// Every path that is imported or written out, from the crate root, with its line.
    paths: Vec<(Module, usize)>,
    /// Modules of which every name is re-exported.
    globs: Vec<Module>,
    /// Names of the items that it declares.
    items: BTreeSet<String>,
}

/// One module names something that another one owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: Module,
    pub(crate) to: Module,
    pub(crate) line: usize,
    /// The path as it was followed first, from the crate root.
    pub(crate) path: Module,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |module: &Module| match module.join("::") {
            root if root.is_empty() => "the crate root".to_owned(),
            path => path,
        };
        let Self { from, to, line, path } = self;
        write!(f, "{} line {line}: crate::{} is of {}", name(from), path.join("::"), name(to))
    }
}

/// A crate, read.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<Module, Content>);

impl Tree {
    /// Reads files given as path below `src` and text.
    pub(crate) fn new<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> Self {
        let mut tree = Self::default();
        let of_file = |path: &str| -> Module {
            let path = path.trim_end_matches(".rs");
            let path = path.trim_end_matches("/mod");
            path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
        };
        // Every file is known before the first is read: a path's first name may be a child's.
        for (path, _) in files {
            tree.0.entry(of_file(path.as_ref())).or_default();
        }
        for (path, text) in files {
            let code = without_comments_and_strings(text.as_ref());
            Reading { tree: &mut tree, tokens: &tokens(&code) }.module(&of_file(path.as_ref()));
        }
        tree
    }

    /// The modules directly in the crate root.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|module| module.first().map(String::as_str)).collect()
    }

    /// Every arrow from a module to one that is another.
    pub(crate) fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (from, content) in &self.0 {
            for (path, line) in &content.paths {
                for to in self.owners(path) {
                    if to != *from {
                        let (from, path) = (from.clone(), path.clone());
                        arrows.insert(Arrow { from, to, line: *line, path });
                    }
                }
            }
        }
        arrows
    }

    /// The modules that a path leads to: where its name is declared, and each module that
    /// re-exports it on the way, since the path needs that one as well.
    fn owners(&self, path: &[String]) -> Vec<Module> {
        let mut owners = Vec::new();
        let mut rest = path.to_vec();
        // A re-export of a re-export: no crate nests them deeper, and none goes round.
        for _ in 0..8 {
            let Some((owner, next)) = self.step(&rest) else { break };
            owners.push(owner);
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
        owners
    }

    /// How far a path goes through modules, and what its next name stands for if the module there
    /// imports it.
    fn step(&self, path: &[String]) -> Option<(Module, Option<Module>)> {
        let known = (0..=path.len()).rev().find(|len| self.0.contains_key(&path[..*len]))?;
        let (module, rest) = path.split_at(known);
        let content = self.0.get(module)?;
        let next = rest.first().and_then(|name| {
            let imported = content.names.get(name).cloned();
            let globbed = || {
                let glob = content.globs.iter().find(|glob| self.shows(glob, name, 8))?;
                Some(glob.iter().cloned().chain([name.clone()]).collect())
            };
            let stands_for: Module = imported.or_else(globbed)?;
            Some(stands_for.into_iter().chain(rest[1..].iter().cloned()).collect())
        });
        Some((module.to_vec(), next.filter(|next: &Module| next != path)))
    }

    /// Whether `name` can be had from `module`, by re-exports of all its names at most `depth`
    /// deep.
    fn shows(&self, module: &Module, name: &str, depth: usize) -> bool {
        let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
        self.0.contains_key(&child)
            || depth > 0
                && self.0.get(module).is_some_and(|content| {
                    content.items.contains(name)
                        || content.names.contains_key(name)
                        || content.globs.iter().any(|glob| self.shows(glob, name, depth - 1))
                })
    }
}

/// A word or a sign of the code, with its line.
#[derive(Clone, Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Words, `::`, and every other sign by itself.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let len = match c {
                _ if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
                _ if rest.starts_with("::") => 2,
                _ => c.len_utf8(),
            };
            let (text, next) = rest.split_at(len);
            if !c.is_whitespace() {
                tokens.push(Token { text, line: line + 1 });
            }
            rest = next;
        }
    }
    tokens
}

/// What stands before the name of an item.
const DECLARES: [&str; 8] = ["struct", "enum", "union", "trait", "fn", "type", "const", "static"];

/// Reads the tokens of one file into the tree.
struct Reading<'a, 't> {
    tree: &'t mut Tree,
    tokens: &'t [Token<'a>],
}

impl<'a> Reading<'a, '_> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// Reads the file of `module`, modules written inside it included.
    fn module(&mut self, module: &Module) {
        let mut at = 0;
        // Inline modules that are open, and how many braces were open before each.
        let mut inline: Vec<usize> = Vec::new();
        let (mut here, mut depth) = (module.clone(), 0);
        let mut spelled = Vec::new();
        while at < self.tokens.len() {
            match self.text(at) {
                "mod" if self.text(at + 2) == "{" => {
                    inline.push(depth);
                    here.push(self.text(at + 1).to_owned());
                    self.tree.0.entry(here.clone()).or_default();
                    (at, depth) = (at + 3, depth + 1);
                }
                "use" if self.text(at + 1) != "<" => at = self.import(&here, at + 1),
                "{" => (at, depth) = (at + 1, depth + 1),
                "}" => {
                    (at, depth) = (at + 1, depth - 1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        here.pop();
                    }
                }
                word => {
                    if DECLARES.contains(&word) {
                        let name = self.text(at + 1).to_owned();
                        self.content(&here).items.insert(name);
                    }
                    at = self.spelled(&here, at, &mut spelled);
                }
            }
        }
        // Names imported anywhere in the file are known by now.
        for (here, path, line) in spelled {
            if let Some(path) = self.absolute(&here, &path) {
                self.name(&here, path, line);
            }
        }
    }

    /// Reads a path written out in the code, if one begins at `at`; returns where to go on.
    fn spelled(
        &self,
        here: &Module,
        at: usize,
        spelled: &mut Vec<(Module, Vec<&'a str>, usize)>,
    ) -> usize {
        let mut end = at + 1;
        let mut path = vec![self.text(at)];
        while self.text(end) == "::" && is_word(self.text(end + 1)) {
            path.push(self.text(end + 1));
            end += 2;
        }
        let begins = at == 0 || self.text(at - 1) != "::";
        if path.len() > 1 && begins && is_word(path[0]) {
            spelled.push((here.clone(), path, self.tokens[at].line));
        }
        end
    }

    /// Reads the import that begins at `at`; returns where its semicolon is.
    fn import(&mut self, here: &Module, at: usize) -> usize {
        let end = (at..self.tokens.len()).find(|at| self.text(*at) == ";");
        let end = end.unwrap_or(self.tokens.len());
        // `pub use` or `pub(crate) use`
        let shown = at >= 2 && matches!(self.text(at - 2), "pub" | ")");
        self.imports(here, &[], at, end, shown);
        end
    }

    /// Reads one tree of an import, of which `prefix` stands before it; returns what follows it.
    fn imports(
        &mut self,
        here: &Module,
        prefix: &[&'a str],
        at: usize,
        end: usize,
        shown: bool,
    ) -> usize {
        let (mut at, line) = (at, self.tokens.get(at).map_or(0, |token| token.line));
        let mut path = prefix.to_vec();
        let mut alias = None;
        while at < end {
            match self.text(at) {
                "{" => {
                    at += 1;
                    while at < end && self.text(at) != "}" {
                        at = self.imports(here, &path, at, end, shown);
                        at += usize::from(self.text(at) == ",");
                    }
                    return at + 1;
                }
                "*" => {
                    if let Some(path) = self.absolute(here, &path) {
                        if shown {
                            self.content(here).globs.push(path.clone());
                        }
                        self.name(here, path, line);
                    }
                    return at + 1;
                }
                "as" => {
                    alias = Some(self.text(at + 1));
                    at += 2;
                }
                "::" => at += 1,
                "," | "}" => break,
                // In braces: the module itself.
                "self" if !path.is_empty() => at += 1,
                word => {
                    path.push(word);
                    at += 1;
                }
            }
        }
        if let Some(absolute) = self.absolute(here, &path) {
            if let Some(name) = alias.or(path.last().copied()) {
                self.content(here).names.insert(name.to_owned(), absolute.clone());
            }
            self.name(here, absolute, line);
        }
        at
    }

    fn content(&mut self, module: &Module) -> &mut Content {
        self.tree.0.entry(module.clone()).or_default()
    }

    fn name(&mut self, here: &Module, path: Module, line: usize) {
        self.content(here).paths.push((path, line));
    }

    /// A path from the crate root; `None` if it leads out of the crate or to something local.
    fn absolute(&self, here: &Module, path: &[&str]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut base = match *first {
            "crate" => Vec::new(),
            "self" => here.clone(),
            "super" => here[..here.len().saturating_sub(1)].to_vec(),
            name => self.first_name(here, name)?,
        };
        for name in rest {
            match *name {
                "super" => drop(base.pop()),
                "self" => {}
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// What the first name of a path stands for: a child, or what an import says. A module inside
    /// a file sees what `use super::*` brings, so the modules around it are asked as well.
    fn first_name(&self, here: &Module, name: &str) -> Option<Module> {
        (0..=here.len()).rev().find_map(|len| {
            let module = here[..len].to_vec();
            let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
            let imported = self.tree.0.get(&module).and_then(|content| content.names.get(name));
            // Only the module itself and those that it lies in as text see a child by its name.
            let is_child = self.tree.0.contains_key(&child) && len == here.len();
            imported.cloned().or_else(|| is_child.then_some(child))
        })
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
