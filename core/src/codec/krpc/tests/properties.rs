//! What holds for any message and any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::addr::Contact;

fn id() -> impl Strategy<Value = [u8; 20]> + Clone {
    any::<[u8; 20]>()
}

fn v4() -> impl Strategy<Value = SocketAddr> + Clone {
    any::<([u8; 4], u16)>().prop_map(SocketAddr::from)
}

fn v6() -> impl Strategy<Value = SocketAddr> + Clone {
    any::<([u8; 16], u16)>().prop_map(SocketAddr::from)
}

fn any_addr() -> impl Strategy<Value = SocketAddr> + Clone {
    prop_oneof![v4(), v6()]
}

fn contacts(addr: impl Strategy<Value = SocketAddr>) -> impl Strategy<Value = Vec<Contact>> {
    vec((id(), addr).prop_map(|(id, addr)| Contact { id: NodeId(id), addr }), 0..10)
}

/// Any envelope, with its transaction id owned.
#[derive(Clone, Debug)]
struct Wrapping {
    transaction: Vec<u8>,
    version: Option<[u8; 4]>,
    read_only: bool,
    external: Option<SocketAddr>,
}

impl Wrapping {
    fn any() -> impl Strategy<Value = Self> {
        let transaction = vec(any::<u8>(), 1..=TRANSACTION_LEN_MAX);
        (transaction, any::<Option<[u8; 4]>>(), any::<bool>(), proptest::option::of(any_addr()))
            .prop_map(|(transaction, version, read_only, external)| Self {
                transaction,
                version,
                read_only,
                external,
            })
    }

    fn envelope(&self) -> Envelope<'_> {
        let Self { ref transaction, version, read_only, external } = *self;
        Envelope { transaction, version, read_only, external }
    }

    fn matches(&self, message: &Message<'_>) -> bool {
        message.transaction == self.transaction
            && message.version == self.version.as_ref().map(|version| &version[..])
            && message.read_only == self.read_only
            && message.external == self.external
            && message.flags.is_clean()
    }
}

/// Any query but malformed ones, with its strings owned.
#[derive(Clone, Debug)]
enum Asked {
    Known(Ask),
    GetPeers([u8; 20], bool, bool),
    Announce([u8; 20], u16, bool, Vec<u8>, bool),
    Other(Vec<u8>, Option<[u8; 20]>),
}

impl Asked {
    fn any() -> impl Strategy<Value = Self> {
        let known = prop_oneof![
            Just(Ask::Ping),
            id().prop_map(|target| Ask::FindNode { target: Id(target) }),
            id().prop_map(|hash| Ask::GetPeers { info_hash: InfoHash(hash) }),
            id().prop_map(|target| Ask::SampleInfohashes { target: Id(target) }),
        ];
        let token = vec(any::<u8>(), 0..40);
        // Names longer than any known one, so that they stay unknown.
        let name = vec(any::<u8>(), 18..30);
        prop_oneof![
            known.prop_map(Self::Known),
            (id(), any::<bool>(), any::<bool>())
                .prop_map(|(hash, s, n)| Self::GetPeers(hash, s, n)),
            (id(), 1u16.., any::<bool>(), token, any::<bool>())
                .prop_map(|(hash, port, implied, t, s)| Self::Announce(hash, port, implied, t, s)),
            (name, proptest::option::of(id())).prop_map(|(name, id)| Self::Other(name, id)),
        ]
    }

    fn method(&self) -> Method<'_> {
        match *self {
            Self::Known(ask) => ask.method(),
            Self::GetPeers(hash, scrape, noseed) => {
                Method::GetPeers { info_hash: InfoHash(hash), scrape, noseed }
            }
            Self::Announce(hash, port, implied_port, ref token, seed) => {
                let info_hash = InfoHash(hash);
                Method::AnnouncePeer { info_hash, port, implied_port, token, seed }
            }
            Self::Other(ref name, target) => Method::Unknown { name, target: target.map(Id) },
        }
    }
}

/// Any answer, with its lists owned.
#[derive(Clone, Debug)]
struct Answer {
    id: NodeId,
    nodes: Vec<Contact>,
    nodes6: Vec<Contact>,
    values: Vec<SocketAddr>,
    token: Option<Vec<u8>>,
    samples: Option<Vec<InfoHash>>,
    numbers: (Option<i64>, Option<i64>),
    filters: (Option<[u8; BLOOM_LEN]>, Option<[u8; BLOOM_LEN]>),
}

impl Answer {
    fn any() -> impl Strategy<Value = Self> {
        // As many of everything as still fits DATAGRAM_LEN_MAX.
        let values = vec(any_addr(), 0..=12);
        let token = proptest::option::of(vec(any::<u8>(), 0..=40));
        let samples = proptest::option::of(vec(id().prop_map(InfoHash), 0..=20));
        let filter = || proptest::option::of(any::<u8>().prop_map(|byte| [byte; BLOOM_LEN]));
        let lists = (contacts(v4()), contacts(v6()), values, samples);
        (id(), lists, token, any::<(Option<i64>, Option<i64>)>(), (filter(), filter())).prop_map(
            |(id, (nodes, nodes6, values, samples), token, numbers, filters)| {
                let id = NodeId(id);
                Self { id, nodes, nodes6, values, token, samples, numbers, filters }
            },
        )
    }

    fn body(&self) -> ReplyBody<'_> {
        ReplyBody {
            id: self.id,
            nodes: &self.nodes,
            nodes6: &self.nodes6,
            values: &self.values,
            token: self.token.as_deref(),
            samples: self.samples.as_deref(),
            interval: self.numbers.0,
            num: self.numbers.1,
            bfsd: self.filters.0.as_ref(),
            bfpe: self.filters.1.as_ref(),
        }
    }
}

/// Visits everything that a message lends, as a caller would.
fn exhaust(message: &Message<'_>) {
    if let Kind::Reply(reply) = &message.kind {
        for family in Family::ALL {
            let values = reply.values.clone().heard_over(family);
            assert!(values.count() <= DATAGRAM_LEN_MAX / 6);
        }
        assert!(reply.nodes.clone().all(|contact| contact.addr.is_ipv4()));
        assert!(reply.nodes6.clone().all(|contact| contact.addr.is_ipv6()));
        assert_eq!(reply.nodes.len(), reply.nodes.clone().count());
        if let Some(samples) = &reply.samples {
            assert_eq!(samples.len(), samples.clone().count());
        }
    }
}

proptest! {
    #[test]
    fn any_query_is_read_back_as_written(
        wrapping in Wrapping::any(), sender in id(), asked in Asked::any(),
        (v4, v6) in any::<(bool, bool)>(),
    ) {
        let (sender, want) = (NodeId(sender), Want { v4, v6 });
        let mut out = Vec::new();
        emit_method(&mut out, &wrapping.envelope(), sender, &asked.method(), want);
        prop_assert!(wrapping.matches(&parse(&out)));
        let query = query(&out);
        prop_assert_eq!((query.id, query.want), (sender, want));
        prop_assert_eq!(query.method, asked.method());
    }

    #[test]
    fn any_reply_is_read_back_as_written(wrapping in Wrapping::any(), answer in Answer::any()) {
        let mut out = Vec::new();
        emit_reply(&mut out, &wrapping.envelope(), &answer.body());
        prop_assert!(wrapping.matches(&parse(&out)));
        let reply = reply(&out);
        let body = answer.body();
        prop_assert_eq!(reply.id, body.id);
        prop_assert_eq!(reply.nodes.collect::<Vec<_>>(), body.nodes);
        prop_assert_eq!(reply.nodes6.collect::<Vec<_>>(), body.nodes6);
        prop_assert_eq!(reply.values.collect::<Vec<_>>(), body.values);
        prop_assert_eq!(reply.token, body.token);
        prop_assert_eq!(reply.samples.map(Iterator::collect::<Vec<_>>), answer.samples.clone());
        prop_assert_eq!((reply.interval, reply.num), answer.numbers);
        prop_assert_eq!(reply.bfsd, body.bfsd.map(|filter| &filter[..]));
        prop_assert_eq!(reply.bfpe, body.bfpe.map(|filter| &filter[..]));
    }

    #[test]
    fn any_error_is_read_back_as_written(
        wrapping in Wrapping::any(), code in any::<i64>(), text in vec(any::<u8>(), 0..100),
    ) {
        let mut out = Vec::new();
        emit_error(&mut out, &wrapping.envelope(), code, &text);
        prop_assert!(wrapping.matches(&parse(&out)));
        prop_assert_eq!(refusal(&out), ErrorReply { code: Some(code), text: &text });
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let dictionary = [b"d", &bytes[..]].concat();
        for datagram in [&bytes, &dictionary] {
            if let Ok(message) = Message::parse(datagram) {
                exhaust(&message);
            }
        }
    }

    #[test]
    fn no_text_of_bencode_letters_panics(
        text in "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:values(l|[0-9]{1,3}:|[dlie]|[0-9a-z]){0,60}e1:t1:a1:y1:re",
    ) {
        if let Ok(message) = Message::parse(text.as_bytes()) {
            exhaust(&message);
        }
    }

    #[test]
    fn no_mutation_of_a_message_panics(
        wrapping in Wrapping::any(), answer in Answer::any(), asked in Asked::any(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut reply = Vec::new();
        emit_reply(&mut reply, &wrapping.envelope(), &answer.body());
        let mut query = Vec::new();
        emit_method(&mut query, &wrapping.envelope(), answer.id, &asked.method(), Want::BOTH);
        for mut datagram in [reply, query] {
            for (at, byte, edit) in &edits {
                let at = at.index(datagram.len());
                match edit {
                    0 => datagram[at] = *byte,
                    1 => datagram.insert(at, *byte),
                    _ => drop(datagram.remove(at)),
                }
            }
            if let Ok(message) = Message::parse(&datagram) {
                exhaust(&message);
            }
        }
    }
}
