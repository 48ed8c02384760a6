//! Rule 13, and the saved state's part of rule 10: reads snapshots with a reader of its own.
//!
//! `"DHT-Estudely state 2.0\n"`, then records of kind u8, length u32, 3 bytes of check over these,
//! body, and 8 bytes of sum over all of it. Check and sum are beginnings of a SHA-1 over a salt and
//! what they cover. Kind 1, twice at the front under a salt of its own, holds wall time and the
//! salt of all others; kind 2 our id and the depth of the table of one family; kind 3 the tables'
//! contacts; kind 7 ends the snapshot.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::address::{endpoint_key, ip_key, key};
use super::heard::Heard;
use super::krpc::compact;
use super::sets::Seen;
use crate::judge::rule::{Findings, MEMORY_BOUNDED, TABLE_SOUND};

/// The first line.
const MAGIC: &[u8] = b"DHT-Estudely state 2.0\n";
/// What the sums of heads cover beside their bytes.
const HEAD_SALT: [u8; 8] = *b"the head";
/// Bytes of a record before its body, and after it.
const HEADER: usize = 8;
const SUM: usize = 8;
/// Bytes that a state may have for each answering address, and for each infohash: what stands in
/// it for one, generously.
const PER_ADDRESS: u64 = 128;
const PER_INFOHASH: u64 = 512;
/// And for all else.
const BASE: u64 = 64 << 10;
/// Nodes that wait beside a full bucket may be saved with it (5.10).
const WAITING: usize = 8;

/// Judges a state file as it is now: a snapshot if `whole`, else only its length.
pub(super) fn check_saved(
    found: &mut Findings,
    heard: &Heard,
    bytes: &[u8],
    whole: bool,
    len: usize,
) {
    let (addresses, infohashes) = (heard.answered_ips.len() as u64, heard.infohashes.len() as u64);
    // Between two snapshots the same is said once more.
    let most = 2 * (BASE + addresses * PER_ADDRESS + infohashes * PER_INFOHASH);
    found.check(len as u64 <= most, MEMORY_BOUNDED, || {
        format!("{len} bytes of state for {addresses} addresses and {infohashes} infohashes")
    });
    if !whole {
        return;
    }
    match read(bytes) {
        Ok(tables) => tables.check(found, heard),
        Err(what) => found.fail(TABLE_SOUND, || format!("a snapshot that cannot be read: {what}")),
    }
}

/// Whether a snapshot holds contacts; not if it cannot be read.
pub(super) fn holds_contacts(bytes: &[u8]) -> bool {
    read(bytes).is_ok_and(|tables| !tables.contacts.is_empty())
}

/// What a snapshot says of the tables, by family.
#[derive(Debug, Default)]
struct SavedTables {
    ids: [[u8; 20]; 2],
    depths: [u8; 2],
    contacts: Vec<([u8; 20], SocketAddr)>,
}

/// Reads a whole snapshot.
fn read(bytes: &[u8]) -> Result<SavedTables, &'static str> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("not of this format")?;
    let mut salt = HEAD_SALT;
    let mut tables = SavedTables::default();
    for head in 0.. {
        let (kind, body, after) = record(if head < 2 { HEAD_SALT } else { salt }, rest)?;
        match kind {
            1 if head < 2 => salt = *body.last_chunk().ok_or("its head")?,
            _ if head < 2 => return Err("it has no two heads"),
            2 => tables.family(body).ok_or("a family")?,
            3 => tables.contacts(body).ok_or("its contacts")?,
            7 if after.is_empty() => return Ok(tables),
            7 => return Err("something follows its end"),
            _ => {}
        }
        rest = after;
    }
    Err("it has no end")
}

/// The record at the front: kind, body, and what follows it.
fn record(salt: [u8; 8], bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), &'static str> {
    let (&[kind, a, b, c, d, check @ ..], _) =
        bytes.split_first_chunk::<HEADER>().ok_or("cut short")?;
    let end = HEADER + u32::from_be_bytes([a, b, c, d]) as usize;
    let (framed, after) = bytes.split_at_checked(end).ok_or("cut short")?;
    let (sum, after) = after.split_first_chunk::<SUM>().ok_or("cut short")?;
    let right = digest(salt, &framed[..5]).starts_with(&check) && digest(salt, framed) == *sum;
    right.then_some((kind, &framed[HEADER..], after)).ok_or("a sum is wrong")
}

fn digest(salt: [u8; 8], bytes: &[u8]) -> [u8; SUM] {
    let mut sha = sha1_smol::Sha1::from(salt);
    sha.update(bytes);
    let mut sum = [0; SUM];
    sum.copy_from_slice(&sha.digest().bytes()[..SUM]);
    sum
}

impl SavedTables {
    fn family(&mut self, body: &[u8]) -> Option<()> {
        let (&family, rest) = body.split_first()?;
        let (id, rest) = rest.split_first_chunk::<20>()?;
        let (&depth, rest) = rest.split_first()?;
        let (&external, rest) = rest.split_first()?;
        let place = usize::from(family);
        *self.ids.get_mut(place)? = *id;
        *self.depths.get_mut(place)? = depth;
        // An external address stands as family, IP and port.
        let len = [[0, 7], [0, 19]].get(place)?.get(usize::from(external))?;
        (rest.len() == *len).then_some(())
    }

    fn contacts(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((family, rest)) = body.split_first() {
            let (id, rest) = rest.split_first_chunk::<20>()?;
            let (addr, rest) = rest.split_at_checked(if *family == 0 { 6 } else { 18 })?;
            self.contacts.push((*id, compact(addr)?));
            body = rest;
        }
        Some(())
    }

    fn check(&self, found: &mut Findings, heard: &Heard) {
        let mut buckets: BTreeMap<(bool, usize), usize> = BTreeMap::new();
        let mut seen = Seen::default();
        for (id, addr) in &self.contacts {
            let fail = |found: &mut Findings, what: &str| {
                found.fail(TABLE_SOUND, || format!("{addr} stands in a table: {what}"));
            };
            let v6 = addr.is_ipv6();
            let own = &self.ids[usize::from(v6)];
            if id == own {
                fail(found, "it has our id");
            }
            if !heard.answered(*addr) {
                fail(found, "it never answered");
            }
            let depth = usize::from(self.depths[usize::from(v6)]).max(1);
            let bucket = shared_bits(id, own).min(depth - 1);
            let side = [u8::from(v6)];
            let prefix = match addr.ip() {
                IpAddr::V4(ip) => key(&[&ip.octets()[..3], &side, &[bucket as u8]]),
                IpAddr::V6(ip) => key(&[&ip.octets()[..8], &side, &[bucket as u8]]),
            };
            for (mark, what) in [
                (key(&[id, &side]), "its id stands there twice"),
                (ip_key(*addr), "its address stands there twice"),
                (prefix, "another of its network stands in the bucket"),
            ] {
                if !seen.insert(mark) {
                    fail(found, what);
                }
            }
            *buckets.entry((v6, bucket)).or_default() += 1;
        }
        for ((_, bucket), count) in buckets {
            let most = [128, 64, 32, 16].get(bucket).copied().unwrap_or(8) + WAITING;
            found.check(count <= most, TABLE_SOUND, || format!("{count} nodes in bucket {bucket}"));
        }
    }
}

fn shared_bits(a: &[u8; 20], b: &[u8; 20]) -> usize {
    let differing = a.iter().zip(b).position(|(a, b)| a != b);
    differing.map_or(160, |at| 8 * at + (a[at] ^ b[at]).leading_zeros() as usize)
}

impl Heard {
    /// Whether this endpoint ever answered a query.
    pub(super) fn answered(&self, addr: SocketAddr) -> bool {
        self.answered_endpoints().contains(&endpoint_key(addr))
    }
}

/// A snapshot as the format has it, for tests.
#[cfg(test)]
pub(super) fn snapshot(id: [u8; 20], contacts: &[([u8; 20], SocketAddr)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let (salt, wall) = ([7; 8], [0; 8]);
    let family = |family: u8| [&[family][..], &id, &[1, 0]].concat();
    let body: Vec<u8> = contacts
        .iter()
        .flat_map(|(id, addr)| {
            let IpAddr::V4(ip) = addr.ip() else { panic!("IPv4 only") };
            [&[0][..], id, &ip.octets(), &addr.port().to_be_bytes()].concat()
        })
        .collect();
    let head = [wall, salt].concat();
    for (salt, kind, body) in [
        (HEAD_SALT, 1, head.clone()),
        (HEAD_SALT, 1, head),
        (salt, 2, family(0)),
        (salt, 2, family(1)),
        (salt, 3, body),
        (salt, 7, Vec::new()),
    ] {
        let front = [&[kind][..], &(body.len() as u32).to_be_bytes()].concat();
        let framed = [&front[..], &digest(salt, &front)[..3], &body].concat();
        out.extend([&framed[..], &digest(salt, &framed)].concat());
    }
    out
}
