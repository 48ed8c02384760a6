//! How many descriptors the process may open, and so how many connections.

/// Descriptors kept back from connections: outputs, UDP sockets, the reactor, the resolver.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Raises the soft limit of open descriptors to the hard one and returns what holds now; `None`
/// if the system does not say.
pub fn raise_descriptor_limit() -> Option<u64> {
    rlimit::increase_nofile_limit(u64::MAX).ok()
}

/// `wanted` connections, or as many as `descriptors` allow, but at least one.
pub fn connections_within(wanted: u32, descriptors: u64) -> u32 {
    let room = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
    wanted.min(u32::try_from(room).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_clamped_to_the_descriptors_minus_the_reserve() {
        for (wanted, descriptors, expected) in
            [(200, 1024, 200), (960, 1024, 960), (961, 1024, 960), (5, 64, 1), (5, 0, 1)]
        {
            assert_eq!(connections_within(wanted, descriptors), expected);
        }
    }

    #[test]
    fn raising_the_limit_says_what_holds() {
        let limit = raise_descriptor_limit().expect("the system has a limit");
        assert_eq!(rlimit::Resource::NOFILE.get_soft().ok(), Some(limit));
    }
}
