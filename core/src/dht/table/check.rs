//! What holds of a table after every call.

use super::bucket::Member;
use super::{Table, bucket_limit};
use crate::base::addr::{AddressPolicy, Contact, NETWORK_OF_NODES, prefix};
use crate::limits::{BUCKETS_MAX, DROP_AFTER, REPLACEMENTS_MAX};

impl Table {
    /// Asserts every invariant of the table. For tests, simulation and fuzzing.
    pub fn check(&self) {
        assert!((1..=BUCKETS_MAX).contains(&self.buckets.len()), "between one bucket and the cap");
        let mut held = 0;
        for (depth, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.live.len() <= bucket_limit(depth), "a bucket holds at most its limit");
            assert!(bucket.replacements.len() <= REPLACEMENTS_MAX, "the cache is bounded");
            assert!(
                bucket.replacements.is_empty() || bucket.live.len() == bucket_limit(depth),
                "no node waits beside a free place"
            );
            let entries: Vec<&Member> = bucket.live.iter().chain(&bucket.replacements).collect();
            held += entries.len();
            for (n, entry) in entries.iter().enumerate() {
                let contact = entry.contact;
                assert_eq!(self.bucket_of(contact.id), depth, "a node stands in its own bucket");
                assert_eq!(self.refuses(contact), None, "only admissible nodes are held");
                assert_eq!(
                    self.index.holder(contact.addr),
                    Some(contact.id),
                    "every entry is indexed"
                );
                assert!(entry.failures < DROP_AFTER, "a spent node is gone");
                assert!(entries[..n].iter().all(|other| other.contact.id != contact.id));
                let lonely = |other: &&Member| !same_network(self.policy, &other.contact, &contact);
                assert!(entries[..n].iter().all(lonely), "one node per /24 or /64 in a bucket");
            }
        }
        assert_eq!(held, self.index.len(), "the index holds nothing else");
        self.index.check();
    }
}

/// Whether two nodes are too near each other on the public network to share a bucket.
fn same_network(policy: AddressPolicy, a: &Contact, b: &Contact) -> bool {
    let net = |node: &Contact| prefix(node.addr, NETWORK_OF_NODES);
    policy == AddressPolicy::Public && net(a) == net(b)
}
