//! Counters: what a run did, for the closing funnel, `--stats`, and the simulator's checker.
//!
//! Counting is all that happens here. Every name is used alike in code, output and documents.

/// Declares the counters once: field, and the words that outputs use.
macro_rules! counters {
    ($(#[doc = $doc:literal] $name:ident,)*) => {
        /// Every counter of a run. They only grow, except those documented as levels. More may
        /// follow, so one begins as the default and is filled in.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $(#[doc = $doc] pub $name: u64,)*
            /// Failed dials by cause, indexed by `PeerFault as usize`.
            pub faults: [u64; crate::base::fault::PeerFault::COUNT],
        }

        impl Stats {
            /// Every counter with its name, in the order of the funnel.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Distinct usable contacts heard of, those of a saved state included.
    contacts_heard,
    /// Distinct contacts that were sent a query.
    contacts_asked,
    /// Distinct contacts that answered one.
    contacts_answered,
    /// Distinct nodes that answered `sample_infohashes` with samples.
    nodes_sampling,
    /// Infohashes read from samples, repeats included.
    infohashes_sampled,
    /// Distinct infohashes not known before, those taken over from a saved state included.
    infohashes_new,
    /// Infohashes for which a peer was found.
    infohashes_with_peers,
    /// Distinct peers found, counted per infohash.
    peers_found,
    /// Peers that the user named beyond the most that may be named for an infohash.
    orders_left_out,
    /// Peers of magnet links left out because their addresses are private.
    hearsay_private,
    /// Peers of magnet links left out: impossible, crowded, or of a family that is off.
    hearsay_left_out,
    /// Connections begun.
    dialled,
    /// Connections that were accepted.
    connected,
    /// Peers that answered the BitTorrent handshake for the infohash.
    handshaken,
    /// Peers that offered metadata of an acceptable size.
    offering_metadata,
    /// Exchanges in which every piece arrived.
    complete,
    /// Exchanges that ended with metadata matching the infohash.
    delivered,
    /// Of the connections begun, those over TCP in the clear.
    tcp_dialled,
    /// Of these, those that were accepted.
    tcp_connected,
    /// Of these, those on which a peer answered the BitTorrent handshake.
    tcp_handshaken,
    /// Of these, those on which every piece arrived.
    tcp_complete,
    /// Of the connections begun, those over TCP with encryption (MSE).
    mse_dialled,
    /// Of these, those that were accepted.
    mse_connected,
    /// Of these, those on which a peer answered the BitTorrent handshake.
    mse_handshaken,
    /// Of these, those on which every piece arrived.
    mse_complete,
    /// Of the connections begun, those over uTP in the clear.
    utp_dialled,
    /// Of these, those that were accepted.
    utp_connected,
    /// Of these, those on which a peer answered the BitTorrent handshake.
    utp_handshaken,
    /// Of these, those on which every piece arrived.
    utp_complete,
    /// Of the connections begun, those over uTP with encryption (MSE).
    utp_mse_dialled,
    /// Of these, those that were accepted.
    utp_mse_connected,
    /// Of these, those on which a peer answered the BitTorrent handshake.
    utp_mse_handshaken,
    /// Of these, those on which every piece arrived.
    utp_mse_complete,
    /// Infohashes whose metadata matched the infohash and could be read.
    verified,
    /// Infohashes verified but unreadable as an info dictionary.
    broken,
    /// Infohashes settled without metadata.
    failed,
    /// Infohashes settled: verified, broken or failed.
    settled,
    /// Infohashes begun and not settled when the run ended.
    unfinished,
    /// Datagrams received, but for packets of uTP.
    datagrams_received,
    /// Bytes of these.
    datagram_bytes_received,
    /// Datagrams sent, but for packets of uTP.
    datagrams_sent,
    /// Bytes of these.
    datagram_bytes_sent,
    /// Packets of uTP sent.
    utp_packets_sent,
    /// Packets of uTP received, of streams that were open.
    utp_packets_received,
    /// Packets of uTP received, of no stream or not plausible.
    utp_packets_ignored,
    /// Wishes of others to open a stream: they are not answered.
    utp_syns_ignored,
    /// Queries sent: `sample_infohashes`.
    queries_sample,
    /// Queries sent: `find_node`.
    queries_find_node,
    /// Queries sent: `get_peers`.
    queries_get_peers,
    /// Queries sent: `ping`.
    queries_ping,
    /// Queries answered with a reply.
    answered,
    /// Queries answered with an error, or with what cannot be read.
    refused,
    /// Errors by code: 201, generic.
    errors_201,
    /// Errors by code: 202, of the server.
    errors_202,
    /// Errors by code: 203, of the protocol.
    errors_203,
    /// Errors by code: 204, method unknown.
    errors_204,
    /// Errors of any other code, or of none.
    errors_other,
    /// Queries that timed out.
    expired,
    /// Queries answered, in whatever way, after they had timed out and been counted so.
    late,
    /// Queries received from others.
    queries_received,
    /// Datagrams that were not KRPC.
    malformed,
    /// Replies that matched no open query.
    unmatched,
    /// Walks begun for want of peers.
    walks,
    /// Times that the network was gone: nobody answered, not even nodes known to be good.
    outages,
    /// Level: queries waiting for an answer.
    queries_open,
    /// Level: connections open, half-open included.
    connections_open,
    /// Level: infohashes admitted and not settled.
    infohashes_open,
    /// Level: contacts waiting to be sampled.
    contacts_queued,
    /// Level: nodes in the routing tables.
    table_nodes,
}

impl Stats {
    /// Queries sent, of every method.
    pub const fn queries(&self) -> u64 {
        self.queries_sample + self.queries_find_node + self.queries_get_peers + self.queries_ping
    }

    /// Queries that an error answered, whatever its code.
    pub const fn errors(&self) -> u64 {
        let Self { errors_201, errors_202, errors_203, errors_204, errors_other, .. } = self;
        *errors_201 + *errors_202 + *errors_203 + *errors_204 + *errors_other
    }

    /// Counts an error by its code.
    pub(crate) fn note_error(&mut self, code: Option<i64>) {
        *match code {
            Some(201) => &mut self.errors_201,
            Some(202) => &mut self.errors_202,
            Some(203) => &mut self.errors_203,
            Some(204) => &mut self.errors_204,
            _ => &mut self.errors_other,
        } += 1;
    }
}
