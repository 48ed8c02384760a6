//! Reading that takes long: how far it is, and a way to end it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far the reading of files is, shared with whoever waits for it.
#[derive(Debug, Default)]
pub struct Reading {
    read: AtomicU64,
    bytes: AtomicU64,
    cancelled: AtomicBool,
}

impl Reading {
    /// Has every read fail from now on.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// So many bytes more are to be read.
    pub(super) fn expect(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `file`, read as part of this.
    pub(super) fn along<'a>(&'a self, file: &'a File) -> Along<'a> {
        Along { reading: self, file }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) >> 20;
        let (read, bytes) = (mebibytes(&self.read), mebibytes(&self.bytes));
        write!(f, "reading what the outputs hold: {read} of {bytes} MiB")
    }
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Along<'a> {
    reading: &'a Reading,
    file: &'a File,
}

impl Read for Along<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reading.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("no longer wanted"));
        }
        let read = self.file.read(buf)?;
        self.reading.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Along<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_read_is_counted_until_it_is_no_longer_wanted() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![b'x'; 3 << 20]).expect("written");
        let reading = Reading::default();
        reading.expect(3 << 20);
        let mut along = reading.along(&file);
        along.seek(SeekFrom::Start(0)).expect("seeks");
        along.read_exact(&mut vec![0; 2 << 20]).expect("as many as that");
        assert_eq!(reading.to_string(), "reading what the outputs hold: 2 of 3 MiB");
        reading.cancel();
        assert!(along.read(&mut [0]).is_err());
    }
}
