//! Each datagram that crosses the boundary, by its class, and which rules it concerns.

use std::net::SocketAddr;

use super::Checker;
use super::class::Class;
use super::krpc::{self, Received};
use super::sent::{Ask, Outgoing, Query, sent};
use super::transactions::Timing;
use crate::judge::rule::WELL_FORMED;

impl Checker {
    /// Judges a datagram by its class.
    pub(super) fn on_sent(&mut self, to: SocketAddr, payload: &[u8]) {
        let (bytes, (class, sent)) = (payload.len(), sent(payload));
        let found = &mut self.found;
        self.counters.on_sent(class, bytes);
        self.sessions.on_sent(found, to);
        self.ends.on_sent(found.now);
        self.heard.check_address(found, to);
        match class {
            Class::Query => {
                self.pace.on_query(found, to, bytes);
                self.families.on_sent(found.now, to);
            }
            Class::Reply | Class::Error => self.pace.on_answer(found, to, bytes),
            Class::Utp | Class::Unknown => {}
        }
        // After shutdown a uTP connection may still be ended.
        if !matches!(sent, Outgoing::Utp(packet) if packet.kind.ends()) {
            self.liveness.on_begun(found, "a datagram", to);
        }
        match sent {
            Outgoing::Query(query) => self.on_query(to, bytes, &query),
            Outgoing::Answer(answer) => {
                self.heard.check_form(found, to, bytes, answer.reply.map(|reply| reply.id));
                self.answers.on_answered(found, to, bytes, &answer);
            }
            Outgoing::Utp(packet) => {
                self.packets.on_sent(found, &self.heard, to, bytes, packet);
            }
            Outgoing::Wrong(what) => {
                found.fail(WELL_FORMED, || format!("to {to}: {what}: {}", payload.escape_ascii()))
            }
        }
    }

    fn on_query(&mut self, to: SocketAddr, bytes: usize, query: &Query<'_>) {
        let found = &mut self.found;
        self.heard.check_form(found, to, bytes, Some(query.id));
        self.answers.on_asked(found, to, query.read_only);
        self.heard.check_knowledge(found, to, query);
        self.counters.on_asked(to, query.ask);
        self.transactions.on_sent(found, &self.heard, to, query.transaction, query.ask);
        self.liveness.on_asked(found.now, to, query.ask);
        match query.ask {
            Ask::Sample => self.intervals.on_asked(found, to),
            Ask::GetPeers(hash) => {
                self.honest.on_sought(&*self.truth, &hash);
                // After an error a node is asked for a random key, which is nobody's infohash.
                if self.heard.is_infohash(&hash) {
                    self.ends.on_looked_up(found.now, &hash);
                }
                self.lookups.on_asked(found, &self.heard, &self.silence, to, &hash)
            }
            Ask::Ping | Ask::FindNode => {}
        }
    }

    pub(super) fn on_received(&mut self, from: SocketAddr, payload: &[u8]) {
        let (now, bytes) = (self.found.now, payload.len());
        if self.packets.takes(payload) {
            self.sessions.on_received(from);
            if self.packets.is_open(from) {
                self.silence.on_doubtful_life(now);
            }
            return self.counters.on_packet();
        }
        let received = krpc::received(payload);
        self.counters.on_received(received.class(), bytes);
        self.sessions.on_received(from);
        let (transaction, malformed) = match received {
            // Where uTP is off, a packet is one more thing that cannot be read.
            Received::Malformed | Received::Utp => return self.counters.on_malformed(),
            Received::Query(question) => {
                self.answers.on_question(now, from, bytes, question);
                return self.counters.on_question(question.whole);
            }
            Received::BadReply(transaction) => (transaction, true),
            Received::Reply(transaction, _) | Received::Error(transaction) => (transaction, false),
        };
        if malformed {
            self.counters.on_malformed();
        }
        let Some((open, timing)) = self.transactions.on_answer(now, from, transaction) else {
            if !malformed {
                self.counters.on_unmatched();
            }
            return;
        };
        let sure = timing != Timing::Doubtful;
        self.sessions.on_answer(now, from, sure);
        if sure {
            self.silence.on_life(now);
        }
        if open.ask == Ask::Sample && timing != Timing::Late {
            self.intervals.on_answered(from);
        }
        if !matches!(received, Received::Reply(_, reply) if reply.samples.is_some()) {
            self.liveness.on_no_samples(open.sent, from, open.ask);
        }
        match received {
            Received::Reply(_, reply) => self.on_reply(from, open.ask, &reply, timing),
            _ => match timing {
                Timing::InTime => self.counters.on_refused(open.ask),
                Timing::Late => self.counters.on_late_refused(),
                Timing::Doubtful => {}
            },
        }
    }

    /// A matched reply. What a doubtful one says may be known, and need not be.
    fn on_reply(&mut self, from: SocketAddr, ask: Ask, reply: &krpc::Reply<'_>, timing: Timing) {
        let now = self.found.now;
        let is_own = self.heard.is_own(&reply.id);
        self.heard.on_reply(from, ask, reply);
        self.intervals.on_claim(&reply.id, from);
        for (id, addr) in reply.contacts() {
            self.intervals.on_claim(&id, addr);
            self.sessions.on_named(addr);
        }
        match timing {
            Timing::InTime => self.counters.on_reply(from, ask, reply, is_own),
            Timing::Late => self.counters.on_late_reply(from, ask, reply, is_own),
            Timing::Doubtful => return self.counters.on_doubtful_reply(from, ask, reply, is_own),
        }
        let samples = ask == Ask::Sample && reply.samples.is_some() && !is_own;
        if samples {
            reply.infohashes().for_each(|hash| self.honest.on_heard(now, &self.rows, hash));
            self.intervals.on_samples(now, from, reply);
        }
        if !is_own {
            self.families.on_reply(now, from, reply);
            self.liveness.on_reply(now, from, samples);
        }
    }
}
