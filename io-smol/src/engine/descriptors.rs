//! How many descriptors the process may open, and so how many connections.

/// Descriptors kept back from connections: outputs, UDP sockets, the reactor, the resolver.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Raises the soft limit of open descriptors to the hard one and returns what holds now; `None`
/// if the system does not say.
pub(super) fn raise_descriptor_limit() -> Option<u64> {
    rlimit::increase_nofile_limit(u64::MAX).ok()
}

/// `wanted` connections, or as many as `descriptors` allow, but at least one.
pub(super) fn connections_within(wanted: u32, descriptors: u64) -> u32 {
    let room = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
    wanted.min(u32::try_from(room).unwrap_or(u32::MAX))
}

/// What a person is told when fewer than `wanted` are allowed.
pub(super) fn clamp_note(wanted: u32, descriptors: u64, allowed: u32) -> String {
    let mut note = format!(
        "--max-connections {wanted}: only {descriptors} descriptors are allowed, using {allowed}"
    );
    if allowed < CONNECTIONS_FEW {
        note.push_str(
            "; little or nothing will be fetched: raise the hard limit (ulimit -Hn) and start again",
        );
    }
    note
}

/// Fewer connections than this fetch next to nothing: a silent peer holds one for seconds.
const CONNECTIONS_FEW: u32 = 16;

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
    fn a_clamp_that_stops_the_work_is_said_plainly() {
        assert!(!clamp_note(200, 80, 16).contains("nothing"));
        let note = clamp_note(200, 79, 15);
        assert!(note.starts_with("--max-connections 200: only 79 descriptors"), "{note}");
        assert!(note.contains("little or nothing will be fetched: raise"), "{note}");
    }

    #[test]
    fn raising_the_limit_says_what_holds() {
        let limit = raise_descriptor_limit().expect("the system has a limit");
        assert_eq!(rlimit::Resource::NOFILE.get_soft().ok(), Some(limit));
    }
}
