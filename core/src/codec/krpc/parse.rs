//! Reads one datagram in one pass. Keys may come in any order, so fields are gathered first and
//! given a meaning once all are known.

use std::net::{IpAddr, SocketAddr};

use super::{
    ArgumentKey, BLOOM_LEN, BadArgument, DATAGRAM_LEN_MAX, DATAGRAM_LEN_MIN, ErrorReply,
    KRPC_DEPTH_MAX, KRPC_TOKENS_MAX, Kind, Message, Method, Nodes, Oddity, ParseError, Query,
    Reply, Samples, TOKEN_LEN_MAX, TRANSACTION_LEN_MAX, Tolerated, Values, Want,
};
use crate::base::addr::{Family, parse_peer};
use crate::base::flags::FlagSet;
use crate::base::id::{ID_LEN, Id, InfoHash, NodeId};
use crate::codec::bencode::{Error, Reader, Token};

impl<'a> Message<'a> {
    /// Reads one datagram, in one pass and without allocating.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError<'a>> {
        if datagram.len() < DATAGRAM_LEN_MIN {
            return Err(ParseError::TooShort);
        }
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(ParseError::TooLong);
        }
        if datagram.first() != Some(&b'd') {
            return Err(ParseError::NotDictionary);
        }
        let mut parser = Parser::new(datagram);
        let fields = parser.message().map_err(ParseError::NotBencode)?;
        fields.message(parser.flags())
    }
}

/// A field as first met: the first duplicate wins (D14), and one of another type than due counts
/// as absent (D10).
#[derive(Clone, Copy, Debug, Default)]
enum Field<T> {
    #[default]
    Missing,
    Mistyped,
    Present(T),
}

impl<T> Field<T> {
    fn meet(&mut self, read: Option<T>) {
        if matches!(self, Self::Missing) {
            *self = read.map_or(Self::Mistyped, Self::Present);
        }
    }

    fn value(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Missing | Self::Mistyped => None,
        }
    }
}

impl Field<i64> {
    fn is_set(self) -> bool {
        self.value().is_some_and(|value| value != 0)
    }
}

impl<'a> Field<&'a [u8]> {
    fn id(self) -> Option<[u8; ID_LEN]> {
        self.value()?.try_into().ok()
    }

    /// The 20 bytes of an argument, or what to complain about.
    fn argument(self, key: ArgumentKey) -> Result<[u8; ID_LEN], BadArgument> {
        self.id().ok_or(self.bad(key))
    }

    fn packed(self) -> &'a [u8] {
        self.value().unwrap_or_default()
    }
}

impl<T: Copy> Field<T> {
    fn bad(self, key: ArgumentKey) -> BadArgument {
        BadArgument { key, missing: matches!(self, Self::Missing) }
    }
}

/// The top level of a message.
#[derive(Default)]
struct Fields<'a> {
    transaction: Field<&'a [u8]>,
    kind: Field<&'a [u8]>,
    method: Field<&'a [u8]>,
    version: Field<&'a [u8]>,
    external: Field<&'a [u8]>,
    read_only: Field<i64>,
    arguments: Field<Arguments<'a>>,
    results: Field<Results<'a>>,
    error: Field<ErrorReply<'a>>,
}

/// What stands in `a`.
#[derive(Clone, Copy, Default)]
struct Arguments<'a> {
    id: Field<&'a [u8]>,
    target: Field<&'a [u8]>,
    info_hash: Field<&'a [u8]>,
    token: Field<&'a [u8]>,
    port: Field<i64>,
    implied_port: Field<i64>,
    seed: Field<i64>,
    scrape: Field<i64>,
    noseed: Field<i64>,
    want: Field<Want>,
}

/// What stands in `r`.
#[derive(Clone, Copy, Default)]
struct Results<'a> {
    id: Field<&'a [u8]>,
    nodes: Field<&'a [u8]>,
    nodes6: Field<&'a [u8]>,
    /// The bencoded items of the list.
    values: Field<&'a [u8]>,
    token: Field<&'a [u8]>,
    samples: Field<&'a [u8]>,
    interval: Field<i64>,
    num: Field<i64>,
    bfsd: Field<&'a [u8]>,
    bfpe: Field<&'a [u8]>,
}

/// The reader, and what was tolerated so far.
struct Parser<'a> {
    datagram: &'a [u8],
    reader: Reader<'a, KRPC_DEPTH_MAX>,
    oddities: FlagSet<Oddity>,
}

impl<'a> Parser<'a> {
    fn new(datagram: &'a [u8]) -> Self {
        let reader = Reader::new(datagram, KRPC_TOKENS_MAX);
        Self { datagram, reader, oddities: FlagSet::default() }
    }

    fn flags(&self) -> Tolerated {
        let mut oddities = self.oddities;
        oddities.insert_if(self.reader.position() < self.datagram.len(), Oddity::Trailing);
        Tolerated { bencode: self.reader.flags(), oddities }
    }

    fn message(&mut self) -> Result<Fields<'a>, Error> {
        let mut fields = Fields::default();
        self.reader.enter_dict()?;
        while let Some(key) = self.reader.next_key()? {
            match key {
                b"t" => self.bytes(&mut fields.transaction)?,
                b"y" => self.bytes(&mut fields.kind)?,
                b"q" => self.bytes(&mut fields.method)?,
                b"v" => self.bytes(&mut fields.version)?,
                b"ip" => self.bytes(&mut fields.external)?,
                b"ro" => self.int(&mut fields.read_only)?,
                b"a" => self.nested(&mut fields.arguments, Self::arguments)?,
                b"r" => self.nested(&mut fields.results, Self::results)?,
                b"e" => self.error(&mut fields.error)?,
                _ => self.skip()?,
            }
        }
        Ok(fields)
    }

    fn arguments(&mut self) -> Result<Arguments<'a>, Error> {
        let mut fields = Arguments::default();
        while let Some(key) = self.reader.next_key()? {
            match key {
                b"id" => self.bytes(&mut fields.id)?,
                b"target" => self.bytes(&mut fields.target)?,
                b"info_hash" => self.bytes(&mut fields.info_hash)?,
                b"token" => self.bytes(&mut fields.token)?,
                b"port" => self.int(&mut fields.port)?,
                b"implied_port" => self.int(&mut fields.implied_port)?,
                b"seed" => self.int(&mut fields.seed)?,
                b"scrape" => self.int(&mut fields.scrape)?,
                b"noseed" => self.int(&mut fields.noseed)?,
                b"want" => self.want(&mut fields.want)?,
                _ => self.skip()?,
            }
        }
        Ok(fields)
    }

    fn results(&mut self) -> Result<Results<'a>, Error> {
        let mut fields = Results::default();
        while let Some(key) = self.reader.next_key()? {
            match key {
                b"id" => self.bytes(&mut fields.id)?,
                b"nodes" => self.bytes(&mut fields.nodes)?,
                b"nodes6" => self.bytes(&mut fields.nodes6)?,
                b"values" => self.values(&mut fields.values)?,
                b"token" => self.bytes(&mut fields.token)?,
                b"samples" => self.bytes(&mut fields.samples)?,
                b"interval" => self.int(&mut fields.interval)?,
                b"num" => self.int(&mut fields.num)?,
                b"BFsd" => self.bytes(&mut fields.bfsd)?,
                b"BFpe" => self.bytes(&mut fields.bfpe)?,
                _ => self.skip()?,
            }
        }
        Ok(fields)
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.reader.raw().map(|_| ())
    }

    fn bytes(&mut self, field: &mut Field<&'a [u8]>) -> Result<(), Error> {
        let read = self.reader.bytes()?;
        self.oddities.insert_if(read.is_none(), Oddity::Mistyped);
        field.meet(read);
        Ok(())
    }

    fn int(&mut self, field: &mut Field<i64>) -> Result<(), Error> {
        let read = self.reader.int()?;
        self.oddities.insert_if(read.is_none(), Oddity::Mistyped);
        field.meet(read);
        Ok(())
    }

    /// Reads a dictionary with `content`, unless the same key was met before.
    fn nested<T>(
        &mut self,
        field: &mut Field<T>,
        content: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<(), Error> {
        if !matches!(field, Field::Missing) {
            return self.skip();
        }
        let read = if self.reader.enter_dict()? { Some(content(self)?) } else { None };
        self.oddities.insert_if(read.is_none(), Oddity::Mistyped);
        field.meet(read);
        Ok(())
    }

    /// `want`: a list of family names; items that are none are passed over (32.2, D19).
    fn want(&mut self, field: &mut Field<Want>) -> Result<(), Error> {
        if !self.reader.enter_list()? {
            self.oddities.insert(Oddity::Mistyped);
            field.meet(None);
            return Ok(());
        }
        let mut want = Want::UNSPECIFIED;
        loop {
            match self.reader.next_token()? {
                Some(Token::Bytes(b"n4")) => want.v4 = true,
                Some(Token::Bytes(b"n6")) => want.v6 = true,
                Some(Token::Bytes(_)) => {}
                Some(Token::End) | None => break,
                Some(other) => {
                    self.oddities.insert(Oddity::Mistyped);
                    self.reader.skip(other)?;
                }
            }
        }
        field.meet(Some(want));
        Ok(())
    }

    /// `values`: keeps where the list's items stand; [`Values`] reads them when asked.
    fn values(&mut self, field: &mut Field<&'a [u8]>) -> Result<(), Error> {
        if !self.reader.enter_list()? {
            self.oddities.insert(Oddity::Mistyped);
            field.meet(None);
            return Ok(());
        }
        let start = self.reader.position();
        let mut end = start;
        loop {
            match self.reader.next_token()? {
                Some(Token::Bytes(item)) => {
                    self.oddities.insert_if(!matches!(item.len(), 6 | 18), Oddity::OddValues);
                }
                Some(Token::End) | None => break,
                Some(other) => {
                    self.oddities.insert(Oddity::OddValues);
                    self.reader.skip(other)?;
                }
            }
            end = self.reader.position();
        }
        field.meet(self.datagram.get(start..end));
        Ok(())
    }

    /// `e`: a list of code and text; a lone code or text, or a list of other things, says what it
    /// can (D5).
    fn error(&mut self, field: &mut Field<ErrorReply<'a>>) -> Result<(), Error> {
        let mut error = ErrorReply::default();
        match self.reader.next_token()? {
            Some(Token::Int(code)) => error.code = Some(code),
            Some(Token::Bytes(text)) => error.text = text,
            Some(Token::List) => {
                error = self.error_items()?;
                field.meet(Some(error));
                return Ok(());
            }
            Some(other) => self.reader.skip(other)?,
            None => {}
        }
        self.oddities.insert(Oddity::Mistyped);
        field.meet(Some(error));
        Ok(())
    }

    fn error_items(&mut self) -> Result<ErrorReply<'a>, Error> {
        let (mut code, mut text) = (None, None);
        loop {
            match self.reader.next_token()? {
                Some(Token::Int(item)) => code = code.or(Some(item)),
                Some(Token::Bytes(item)) => text = text.or(Some(item)),
                Some(Token::End) | None => break,
                Some(other) => self.reader.skip(other)?,
            }
        }
        self.oddities.insert_if(code.is_none() || text.is_none(), Oddity::Mistyped);
        Ok(ErrorReply { code, text: text.unwrap_or_default() })
    }
}

impl<'a> Fields<'a> {
    fn message(self, mut flags: Tolerated) -> Result<Message<'a>, ParseError<'a>> {
        let transaction = self.transaction.packed();
        if transaction.is_empty() {
            return Err(ParseError::NoTransaction);
        }
        let external = self.external.value().and_then(parse_external);
        let misread = external.is_none() && self.external.value().is_some();
        flags.oddities.insert_if(misread, Oddity::Mistyped);
        let kind = match self.kind.packed() {
            b"q" => Kind::Query(self.query(transaction)?),
            b"r" => Kind::Reply(self.reply(transaction, &mut flags)?),
            b"e" => Kind::Error(self.error.value().unwrap_or_default()),
            _ => return Err(ParseError::NoKind),
        };
        let (version, read_only) = (self.version.value(), self.read_only.is_set());
        Ok(Message { transaction, version, read_only, external, kind, flags })
    }

    fn query(&self, transaction: &'a [u8]) -> Result<Query<'a>, ParseError<'a>> {
        if transaction.len() > TRANSACTION_LEN_MAX {
            return Err(ParseError::LongTransaction);
        }
        let name = self.method.value().ok_or(ParseError::NoMethod { transaction })?;
        let arguments = self.arguments.value().unwrap_or_default();
        let id = arguments.id.id().ok_or(ParseError::BadQueryId { transaction })?;
        let method =
            arguments.method(name).unwrap_or_else(|argument| Method::Malformed { name, argument });
        let want = arguments.want.value().unwrap_or_default();
        Ok(Query { id: NodeId(id), method, want })
    }

    fn reply(
        &self,
        transaction: &'a [u8],
        flags: &mut Tolerated,
    ) -> Result<Reply<'a>, ParseError<'a>> {
        let results = self.results.value().unwrap_or_default();
        let id = results.id.id().ok_or(ParseError::BadReplyId { transaction })?;
        let packed = [
            (results.nodes, Family::V4.node_len()),
            (results.nodes6, Family::V6.node_len()),
            (results.samples, ID_LEN),
        ];
        let ragged = packed.iter().any(|(field, entry)| field.packed().len() % entry != 0);
        flags.oddities.insert_if(ragged, Oddity::Ragged);
        let sized = |field: Field<&'a [u8]>, fits: fn(usize) -> bool| {
            field.value().filter(|bytes| fits(bytes.len()))
        };
        let token = sized(results.token, |length| length <= TOKEN_LEN_MAX);
        let bfsd = sized(results.bfsd, |length| length == BLOOM_LEN);
        let bfpe = sized(results.bfpe, |length| length == BLOOM_LEN);
        let missized = [(results.token, token), (results.bfsd, bfsd), (results.bfpe, bfpe)]
            .iter()
            .any(|(sent, kept)| sent.value().is_some() && kept.is_none());
        flags.oddities.insert_if(missized, Oddity::Mistyped);
        Ok(Reply {
            id: NodeId(id),
            nodes: Nodes::new(Family::V4, results.nodes.packed()),
            nodes6: Nodes::new(Family::V6, results.nodes6.packed()),
            values: Values::new(results.values.packed()),
            token,
            samples: results.samples.value().map(Samples::new),
            interval: results.interval.value(),
            num: results.num.value(),
            bfsd,
            bfpe,
        })
    }
}

impl<'a> Arguments<'a> {
    fn method(&self, name: &'a [u8]) -> Result<Method<'a>, BadArgument> {
        Ok(match name {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: self.target()? },
            b"get_peers" => Method::GetPeers {
                info_hash: self.info_hash()?,
                scrape: self.scrape.is_set(),
                noseed: self.noseed.is_set(),
            },
            b"announce_peer" => Method::AnnouncePeer {
                info_hash: self.info_hash()?,
                port: self.port()?,
                implied_port: self.implied_port.is_set(),
                token: self.token.value().ok_or(self.token.bad(ArgumentKey::Token))?,
                seed: self.seed.is_set(),
            },
            b"sample_infohashes" => Method::SampleInfohashes { target: self.target()? },
            _ => {
                let target = self.target.id().or(self.info_hash.id());
                Method::Unknown { name, target: target.map(Id) }
            }
        })
    }

    fn target(&self) -> Result<Id, BadArgument> {
        self.target.argument(ArgumentKey::Target).map(Id)
    }

    fn info_hash(&self) -> Result<InfoHash, BadArgument> {
        self.info_hash.argument(ArgumentKey::InfoHash).map(InfoHash)
    }

    /// The announced port, which only `implied_port` makes dispensable.
    fn port(&self) -> Result<u16, BadArgument> {
        let port = self.port.value().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        if port == 0 && !self.implied_port.is_set() {
            return Err(self.port.bad(ArgumentKey::Port));
        }
        Ok(port)
    }
}

/// `ip`: a compact peer, or an address alone (D16).
fn parse_external(bytes: &[u8]) -> Option<SocketAddr> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return parse_peer(bytes),
    };
    Some(SocketAddr::new(ip, 0))
}
