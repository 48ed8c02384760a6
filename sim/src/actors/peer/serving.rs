//! What a peer answers to extension messages: its own extension handshake, pieces of metadata,
//! rejects, and what its vice makes of them.

use estudely_core::Instant;

use super::Peer;
use super::Step;
use super::hearing::{metadata_id, piece_asked_for};
use super::role::{ABSURD_SIZES, BAD_IDS, GARBLED, Point, Role};
use super::speech::{self, extended};
use super::timed::{SERVICE, Storm};
use crate::world::dht::World;
use crate::world::torrent::METADATA_PIECE_LEN;
use crate::world::vice::PeerVice;

/// Pieces without a request, from a peer that sends such: more than a fetcher overlooks (M8).
pub(super) const STRAYS: usize = 12;

impl Peer {
    /// Our extension handshake (10.1).
    pub(super) fn introduce(&mut self, world: &World, out: &mut Vec<u8>) {
        self.introduced = true;
        let len = i64::from(self.role.shown_len(world.metadata_len(self.torrent)));
        let mut size = Some(len);
        let name = speech::metadata_name(self.own_ids[usize::from(self.own_ids[1] != 0)]);
        let mut names = Some(name.as_str());
        match self.role.vice {
            Some(PeerVice::GarbledExtensions) => {
                return extended(out, 0, &[self.role.pick(&GARBLED)]);
            }
            Some(PeerVice::NoSize) => size = self.role.pick(&[None, Some(0)]),
            Some(PeerVice::AbsurdSize) => size = Some(self.role.pick(&ABSURD_SIZES)),
            Some(PeerVice::BadMetadataId) => names = self.role.pick(&BAD_IDS),
            Some(PeerVice::ChangingSize) if self.asked => size = Some(len + 1),
            _ => {}
        }
        let odd_keys = self.role.is(PeerVice::OddKeys);
        extended(out, 0, &[speech::introduction(names, size, odd_keys).as_bytes()]);
    }

    pub(super) fn handle_extended(
        &mut self,
        world: &World,
        now: Instant,
        (id, payload): (u8, &[u8]),
        out: &mut Vec<u8>,
    ) -> Step {
        if id == 0 {
            if let Some(id) = metadata_id(payload) {
                self.remote_id = id;
            }
            if !self.introduced {
                self.introduce(world, out);
            }
            if self.role.is(PeerVice::RequestStorm) && self.remote_id != 0 {
                self.timed.begin(now, Storm::Requests { id: self.remote_id }, out);
            }
            return Step::Continue;
        }
        // Ids are the receiver's own (10.2); a dialler that mixes them up is not understood.
        if !self.own_ids.contains(&id) || self.remote_id == 0 {
            return Step::Continue;
        }
        let Some(piece) = piece_asked_for(payload) else { return Step::Continue };
        if id == self.own_ids[1] {
            // It has heard of the second id: the first is no more.
            self.own_ids[0] = id;
        }
        let first = !std::mem::replace(&mut self.asked, true);
        self.answer(world, now, (piece, first), out)
    }

    /// What a request gets.
    fn answer(
        &mut self,
        world: &World,
        now: Instant,
        (piece, first): (i64, bool),
        out: &mut Vec<u8>,
    ) -> Step {
        if let Some(step) = self.role.leaves(Point::Asked) {
            return step;
        }
        let count = world.metadata_len(self.torrent).div_ceil(METADATA_PIECE_LEN);
        let some = u32::try_from(piece).is_ok_and(|piece| self.role.rejects(piece, count));
        match self.role.vice {
            Some(PeerVice::SilentAfterOffer) => return Step::Continue,
            Some(PeerVice::OneAtATime) => {
                self.timed.answer.get_or_insert((now + SERVICE, piece));
                return Step::Continue;
            }
            Some(PeerVice::Rejects) => return self.reject(piece, out),
            Some(PeerVice::RejectsSome) if some => return self.reject(piece, out),
            Some(PeerVice::ChangingSize) if first => self.introduce(world, out),
            Some(PeerVice::RemappedId) if first => {
                // Any other id that is one.
                self.own_ids[1] = self.own_ids[0] % 255 + 1;
                self.introduce(world, out);
            }
            Some(PeerVice::StrayPieces) if first => self.stray(world, count, out),
            _ => {}
        }
        self.serve(world, piece, out)
    }

    fn reject(&self, piece: i64, out: &mut Vec<u8>) -> Step {
        extended(out, self.remote_id, &[speech::reject_head(piece).as_bytes()]);
        Step::Continue
    }

    /// Pieces without a request: impossible ones, and where there are several the first one
    /// again and again (M8).
    fn stray(&mut self, world: &World, count: u32, out: &mut Vec<u8>) {
        let impossible = [-1, i64::from(count), i64::MAX, i64::MIN, 65_536];
        let total = Some(i64::from(world.metadata_len(self.torrent)));
        for stray in 0..STRAYS {
            if count > 1 && stray % 4 == 0 {
                let _ = self.serve(world, 0, out);
            } else {
                let head = speech::data_head(impossible[stray % impossible.len()], total, false);
                extended(out, self.remote_id, &[head.as_bytes(), b"nobody wants this"]);
            }
        }
    }

    /// One piece of metadata, or a reject for what does not exist (9.2).
    pub(super) fn serve(&mut self, world: &World, piece: i64, out: &mut Vec<u8>) -> Step {
        let Role { vice, whim } = self.role;
        let (torrent, role) = (self.torrent, self.role);
        let info = self.info.get_or_insert_with(|| shown(world, torrent, role));
        let start =
            usize::try_from(piece).ok().map(|p| p.saturating_mul(METADATA_PIECE_LEN as usize));
        let data = start.and_then(|start| info.get(start..)).filter(|rest| !rest.is_empty());
        let Some(data) = data.map(|rest| &rest[..rest.len().min(METADATA_PIECE_LEN as usize)])
        else {
            return self.reject(piece, out);
        };
        let len = info.len() as i64;
        let total = match vice {
            Some(PeerVice::NoTotalSize) => None,
            Some(PeerVice::OtherTotalSize) => Some(self.role.pick(&[len + 1, len - 1, -1])),
            _ => Some(len),
        };
        let (data, surplus): (_, &[u8]) = match vice {
            Some(PeerVice::ShortPiece) => (&data[..data.len() - 1 - whim % data.len()], b""),
            Some(PeerVice::LongPiece) => (data, &[b'e'; 512][..1 + whim % 512]),
            _ => (data, b""),
        };
        let head = speech::data_head(piece, total, self.role.is(PeerVice::OddKeys));
        let begun = out.len();
        extended(out, self.remote_id, &[head.as_bytes(), data, surplus]);
        if let Some(step) = self.role.leaves(Point::Piece) {
            out.truncate(begun + (out.len() - begun) / 2);
            return step;
        }
        if std::mem::take(&mut self.manners.repeats) {
            self.introduce(world, out);
        }
        Step::Continue
    }
}

/// The info dictionary as this peer shows it.
fn shown(world: &World, torrent: u32, role: Role) -> Vec<u8> {
    let mut info = world.torrent(torrent).info;
    let len = role.shown_len(info.len() as u32) as usize;
    info.resize(len, b'e');
    if role.is(PeerVice::BadHash) {
        info[role.whim % len] ^= 1;
    }
    info
}
