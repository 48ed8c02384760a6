//! One output of bytes: a locked file, or standard output. Blocks go out whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Bytes handed to the system in one write; only a block longer than this takes several.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// Something that rows are appended to.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// For messages: the path, or `standard output`.
    name: String,
    /// Bytes in it.
    len: u64,
    /// A regular file can be cut back after a failed write.
    regular: bool,
}

impl Output {
    /// A regular file of `len` bytes, opened for appending.
    pub fn file(file: File, name: String, len: u64) -> Self {
        Self { file, name, len, regular: true }
    }

    /// Standard output, past the line buffer of the standard library.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, name: "standard output".to_owned(), len: 0, regular: false })
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was ever written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `parts` as one block. On failure a file is cut back to what it was before.
    ///
    /// # Errors
    /// What the system said; the message names the output.
    pub fn append<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let (mut block, mut written) = (Vec::new(), 0);
        let mut result = Ok(());
        for part in parts {
            block.extend_from_slice(part);
            if block.len() >= WRITE_BYTES_MAX {
                result = self.file.write_all(&block);
                written += block.len() as u64;
                block.clear();
            }
            if result.is_err() {
                break;
            }
        }
        if let Err(error) = result.and_then(|()| self.file.write_all(&block)) {
            if self.regular {
                // Best effort: a torn end that stays is cut when the file is resumed.
                let _ = self.file.set_len(self.len);
            }
            return Err(io::Error::new(error.kind(), format!("{}: {error}", self.name)));
        }
        self.len += written + block.len() as u64;
        Ok(())
    }
}
