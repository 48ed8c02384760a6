//! What a run is told: limits, policy and mode. A [`Config`] is in range at any time, so nothing
//! that takes one can fail for it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::base::addr::{AddressPolicy, Family};
use crate::limits::{
    CONNECTIONS_MAX, NEW_FLOWS_A_MINUTE_MAX, PEERS_PER_INFOHASH_MAX, RATE_MAX, ROWS_MIB_HOME,
    ROWS_MIB_MAX, UNFINISHED_MIB_HOME, UNFINISHED_MIB_MAX, UTP_RATE_HOME, UTP_RATE_MAX,
};

/// What the crawler is to do. More may follow: ask what a mode does, as below, instead of listing
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Sweep the keyspace, look peers up, fetch metadata.
    Crawl,
    /// Sweep the keyspace and look peers up; dial no peer.
    Peers,
    /// Fetch what is requested, looking peers up where none are given or none works.
    Fetch,
    /// Fetch what is requested from the peers given, without any DHT traffic.
    Direct,
}

impl Mode {
    /// Whether infohashes are to be discovered.
    pub const fn sweeps(self) -> bool {
        matches!(self, Self::Crawl | Self::Peers)
    }

    /// Whether the DHT is used at all.
    pub const fn uses_dht(self) -> bool {
        !matches!(self, Self::Direct)
    }

    /// Whether peers are dialled.
    pub const fn dials(self) -> bool {
        !matches!(self, Self::Peers)
    }
}

/// Whether connections to peers are encrypted (2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncryptionPolicy {
    /// Where a peer takes nothing else.
    #[default]
    Auto,
    /// All of them, to the end: nothing is dialled in the clear.
    Require,
    /// None.
    Off,
}

/// What carries connections to peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportPolicy {
    /// TCP, and uTP for peers that take no connection over it.
    #[default]
    Any,
    /// TCP alone.
    Tcp,
    /// uTP alone.
    Utp,
}

impl TransportPolicy {
    /// Whether streams over UDP are allowed.
    pub const fn has_utp(self) -> bool {
        matches!(self, Self::Any | Self::Utp)
    }
}

/// The settings of one run. Each setting that has a range is checked when it is made, so every
/// value of this type can be run:
///
/// ```
/// use estudely_core::{Config, Mode};
///
/// let config = Config::new(Mode::Crawl)
///     .with_own("192.0.2.1:6881".parse()?)?
///     .with_max_infohashes(Some(1_000))
///     .with_rate(Some(50))?;
/// let error = config.with_max_connections(0).expect_err("none would be no crawl");
/// assert_eq!(error.to_string(), "max_connections: 0 is not in 1 to 1000000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Only this module writes the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which addresses from hearsay may be used.
    pub(crate) policy: AddressPolicy,
    /// Our bound UDP address in each family, by [`Family::index`]; `None` turns the family off.
    pub(crate) own: [Option<SocketAddr>; Family::ALL.len()],
    /// What to do.
    pub(crate) mode: Mode,
    /// Admit at most so many infohashes; `None` for no end.
    pub(crate) max_infohashes: Option<u64>,
    /// Most peers kept, hence dialled, per infohash.
    pub(crate) peers_per_infohash: u32,
    /// Most peers per infohash that accepted a connection.
    pub(crate) peer_attempts: u32,
    /// Queries a second, both families together; `None` for no limit.
    pub(crate) rate: Option<u32>,
    /// New remote endpoints a minute, UDP and TCP together; `None` for no limit.
    pub(crate) new_flows: Option<u32>,
    /// Open peer connections, half-open ones included.
    pub(crate) max_connections: u32,
    /// MiB of unfinished metadata, within connections and between them.
    pub(crate) unfinished_mib: u32,
    /// MiB of rows waiting for a sink.
    pub(crate) rows_mib: u32,
    /// Whether connections to peers are encrypted.
    pub(crate) encryption: EncryptionPolicy,
    /// What carries them.
    pub(crate) transports: TransportPolicy,
    /// Packets of uTP a second in each family.
    pub(crate) utp_rate: u32,
}

impl Config {
    /// The `home` profile on the public network, with both families off.
    pub const fn new(mode: Mode) -> Self {
        Self {
            policy: AddressPolicy::Public,
            own: [None; Family::ALL.len()],
            mode,
            max_infohashes: None,
            peers_per_infohash: 20,
            peer_attempts: 5,
            rate: Some(200),
            new_flows: Some(1_800),
            max_connections: 200,
            unfinished_mib: UNFINISHED_MIB_HOME,
            rows_mib: ROWS_MIB_HOME,
            encryption: EncryptionPolicy::Auto,
            transports: TransportPolicy::Any,
            utp_rate: UTP_RATE_HOME,
        }
    }

    /// Which addresses from hearsay may be used.
    #[must_use]
    pub const fn with_policy(self, policy: AddressPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Whether connections to peers are encrypted.
    #[must_use]
    pub const fn with_encryption(self, encryption: EncryptionPolicy) -> Self {
        Self { encryption, ..self }
    }

    /// What carries connections to peers. Over uTP they are asked from the sockets of
    /// [`Config::with_own`]: in a family without one there is TCP alone.
    #[must_use]
    pub const fn with_transports(self, transports: TransportPolicy) -> Self {
        Self { transports, ..self }
    }

    /// Sends at most so many packets of uTP a second in each family, acknowledgements included.
    ///
    /// # Errors
    /// It is not in 1 to [`UTP_RATE_MAX`].
    pub fn with_utp_rate(self, most: u32) -> Result<Self, ConfigError> {
        let utp_rate = within("utp_rate", most, 1..=UTP_RATE_MAX)?;
        Ok(Self { utp_rate, ..self })
    }

    /// Turns the family of `addr` on: our UDP socket is bound there.
    ///
    /// # Errors
    /// The port is 0: no socket is bound to that.
    pub fn with_own(mut self, addr: SocketAddr) -> Result<Self, ConfigError> {
        within("own port", u32::from(addr.port()), 1..=u32::from(u16::MAX))?;
        self.own[Family::of(addr).index()] = Some(addr);
        Ok(self)
    }

    /// Admits at most so many infohashes; `None` for no end.
    #[must_use]
    pub const fn with_max_infohashes(self, max_infohashes: Option<u64>) -> Self {
        Self { max_infohashes, ..self }
    }

    /// Keeps, hence dials, at most so many peers of an infohash.
    ///
    /// # Errors
    /// It is not in 1 to [`PEERS_PER_INFOHASH_MAX`].
    pub fn with_peers_per_infohash(self, most: u32) -> Result<Self, ConfigError> {
        let peers_per_infohash = within("peers_per_infohash", most, 1..=PEERS_PER_INFOHASH_MAX)?;
        Ok(Self { peers_per_infohash, ..self })
    }

    /// Tries at most so many peers of an infohash that accept a connection.
    ///
    /// # Errors
    /// It is not in 1 to [`PEERS_PER_INFOHASH_MAX`].
    pub fn with_peer_attempts(self, most: u32) -> Result<Self, ConfigError> {
        let peer_attempts = within("peer_attempts", most, 1..=PEERS_PER_INFOHASH_MAX)?;
        Ok(Self { peer_attempts, ..self })
    }

    /// Sends at most so many queries a second, both families together; `None` for no limit.
    ///
    /// # Errors
    /// It is not in 1 to [`RATE_MAX`].
    pub fn with_rate(self, rate: Option<u32>) -> Result<Self, ConfigError> {
        let rate = rate.map(|rate| within("rate", rate, 1..=RATE_MAX)).transpose()?;
        Ok(Self { rate, ..self })
    }

    /// Meets at most so many new remote endpoints a minute, UDP and TCP together; `None` for no
    /// limit.
    ///
    /// # Errors
    /// It is not in 1 to [`NEW_FLOWS_A_MINUTE_MAX`].
    pub fn with_new_flows(self, new_flows: Option<u32>) -> Result<Self, ConfigError> {
        let range = 1..=NEW_FLOWS_A_MINUTE_MAX;
        let new_flows = new_flows.map(|flows| within("new_flows", flows, range)).transpose()?;
        Ok(Self { new_flows, ..self })
    }

    /// Keeps at most so many peer connections open, half-open ones included.
    ///
    /// # Errors
    /// It is not in 1 to [`CONNECTIONS_MAX`].
    pub fn with_max_connections(self, most: u32) -> Result<Self, ConfigError> {
        let max_connections = within("max_connections", most, 1..=CONNECTIONS_MAX)?;
        Ok(Self { max_connections, ..self })
    }

    /// Holds at most so many MiB of unfinished metadata, within connections and between them. One
    /// larger dictionary at a time may exceed it.
    ///
    /// # Errors
    /// It is not in 1 to [`UNFINISHED_MIB_MAX`].
    pub fn with_unfinished_mib(self, most: u32) -> Result<Self, ConfigError> {
        let unfinished_mib = within("unfinished_mib", most, 1..=UNFINISHED_MIB_MAX)?;
        Ok(Self { unfinished_mib, ..self })
    }

    /// Holds at most so many MiB in rows that wait for a sink. One larger row at a time may exceed
    /// it.
    ///
    /// # Errors
    /// It is not in 1 to [`ROWS_MIB_MAX`].
    pub fn with_rows_mib(self, most: u32) -> Result<Self, ConfigError> {
        let rows_mib = within("rows_mib", most, 1..=ROWS_MIB_MAX)?;
        Ok(Self { rows_mib, ..self })
    }

    /// Lowers the number of connections to what the machine allows, but for one.
    #[must_use]
    pub fn with_connections_within(self, most: u32) -> Self {
        Self { max_connections: self.max_connections.min(most).max(1), ..self }
    }

    /// What to do.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Which addresses from hearsay may be used.
    pub const fn policy(&self) -> AddressPolicy {
        self.policy
    }

    /// Our bound UDP address in each family, by [`Family::index`].
    pub const fn own(&self) -> [Option<SocketAddr>; Family::ALL.len()] {
        self.own
    }

    /// Most bytes of metadata that connections under way may hold together (H24): an adapter ends
    /// whichever goes beyond it as [`PeerFault::Pressure`](crate::PeerFault::Pressure), but for one
    /// at a time.
    pub const fn assembly_bytes(&self) -> usize {
        mib(self.unfinished_mib) / 5 * 4
    }

    /// Most bytes of unfinished metadata kept between connections, but for one larger dictionary.
    pub(crate) const fn partial_bytes(&self) -> usize {
        mib(self.unfinished_mib) - self.assembly_bytes()
    }

    /// Most bytes of rows that wait for a sink, but for one larger row.
    pub(crate) const fn row_bytes(&self) -> usize {
        mib(self.rows_mib)
    }

    /// Open peer connections, half-open ones included.
    pub const fn max_connections(&self) -> u32 {
        self.max_connections
    }
}

/// A setting that no run can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    value: u32,
    range: RangeInclusive<u32>,
}

impl ConfigError {
    /// Which setting it is, as the methods of [`Config`] name it.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

/// The field, the value and the range, for a person.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, range } = self;
        write!(f, "{field}: {value} is not in {} to {}", range.start(), range.end())
    }
}

impl std::error::Error for ConfigError {}

const fn mib(count: u32) -> usize {
    (count as usize) << 20
}

fn within(field: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
    if range.contains(&value) { Ok(value) } else { Err(ConfigError { field, value, range }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers at and beside each end of each range, and any others.
    fn number() -> impl Strategy<Value = u32> {
        let ends = [0, PEERS_PER_INFOHASH_MAX, RATE_MAX, NEW_FLOWS_A_MINUTE_MAX, CONNECTIONS_MAX];
        prop_oneof![
            (prop::sample::select(ends.to_vec()), 0..=2u32)
                .prop_map(|(end, off)| (end + off).saturating_sub(1)),
            0..200u32,
            any::<u32>(),
        ]
    }

    fn is_in_range(config: &Config) -> bool {
        let own = config.own.iter().zip(Family::ALL);
        let mut own = own.filter_map(|(addr, family)| addr.map(|addr| (addr, family)));
        own.all(|(addr, family)| Family::of(addr) == family && addr.port() > 0)
            && (1..=PEERS_PER_INFOHASH_MAX).contains(&config.peers_per_infohash)
            && (1..=PEERS_PER_INFOHASH_MAX).contains(&config.peer_attempts)
            && config.rate.is_none_or(|rate| (1..=RATE_MAX).contains(&rate))
            && config.new_flows.is_none_or(|n| (1..=NEW_FLOWS_A_MINUTE_MAX).contains(&n))
            && (1..=CONNECTIONS_MAX).contains(&config.max_connections)
            && (1..=UNFINISHED_MIB_MAX).contains(&config.unfinished_mib)
            && (1..=ROWS_MIB_MAX).contains(&config.rows_mib)
            && (1..=UTP_RATE_MAX).contains(&config.utp_rate)
    }

    type Setter = fn(Config, u32) -> Result<Config, ConfigError>;

    /// Every setter that has a range, its field, and the last value in range.
    const SETTERS: [(&str, u32, Setter); 9] = [
        ("peers_per_infohash", PEERS_PER_INFOHASH_MAX, Config::with_peers_per_infohash),
        ("peer_attempts", PEERS_PER_INFOHASH_MAX, Config::with_peer_attempts),
        ("rate", RATE_MAX, |config, n| config.with_rate(Some(n))),
        ("new_flows", NEW_FLOWS_A_MINUTE_MAX, |config, n| config.with_new_flows(Some(n))),
        ("max_connections", CONNECTIONS_MAX, Config::with_max_connections),
        ("unfinished_mib", UNFINISHED_MIB_MAX, Config::with_unfinished_mib),
        ("rows_mib", ROWS_MIB_MAX, Config::with_rows_mib),
        ("utp_rate", UTP_RATE_MAX, Config::with_utp_rate),
        ("own port", 65_535, |config, n| {
            config.with_own(([9, 9, 9, 9], u16::try_from(n).unwrap_or(0)).into())
        }),
    ];

    proptest! {
        #[test]
        fn whatever_is_set_the_settings_are_in_range(
            steps in prop::collection::vec((0..SETTERS.len(), number()), 0..20),
        ) {
            let mut config = Config::new(Mode::Crawl);
            for (setter, value) in steps {
                let (field, last, set) = SETTERS[setter];
                match set(config.clone(), value) {
                    Ok(next) => {
                        prop_assert!((1..=last).contains(&value), "{field}: {value}");
                        config = next;
                    }
                    Err(error) => {
                        prop_assert!(!(1..=last).contains(&value), "{field}: {value}");
                        prop_assert_eq!(error.field(), field);
                    }
                }
                prop_assert!(is_in_range(&config), "{:?}", config);
            }
        }
    }

    #[test]
    fn each_range_ends_where_it_says_and_the_error_names_it() {
        for (field, last, set) in SETTERS {
            let config = || Config::new(Mode::Crawl);
            assert!(set(config(), 1).is_ok() && set(config(), last).is_ok(), "{field}");
            for value in [0, last + 1] {
                let error = set(config(), value).expect_err(field);
                let expected = format!("{field}: ");
                assert!(error.to_string().starts_with(&expected), "{error}");
                assert!(error.to_string().ends_with(&format!(" is not in 1 to {last}")), "{error}");
            }
        }
    }

    #[test]
    fn what_was_set_is_what_is_there_and_nothing_else_changed() {
        let own = [([9, 9, 9, 9], 5).into(), ([9u16; 8], 6).into()];
        let config = Config::new(Mode::Fetch).with_policy(AddressPolicy::AllowPrivate);
        let config = own.into_iter().try_fold(config, Config::with_own).expect("bound");
        assert_eq!(config.own(), own.map(Some));
        assert_eq!((config.mode(), config.policy()), (Mode::Fetch, AddressPolicy::AllowPrivate));
        let sealed = config.clone().with_encryption(EncryptionPolicy::Require);
        let require = EncryptionPolicy::Require;
        assert_eq!(sealed, Config { encryption: require, ..config.clone() });
        let unlimited = config.clone().with_rate(None).and_then(|c| c.with_new_flows(None));
        let expected = Config { rate: None, new_flows: None, ..config };
        assert_eq!(unlimited, Ok(expected));
    }
}
