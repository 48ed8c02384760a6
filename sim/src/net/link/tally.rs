//! What went into the links and what became of it, to the packet and to the byte.

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// At random.
    Random,
    /// In a burst.
    Burst,
    /// Longer than what gets through.
    Oversize,
    /// The bottleneck's queue was full.
    Queue,
    /// Something was cut.
    Partition,
}

/// Datagrams and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub datagrams: u64,
    /// How long they are in all.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, len: usize) {
        self.datagrams += 1;
        self.bytes += len as u64;
    }

    fn plus(self, other: Self) -> Self {
        Self { datagrams: self.datagrams + other.datagrams, bytes: self.bytes + other.bytes }
    }
}

/// One direction. What was sent, with its duplicates, was either delivered or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTally {
    /// Handed to the links.
    pub sent: Count,
    /// Made by them in addition.
    pub duplicated: Count,
    /// Delivered, or about to be.
    pub delivered: Count,
    /// Lost at random.
    pub random: Count,
    /// Lost in bursts.
    pub burst: Count,
    /// Too long.
    pub oversize: Count,
    /// Dropped at the tail of the bottleneck's queue.
    pub queue: Count,
    /// Lost to partitions.
    pub partition: Count,
}

impl LinkTally {
    /// Everything lost.
    pub fn all_lost(&self) -> Count {
        [self.random, self.burst, self.oversize, self.queue, self.partition]
            .into_iter()
            .fold(Count::default(), Count::plus)
    }

    /// Whether nothing came from nowhere or went there.
    pub fn balances(&self) -> bool {
        self.sent.plus(self.duplicated) == self.delivered.plus(self.all_lost())
    }

    pub(super) fn lost(&mut self, loss: Loss) -> &mut Count {
        match loss {
            Loss::Random => &mut self.random,
            Loss::Burst => &mut self.burst,
            Loss::Oversize => &mut self.oversize,
            Loss::Queue => &mut self.queue,
            Loss::Partition => &mut self.partition,
        }
    }
}
