//! An answer taken apart: the keys of a KRPC message with their values as raw bencode, to be
//! bent and put together again, canonically or not.

use estudely_core::bencode::Reader;

/// Depth and tokens of an honest answer (B.7).
const DEPTH_MAX: usize = 10;
const TOKENS_MAX: u32 = 1_000;

/// A dictionary: keys, and values as bencode.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A message.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    /// All but `r`.
    pub(super) root: Pairs,
    /// The dictionary of an answer; `None` in errors.
    pub(super) reply: Option<Pairs>,
}

impl Raw {
    /// Takes an honest message apart.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut raw = Self { root: read_dict(bytes)?, reply: None };
        if let Some(at) = raw.root.iter().position(|(key, _)| key == b"r") {
            raw.reply = Some(read_dict(&raw.root.remove(at).1)?);
        }
        Some(raw)
    }

    /// Sets a key of the root.
    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>) {
        set(&mut self.root, key, value);
    }

    /// Sets a key of the answer, if this is one.
    pub(super) fn set_reply(&mut self, key: &[u8], value: Vec<u8>) {
        if let Some(reply) = &mut self.reply {
            set(reply, key, value);
        }
    }

    /// Sets a key of the answer where it stands already.
    pub(super) fn replace(&mut self, key: &[u8], value: Vec<u8>) {
        if self.get(key).is_some() {
            self.set_reply(key, value);
        }
    }

    /// Drops a key of the root.
    pub(super) fn unset(&mut self, key: &[u8]) {
        self.root.retain(|(other, _)| other != key);
    }

    /// Sets an argument of a query.
    pub(super) fn argue(&mut self, key: &[u8], value: Vec<u8>) {
        if let Some((_, arguments)) = self.root.iter_mut().find(|(key, _)| key == b"a")
            && let Some(mut pairs) = read_dict(arguments)
        {
            set(&mut pairs, key, value);
            *arguments = write_dict(&pairs);
        }
    }

    /// Drops a key of the answer.
    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(reply) = &mut self.reply {
            reply.retain(|(other, _)| other != key);
        }
    }

    /// A key of the answer.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let reply = self.reply.as_ref()?;
        reply.iter().find(|(other, _)| other == key).map(|(_, value)| &value[..])
    }

    /// The content of a key of the answer that is a string.
    pub(super) fn string(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader::<DEPTH_MAX>::new(self.get(key)?, TOKENS_MAX);
        reader.bytes().ok()?.map(<[u8]>::to_vec)
    }

    /// Canonical bencode, if the values are.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut root = self.root.clone();
        if let Some(reply) = &self.reply {
            set(&mut root, b"r", write_dict(reply));
        }
        write_dict(&root)
    }
}

/// A dictionary in the order given.
pub(super) fn write_dict(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, value) in pairs {
        out.extend(string(key));
        out.extend_from_slice(value);
    }
    out.push(b'e');
    out
}

/// A bencoded string.
pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{}:", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out
}

/// A bencoded integer.
pub(super) fn int(value: i64) -> Vec<u8> {
    format!("i{value}e").into_bytes()
}

/// A bencoded list of strings.
pub(super) fn list<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = vec![b'l'];
    strings.for_each(|bytes| out.extend(string(bytes)));
    out.push(b'e');
    out
}

fn set(pairs: &mut Pairs, key: &[u8], value: Vec<u8>) {
    match pairs.binary_search_by(|(other, _)| other[..].cmp(key)) {
        Ok(at) => pairs[at].1 = value,
        Err(at) => pairs.insert(at, (key.to_vec(), value)),
    }
}

fn read_dict(bytes: &[u8]) -> Option<Pairs> {
    let mut reader = Reader::<DEPTH_MAX>::new(bytes, TOKENS_MAX);
    let mut pairs = Vec::new();
    if !reader.enter_dict().ok()? {
        return None;
    }
    while let Some(key) = reader.next_key().ok()? {
        pairs.push((key.to_vec(), reader.raw().ok()?.to_vec()));
    }
    Some(pairs)
}
