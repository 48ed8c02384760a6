//! From an info dictionary's bytes to what a row says about the torrent: v1, v2 and hybrid
//! (BEP 3, 47, 52).
//!
//! The dictionary is what strangers wrote, verified but not sane. It is read in one pass over its
//! tokens, without recursion, without memory per file and without reading a name twice. What cannot
//! be read is an [`InfoError`]; what can be read but breaks a rule (H40-H43) is a flag. Names never
//! reach a file system.

use std::cell::Cell;
use std::fmt;

use crate::base::flags::{FlagSet, flags};
use crate::codec::bencode::{self, Reader, Token};
use crate::limits::{
    FILE_MAX, INFO_DEPTH, INFO_TOKENS, PATH_DEPTH, PAYLOAD_PIECES_MAX, PIECE_LENGTH_MAX, TOTAL_MAX,
    V2_PIECE_LENGTH_LOG_MIN,
};

pub use self::names::{display_name, terminal_name};

mod digest;
mod files;
mod names;

use self::digest::Digest;
use self::files::{Shape, Walker};

pub use self::files::{Attribute, Attributes, File};

/// The reader with the caps of info dictionaries.
type Tokens<'a> = Reader<'a, INFO_DEPTH>;

/// Which metadata version describes the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// BEP 3: `length` or `files`.
    V1,
    /// BEP 52: `file tree`.
    V2,
    /// Both; the v1 description is the one that counts here.
    Hybrid,
}

impl Protocol {
    /// The word that outputs use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        }
    }
}

flags! {
    /// A rule that a readable dictionary breaks.
    pub enum InfoFlag {
        /// Not canonical bencode, or bytes after the dictionary (B.2).
        NotCanonical,
        /// `piece length` missing or outside its range; for v2 also no power of two (H40, H42).
        BadPieceLength,
        /// `pieces` missing, too many, or not one per piece of the payload (H40).
        BadPieces,
        /// A file larger than any storage takes (H40).
        HugeFile,
        /// No files, or nothing in them (H41).
        Empty,
        /// Both `length` and `files` (H41).
        BothLayouts,
        /// `meta version` other than 2, or only one of it and `file tree` (H42).
        BadVersion,
        /// A `file tree` with an impossible entry or pieces root (H42).
        BadTree,
        /// The two descriptions of a hybrid differ, or its files are not aligned (H43).
        HybridMismatch,
        /// A file's path is missing, empty, deeper than [`PATH_DEPTH`] or not made of strings
        /// (H38).
        BadPath,
    }
}

/// Rules that a readable dictionary breaks.
pub type InfoFlags = FlagSet<InfoFlag>;

/// Why a verified info dictionary yields no row (M15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoError {
    /// Not bencode, or beyond its depth and token caps.
    NotBencode(bencode::Error),
    /// The root is no dictionary.
    NotDictionary,
    /// No string `name`.
    NoName,
    /// None of `length`, `files` and `file tree` is there in its type.
    NoLayout,
    /// An entry of `files` is no dictionary.
    BadFile,
    /// A length is missing, negative or no number (H39).
    BadLength,
    /// The lengths add up to more than [`TOTAL_MAX`] (H39).
    TooLarge,
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBencode(error) => return error.fmt(f),
            Self::NotDictionary => "not a dictionary",
            Self::NoName => "no name",
            Self::NoLayout => "neither length nor files",
            Self::BadFile => "a file that is no dictionary",
            Self::BadLength => "a length that is missing or negative",
            Self::TooLarge => "lengths add up to too much",
        })
    }
}

impl std::error::Error for InfoError {}

impl From<bencode::Error> for InfoError {
    fn from(error: bencode::Error) -> Self {
        Self::NotBencode(error)
    }
}

/// What a row says about a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `name.utf-8` if it is there, not empty and valid, else `name`; raw bytes.
    pub name: Vec<u8>,
    /// Files without pad files (BEP 47, 52.5).
    pub file_count: u64,
    /// Sum of their lengths in bytes; symlinks count 0.
    pub total_bytes: u64,
    /// `piece length` in bytes; 0 if unknown.
    pub piece_length: u64,
    /// Whether `private` is set (BEP 27).
    pub private: bool,
    /// Which metadata version describes the files.
    pub protocol: Protocol,
    /// Rules that it breaks.
    pub flags: InfoFlags,
}

impl Info {
    /// Reads an info dictionary.
    pub fn parse(raw: &[u8]) -> Result<Self, InfoError> {
        Self::parse_counting(raw, &Cell::new(0))
    }

    /// As [`Info::parse`]; adds to `hashed` the bytes that it hashed, on which besides its tokens
    /// its time depends. They are at most 4 for each byte of input: an empty name is 2 bytes, and
    /// 8 of its length are hashed. For tests, which count work instead of seconds.
    #[doc(hidden)]
    pub fn parse_counting(raw: &[u8], hashed: &Cell<u64>) -> Result<Self, InfoError> {
        let mut list = View::new(hashed);
        let mut tree = View::new(hashed);
        let top = Top::read(raw, hashed, &mut |shape, file| match shape {
            Shape::List => list.add(file),
            Shape::Tree => tree.add(file),
        })?;
        let name = top.best_name().ok_or(InfoError::NoName)?;
        let layout = top.layout()?;
        if layout == Layout::Single {
            list.add(top.single_file(&[name], hashed))?;
        }
        let piece_length = top.piece_length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let has_v2 = top.tree.is_some();
        let protocol = match layout {
            Layout::Tree => Protocol::V2,
            _ if has_v2 && top.meta_version == Some(2) => Protocol::Hybrid,
            _ => Protocol::V1,
        };
        let flags = top.flags(protocol, piece_length, &list, &tree);
        let view = if protocol == Protocol::V2 { tree } else { list };
        Ok(Self {
            name: name.to_vec(),
            file_count: view.files,
            total_bytes: view.total,
            piece_length,
            private: top.private.is_some_and(|private| private != 0),
            protocol,
            flags,
        })
    }
}

/// Calls `visit` for each file in order, pad files included: those that [`Info::parse`] counts,
/// with the path below the torrent's name, or the name alone for a single file. Linear time; memory
/// for one path. A `visit` that reads whole paths is not linear: in a tree the files of a directory
/// share its name.
pub fn for_each_file(raw: &[u8], mut visit: impl FnMut(File<'_>)) -> Result<(), InfoError> {
    let hashed = Cell::new(0);
    let top = Top::read(raw, &hashed, &mut |_, _| Ok(()))?;
    let (section, shape) = match top.layout()? {
        Layout::Single => {
            visit(top.single_file(&[top.best_name().unwrap_or_default()], &hashed));
            return Ok(());
        }
        Layout::List => (top.files, Shape::List),
        Layout::Tree => (top.tree, Shape::Tree),
    };
    let mut reader = Tokens::new(section.unwrap_or_default(), INFO_TOKENS);
    let mut walker = Walker::new(&hashed);
    walker.walk(shape, &mut reader, &mut |_, file| {
        visit(file);
        Ok(())
    })?;
    Ok(())
}

/// Which description of the files counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `length`.
    Single,
    /// `files`.
    List,
    /// `file tree`.
    Tree,
}

/// The top level of an info dictionary. Of repeated keys the first counts.
#[derive(Debug, Default)]
struct Top<'a> {
    name: Option<&'a [u8]>,
    name_utf8: Option<&'a [u8]>,
    piece_length: Option<i64>,
    pieces: Option<&'a [u8]>,
    length: Option<i64>,
    attributes: Attributes,
    private: Option<i64>,
    meta_version: Option<i64>,
    /// The exact bytes of a `files` list.
    files: Option<&'a [u8]>,
    /// The exact bytes of a `file tree` dictionary.
    tree: Option<&'a [u8]>,
    not_canonical: bool,
    bad_tree: bool,
    bad_path: bool,
}

impl<'a> Top<'a> {
    /// Reads everything once, calling `visit` for the files of both descriptions.
    fn read(
        raw: &'a [u8],
        hashed: &Cell<u64>,
        visit: &mut impl FnMut(Shape, File<'_>) -> Result<(), InfoError>,
    ) -> Result<Self, InfoError> {
        let mut reader = Tokens::new(raw, INFO_TOKENS);
        let mut top = Self::default();
        let mut walker = Walker::new(hashed);
        if !reader.enter_dict()? {
            return Err(InfoError::NotDictionary);
        }
        while let Some(key) = reader.next_key()? {
            match key {
                b"name" if top.name.is_none() => top.name = reader.bytes()?,
                b"name.utf-8" if top.name_utf8.is_none() => top.name_utf8 = reader.bytes()?,
                b"piece length" if top.piece_length.is_none() => top.piece_length = reader.int()?,
                b"pieces" if top.pieces.is_none() => top.pieces = reader.bytes()?,
                b"length" if top.length.is_none() => top.length = reader.int()?,
                b"private" if top.private.is_none() => top.private = reader.int()?,
                b"meta version" if top.meta_version.is_none() => {
                    top.meta_version = reader.int()?;
                }
                b"attr" => top.attributes = Attributes::from_bytes(reader.bytes()?),
                b"files" if top.files.is_none() => {
                    top.files = section(raw, &mut reader, |r| walker.walk(Shape::List, r, visit))?;
                }
                b"file tree" if top.tree.is_none() => {
                    top.tree = section(raw, &mut reader, |r| walker.walk(Shape::Tree, r, visit))?;
                }
                _ => {
                    reader.raw()?;
                }
            }
        }
        top.not_canonical = !reader.flags().is_canonical() || reader.position() != raw.len();
        top.bad_tree = walker.bad_tree;
        top.bad_path = walker.bad_path;
        Ok(top)
    }

    /// `name.utf-8` if it is there, not empty and valid, else `name`.
    fn best_name(&self) -> Option<&'a [u8]> {
        let valid = |name: &&[u8]| !name.is_empty() && std::str::from_utf8(name).is_ok();
        self.name_utf8.filter(valid).or(self.name).or(self.name_utf8)
    }

    /// The v1 description if there is one, `files` before `length`.
    fn layout(&self) -> Result<Layout, InfoError> {
        match (self.files, self.length, self.tree) {
            (Some(_), _, _) => Ok(Layout::List),
            (_, Some(0..), _) => Ok(Layout::Single),
            (_, _, Some(_)) => Ok(Layout::Tree),
            (_, Some(_), _) => Err(InfoError::BadLength),
            _ => Err(InfoError::NoLayout),
        }
    }

    /// The rules that are broken, by it or by the files of either description.
    fn flags(
        &self,
        protocol: Protocol,
        piece_length: u64,
        list: &View<'_>,
        tree: &View<'_>,
    ) -> InfoFlags {
        let v2_only = protocol == Protocol::V2;
        let empty = if v2_only { tree.total == 0 } else { list.total == 0 };
        let other_version = self.meta_version.is_some_and(|version| version != 2);
        let half_v2 = self.meta_version.is_some() != self.tree.is_some();
        let differs = protocol == Protocol::Hybrid && !list.agrees(tree, piece_length);
        FlagSet::of([
            (InfoFlag::NotCanonical, self.not_canonical),
            (InfoFlag::BadPieceLength, !piece_length_is_legal(piece_length, protocol)),
            (InfoFlag::BadPieces, !v2_only && !list.pieces_fit(self.pieces, piece_length)),
            (InfoFlag::HugeFile, list.huge_file || tree.huge_file),
            (InfoFlag::Empty, empty),
            (InfoFlag::BothLayouts, self.length.is_some() && self.files.is_some()),
            (InfoFlag::BadVersion, other_version || half_v2),
            (InfoFlag::BadTree, self.bad_tree),
            (InfoFlag::HybridMismatch, differs),
            (InfoFlag::BadPath, self.bad_path),
        ])
    }

    /// The one file of [`Layout::Single`].
    fn single_file<'f>(&self, path: &'f [&'f [u8]], hashed: &Cell<u64>) -> File<'f> {
        let length = self.length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        File::new(path, Digest::new(hashed).of(path), length, self.attributes)
    }
}

/// What `walk` consumed of the input, if it found what it was looking for.
fn section<'a>(
    raw: &'a [u8],
    reader: &mut Tokens<'a>,
    walk: impl FnOnce(&mut Tokens<'a>) -> Result<bool, InfoError>,
) -> Result<Option<&'a [u8]>, InfoError> {
    let start = reader.position();
    let found = walk(reader)?;
    Ok(raw.get(start..reader.position()).filter(|_| found))
}

fn piece_length_is_legal(piece_length: u64, protocol: Protocol) -> bool {
    let v2 =
        piece_length.is_power_of_two() && piece_length.trailing_zeros() >= V2_PIECE_LENGTH_LOG_MIN;
    (1..=PIECE_LENGTH_MAX).contains(&piece_length) && (protocol == Protocol::V1 || v2)
}

/// What one description of the files adds up to.
#[derive(Debug)]
struct View<'w> {
    /// Files without pad files.
    files: u64,
    /// Their bytes.
    total: u64,
    /// Bytes with pad files: where the next file starts.
    span: u64,
    /// Greatest common divisor of the offsets of files that have content.
    stride: u64,
    /// Over paths and lengths without pad files, to compare descriptions.
    digest: Digest<'w>,
    huge_file: bool,
}

impl<'w> View<'w> {
    fn new(hashed: &'w Cell<u64>) -> Self {
        let digest = Digest::new(hashed);
        Self { files: 0, total: 0, span: 0, stride: 0, digest, huge_file: false }
    }

    /// Takes as long for a file deep in a tree as for any other.
    fn add(&mut self, file: File<'_>) -> Result<(), InfoError> {
        self.huge_file |= file.length > FILE_MAX;
        if !file.attributes.contains(Attribute::Pad) {
            self.files += 1;
            self.total = self
                .total
                .checked_add(file.length)
                .filter(|total| *total <= TOTAL_MAX)
                .ok_or(InfoError::TooLarge)?;
            self.digest.number(file.path_digest);
            self.digest.number(file.length);
            if file.length > 0 {
                self.stride = gcd(self.stride, self.span);
            }
        }
        self.span = self.span.saturating_add(file.length);
        Ok(())
    }

    /// H40: one SHA-1 per piece of the payload.
    fn pieces_fit(&self, pieces: Option<&[u8]>, piece_length: u64) -> bool {
        let (Some(pieces), 1..) = (pieces, piece_length) else { return false };
        let count = self.span.div_ceil(piece_length);
        count <= PAYLOAD_PIECES_MAX && pieces.len() as u64 == 20 * count
    }

    /// H43: the same files in the same order, aligned to pieces in this, the v1, description.
    fn agrees(&self, tree: &Self, piece_length: u64) -> bool {
        self.files == tree.files
            && self.total == tree.total
            && self.digest.value() == tree.digest.value()
            && piece_length != 0
            && self.stride.is_multiple_of(piece_length)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
