//! The shape of one torrent and its canonical bytes (BEP 3, 47, 52).

use estudely_core::bencode::Writer;

use super::names;
use super::{Facts, Version};

/// Bytes of a SHA-1 in `pieces` (BEP 3).
const PIECE_HASH_LEN: usize = 20;
/// Bytes of a `pieces root` (BEP 52).
const ROOT_LEN: usize = 32;
/// What an info dictionary takes without its hashes, names and files, roughly; a filler key makes
/// up the difference.
const FRAME_LEN: usize = 260;
/// What one file takes in a v1 list, roughly.
const V1_FILE_LEN: usize = 96;
/// What one file takes in a v2 tree, roughly.
const V2_FILE_LEN: usize = 104;

/// One file of a torrent.
struct File {
    /// Name of the folder, none for the top.
    folder: Option<&'static str>,
    name: String,
    length: u64,
    kind: FileKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Plain,
    Pad,
    Symlink,
}

/// A torrent before its bytes exist.
pub(super) struct Outline {
    pub(super) version: Version,
    name: Vec<u8>,
    name_utf8: Option<Vec<u8>>,
    files: Vec<File>,
    /// A v1 dictionary with `length` instead of `files`.
    single: bool,
    piece_length: u64,
    private: bool,
}

impl Outline {
    /// The shape of torrent `index` whose dictionary shall take about `size` bytes.
    pub(super) fn pick(draw: &mut fastrand::Rng, index: u32, size: u32) -> Self {
        let version = match draw.u32(0..100) {
            0..70 => Version::V1,
            70..90 => Version::Hybrid,
            _ => Version::V2,
        };
        let (name, name_utf8) = names::pick(draw, index);
        let piece_length = 16_384u64 << draw.u32(0..9);
        let named = name.len() + name_utf8.as_ref().map_or(0, Vec::len);
        let room = (size as usize).saturating_sub(FRAME_LEN + named);
        let mut outline = Self {
            version,
            name,
            name_utf8,
            files: Vec::new(),
            single: false,
            piece_length,
            private: draw.u32(0..100) == 0,
        };
        match version {
            Version::V2 => outline.pick_v2_files(draw, room),
            Version::V1 | Version::Hybrid => outline.pick_pieced_files(draw, room),
        }
        outline
    }

    /// v2 has no `pieces`: its size comes from the number of files alone.
    fn pick_v2_files(&mut self, draw: &mut fastrand::Rng, room: usize) {
        let count = (room / V2_FILE_LEN).max(1);
        self.single = count == 1;
        for number in 0..count {
            self.push_file(draw, number, count, FileKind::Plain);
        }
    }

    /// v1 and hybrid: some files, then as many pieces as the size leaves room for.
    fn pick_pieced_files(&mut self, draw: &mut fastrand::Rng, room: usize) {
        let hybrid = self.version == Version::Hybrid;
        // A hybrid lists every file twice, and a pad file after each.
        let each = if hybrid { V2_FILE_LEN + 2 * V1_FILE_LEN } else { V1_FILE_LEN };
        let most = (room / 2 / each).max(1);
        let wanted = match draw.u32(0..100) {
            0..50 => 1,
            50..97 => draw.usize(2..=12),
            _ => draw.usize(100..=500),
        };
        let count = wanted.min(most);
        self.single = count == 1;
        let pieces = (room.saturating_sub(count * each) / PIECE_HASH_LEN).max(1) as u64;
        if hybrid {
            self.spread_aligned(draw, count, pieces);
        } else {
            self.spread(draw, count, pieces);
        }
    }

    /// v1: lengths that add up to exactly `pieces` pieces, the last one perhaps short.
    fn spread(&mut self, draw: &mut fastrand::Rng, count: usize, pieces: u64) {
        let mut left = (pieces - 1) * self.piece_length + draw.u64(1..=self.piece_length);
        let symlink = count > 2 && draw.u32(0..12) == 0;
        let pad = count > 2 && draw.u32(0..12) == 0;
        for number in 0..count {
            let last = number + 1 == count;
            let kind = match number {
                1 if symlink => FileKind::Symlink,
                1 if pad => FileKind::Pad,
                _ => FileKind::Plain,
            };
            self.push_file(draw, number, count, kind);
            let length = match kind {
                FileKind::Symlink => 0,
                _ if last => left,
                _ => draw.u64(0..=left / 2),
            };
            left -= length;
            self.files[number].length = length;
        }
    }

    /// Hybrid: every file but the last is followed by padding to a piece's end (52.4).
    fn spread_aligned(&mut self, draw: &mut fastrand::Rng, count: usize, pieces: u64) {
        let mut pieces_left = pieces.max(count as u64);
        for number in 0..count {
            let files_after = (count - number - 1) as u64;
            let share = if files_after == 0 {
                pieces_left
            } else {
                draw.u64(1..=((pieces_left - files_after) / 2).max(1))
            };
            pieces_left -= share;
            let short = draw.u64(0..self.piece_length);
            self.push_file(draw, number, count, FileKind::Plain);
            self.files.last_mut().expect("just pushed").length = share * self.piece_length - short;
            if files_after > 0 && short > 0 {
                let name = short.to_string();
                let pad = File { folder: Some(".pad"), name, length: short, kind: FileKind::Pad };
                self.files.push(pad);
            }
        }
    }

    fn push_file(&mut self, draw: &mut fastrand::Rng, number: usize, count: usize, kind: FileKind) {
        // Folders in ascending order keep a hybrid's list in the order of its tree.
        let folder = match number * 4 / count {
            _ if count < 4 => None,
            0 => Some("docs"),
            1 => Some("extras, and \"more\""),
            2 => Some("動画"),
            _ => Some("画像"),
        };
        let name = format!("{number:05} – file.bin");
        self.files.push(File { folder, name, length: draw.u64(1..1 << 32), kind });
    }

    /// The bytes, filled up to `size` where that can be reached.
    pub(super) fn emit(&self, draw: &mut fastrand::Rng, size: usize) -> Vec<u8> {
        let filler = draw.clone();
        let mut out = Vec::with_capacity(size + FRAME_LEN);
        self.write(&mut filler.clone(), None, &mut out);
        if let Some(gap) = size.checked_sub(out.len()).and_then(gap_text_len) {
            out.clear();
            self.write(&mut filler.clone(), Some(gap), &mut out);
        }
        out
    }

    fn write(&self, draw: &mut fastrand::Rng, gap: Option<usize>, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.dict();
        if self.version != Version::V1 {
            self.write_tree(draw, &mut w);
        }
        if self.version != Version::V2 && !self.single {
            w.bytes(b"files").list();
            self.files.iter().for_each(|file| write_v1_file(file, &mut w));
            w.end();
        }
        if self.version != Version::V2 && self.single {
            w.bytes(b"length").int(self.payload() as i64);
        }
        if self.version != Version::V1 {
            w.bytes(b"meta version").int(2);
        }
        w.bytes(b"name").bytes(&self.name);
        if let Some(name) = &self.name_utf8 {
            w.bytes(b"name.utf-8").bytes(name);
        }
        w.bytes(b"piece length").int(self.piece_length as i64);
        if self.version != Version::V2 {
            let pieces = self.payload().div_ceil(self.piece_length) as usize;
            w.bytes(b"pieces").bytes_with(pieces * PIECE_HASH_LEN, |out| {
                append_random(draw, pieces * PIECE_HASH_LEN, out);
            });
        }
        if self.private {
            w.bytes(b"private").int(1);
        }
        if let Some(gap) = gap {
            w.bytes(b"source").bytes_with(gap, |out| out.resize(out.len() + gap, b'.'));
        }
        w.end();
    }

    /// The `file tree` (52.1): pad files are left out, folders are dictionaries.
    fn write_tree(&self, draw: &mut fastrand::Rng, w: &mut Writer<'_>) {
        w.bytes(b"file tree").dict();
        let mut open: Option<&str> = None;
        for file in self.files.iter().filter(|file| file.kind == FileKind::Plain) {
            if open != file.folder {
                if open.is_some() {
                    w.end();
                }
                if let Some(folder) = file.folder {
                    w.bytes(folder.as_bytes()).dict();
                }
                open = file.folder;
            }
            // A torrent of one file has it under its own name, as `name` says in v1.
            let name = if self.single { &self.name } else { file.name.as_bytes() };
            w.bytes(name).dict().bytes(b"").dict();
            w.bytes(b"length").int(file.length as i64);
            if file.length > 0 {
                w.bytes(b"pieces root").bytes_with(ROOT_LEN, |out| {
                    append_random(draw, ROOT_LEN, out);
                });
            }
            w.end().end();
        }
        if open.is_some() {
            w.end();
        }
        w.end();
    }

    /// Bytes that v1 pieces cover, padding included.
    fn payload(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// What a correct reader finds.
    pub(super) fn facts(&self) -> Facts {
        let real = || self.files.iter().filter(|file| file.kind != FileKind::Pad);
        Facts {
            name: names::display(&self.name, self.name_utf8.as_deref()),
            file_count: real().count() as u64,
            total_bytes: real().map(|file| file.length).sum(),
            piece_length: self.piece_length,
            private: self.private,
            version: self.version,
        }
    }
}

fn write_v1_file(file: &File, w: &mut Writer<'_>) {
    w.dict();
    match file.kind {
        FileKind::Plain => {}
        FileKind::Pad => drop(w.bytes(b"attr").bytes(b"p")),
        FileKind::Symlink => drop(w.bytes(b"attr").bytes(b"l")),
    }
    w.bytes(b"length").int(file.length as i64);
    w.bytes(b"path").list();
    if let Some(folder) = file.folder {
        w.bytes(folder.as_bytes());
    }
    w.bytes(file.name.as_bytes()).end();
    if file.kind == FileKind::Symlink {
        w.bytes(b"symlink path").list().bytes(b"docs").bytes(b"00000").end();
    }
    w.end();
}

/// How long the value of a `source` key must be for the key to fill exactly `gap` bytes, if any
/// length does.
fn gap_text_len(gap: usize) -> Option<usize> {
    let room = gap.checked_sub(b"6:source".len())?;
    (1..=8).find_map(|digits| {
        let len = room.checked_sub(digits + 1)?;
        (len.to_string().len() == digits).then_some(len)
    })
}

/// Appends `count` bytes that are never all zero in a root's length.
fn append_random(draw: &mut fastrand::Rng, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, 0);
    draw.fill(&mut out[start..]);
}
