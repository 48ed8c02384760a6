//! The two ways in which info dictionaries describe files, walked token by token.

use std::cell::Cell;

use super::digest::Digest;
use super::{InfoError, PATH_DEPTH, Token, Tokens};
use crate::base::flags::{FlagSet, flags};

flags! {
    /// A thing that BEP 47 may say of a file.
    pub enum Attribute {
        /// Padding between files, no content.
        Pad,
        /// A symbolic link, whose length counts as 0.
        Symlink,
        /// Executable.
        Executable,
        /// Hidden.
        Hidden,
    }
}

/// What BEP 47 says of a file.
pub type Attributes = FlagSet<Attribute>;

/// What the names of pad files begin with that BitComet wrote before BEP 47: a number follows, and
/// a request in some language to update it (52.5).
const BITCOMET_PAD: &[u8] = b"_____padding_file_";

/// Whether a file of this name, of which no attribute is given, is one of those pad files.
fn is_bitcomet_pad(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(BITCOMET_PAD) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits).is_none_or(|next| *next == b'_')
}

impl Attributes {
    /// What `attr` says of the file at `path`, or if it says nothing, what the name does.
    fn of_file(letters: Option<&[u8]>, path: &[&[u8]]) -> Self {
        let silent = letters.unwrap_or_default().is_empty();
        if silent && path.last().is_some_and(|name| is_bitcomet_pad(name)) {
            return Self::of([(Attribute::Pad, true)]);
        }
        Self::from_bytes(letters)
    }

    /// Reads the letters of an `attr` string; unknown ones mean nothing.
    pub(super) fn from_bytes(letters: Option<&[u8]>) -> Self {
        let has = |letter| letters.is_some_and(|letters| letters.contains(&letter));
        Self::of([
            (Attribute::Pad, has(b'p')),
            (Attribute::Symlink, has(b'l')),
            (Attribute::Executable, has(b'x')),
            (Attribute::Hidden, has(b'h')),
        ])
    }
}

/// One file of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'f> {
    /// Raw components, outermost first, at most [`PATH_DEPTH`]. Hostile: never give them to a file
    /// system.
    pub path: &'f [&'f [u8]],
    /// Bytes; 0 for a symlink.
    pub length: u64,
    /// What BEP 47 says of it.
    pub attributes: Attributes,
    /// Of `path`: what compares paths without reading them again.
    pub(super) path_digest: u64,
}

impl<'f> File<'f> {
    pub(super) fn new(
        path: &'f [&'f [u8]],
        path_digest: u64,
        length: u64,
        attributes: Attributes,
    ) -> Self {
        let length = if attributes.contains(Attribute::Symlink) { 0 } else { length };
        Self { path, length, attributes, path_digest }
    }
}

/// Which of the two descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `files` (BEP 3).
    List,
    /// `file tree` (BEP 52).
    Tree,
}

/// What is kept while walking: one path, and what was found wrong.
#[derive(Debug)]
pub(super) struct Walker<'a, 'w> {
    path: Vec<&'a [u8]>,
    path_utf8: Vec<&'a [u8]>,
    /// Of a path without names.
    root: Digest<'w>,
    /// In a tree: of the path up to each of its names. Without these, each file would cost its
    /// whole path: a long directory name and many small files are work without end.
    digests: Vec<Digest<'w>>,
    pub(super) bad_path: bool,
    pub(super) bad_tree: bool,
}

/// Where files go.
trait Visit: FnMut(Shape, File<'_>) -> Result<(), InfoError> {}
impl<F: FnMut(Shape, File<'_>) -> Result<(), InfoError>> Visit for F {}

impl<'a, 'w> Walker<'a, 'w> {
    /// Counts the bytes that it hashes into `hashed`.
    pub(super) fn new(hashed: &'w Cell<u64>) -> Self {
        Self {
            path: Vec::new(),
            path_utf8: Vec::new(),
            root: Digest::new(hashed),
            digests: Vec::new(),
            bad_path: false,
            bad_tree: false,
        }
    }

    /// Reads the next value, whatever it is; `false` if it was not of this shape.
    pub(super) fn walk(
        &mut self,
        shape: Shape,
        reader: &mut Tokens<'a>,
        visit: &mut impl FnMut(Shape, File<'_>) -> Result<(), InfoError>,
    ) -> Result<bool, InfoError> {
        match shape {
            Shape::List => self.walk_list(reader, visit),
            Shape::Tree => self.walk_tree(reader, visit),
        }
    }

    fn walk_list(
        &mut self,
        reader: &mut Tokens<'a>,
        visit: &mut impl Visit,
    ) -> Result<bool, InfoError> {
        if !reader.enter_list()? {
            return Ok(false);
        }
        loop {
            match reader.next_token()? {
                Some(Token::Dict) => self.list_entry(reader, visit)?,
                Some(Token::End) | None => return Ok(true),
                Some(_) => return Err(InfoError::BadFile),
            }
        }
    }

    /// One dictionary of `files`; `path.utf-8` is preferred as LT does (3.5).
    fn list_entry(
        &mut self,
        reader: &mut Tokens<'a>,
        visit: &mut impl Visit,
    ) -> Result<(), InfoError> {
        self.path.clear();
        self.path_utf8.clear();
        let (mut length, mut letters) = (None, None);
        while let Some(key) = reader.next_key()? {
            match key {
                b"length" if length.is_none() => length = reader.int()?,
                b"attr" => letters = reader.bytes()?,
                b"path" if self.path.is_empty() => {
                    self.bad_path |= !read_path(reader, &mut self.path)?;
                }
                b"path.utf-8" if self.path_utf8.is_empty() => {
                    self.bad_path |= !read_path(reader, &mut self.path_utf8)?;
                }
                _ => {
                    reader.raw()?;
                }
            }
        }
        let path = if self.path_utf8.is_empty() { &self.path } else { &self.path_utf8 };
        let attributes = Attributes::of_file(letters, path);
        // Pad files need no path.
        self.bad_path |= path.is_empty() && !attributes.contains(Attribute::Pad);
        let length = readable(length, attributes)?;
        visit(Shape::List, File::new(path, self.root.clone().of(path), length, attributes))
    }

    /// Directories are dictionaries of names; the name "" holds what describes a file (52.1).
    fn walk_tree(
        &mut self,
        reader: &mut Tokens<'a>,
        visit: &mut impl Visit,
    ) -> Result<bool, InfoError> {
        if !reader.enter_dict()? {
            return Ok(false);
        }
        self.path.clear();
        self.digests.clear();
        // Whether the directory entered last already has an entry: then "" has siblings.
        let mut has_entries = false;
        let mut is_file = false;
        let root = reader.depth();
        while reader.depth() >= root {
            match reader.next_key()? {
                None => {
                    self.leave();
                    (has_entries, is_file) = (true, false);
                }
                Some(b"") => {
                    self.bad_tree |= has_entries || self.path.is_empty();
                    self.tree_entry(reader, visit)?;
                    (has_entries, is_file) = (true, true);
                }
                Some(name) => {
                    self.bad_tree |= is_file;
                    if reader.enter_dict()? {
                        self.enter(name);
                        (has_entries, is_file) = (false, false);
                    } else {
                        self.bad_tree = true;
                    }
                }
            }
        }
        Ok(true)
    }

    fn enter(&mut self, name: &'a [u8]) {
        let mut digest = self.digests.last().unwrap_or(&self.root).clone();
        digest.name(name);
        self.digests.push(digest);
        self.path.push(name);
    }

    fn leave(&mut self) {
        self.digests.pop();
        self.path.pop();
    }

    /// What describes the file at the current path.
    fn tree_entry(
        &mut self,
        reader: &mut Tokens<'a>,
        visit: &mut impl Visit,
    ) -> Result<(), InfoError> {
        if !reader.enter_dict()? {
            self.bad_tree = true;
            return Ok(());
        }
        let (mut length, mut root, mut letters) = (None, None, None);
        while let Some(key) = reader.next_key()? {
            match key {
                b"length" if length.is_none() => length = reader.int()?,
                b"pieces root" if root.is_none() => root = reader.bytes()?,
                b"attr" => letters = reader.bytes()?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        let attributes = Attributes::of_file(letters, &self.path);
        let digest = self.digests.last().unwrap_or(&self.root).value();
        let file = File::new(&self.path, digest, readable(length, attributes)?, attributes);
        let root_is_legal = root.is_some_and(|root| root.len() == 32 && root != [0; 32]);
        self.bad_tree |= file.length > 0 && !root_is_legal;
        visit(Shape::Tree, file)
    }
}

/// H39: a length that is there and not negative; a symlink needs none.
fn readable(length: Option<i64>, attributes: Attributes) -> Result<u64, InfoError> {
    match length.map(u64::try_from) {
        Some(Ok(length)) => Ok(length),
        None if attributes.contains(Attribute::Symlink) => Ok(0),
        _ => Err(InfoError::BadLength),
    }
}

/// Reads a list of strings into `path`; `false` if it is something else or too deep (H38).
fn read_path<'a>(reader: &mut Tokens<'a>, path: &mut Vec<&'a [u8]>) -> Result<bool, InfoError> {
    if !reader.enter_list()? {
        return Ok(false);
    }
    let mut legal = true;
    loop {
        match reader.next_token()? {
            Some(Token::Bytes(component)) if path.len() < PATH_DEPTH => path.push(component),
            Some(Token::End) | None => return Ok(legal),
            Some(other) => {
                legal = false;
                reader.skip(other)?;
            }
        }
    }
}
