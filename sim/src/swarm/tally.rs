//! What was fetched, by what the peers of each torrent take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, Read};

use estudely_core::InfoHash;
use serde_json::Value;

use super::Swarm;
use super::ways::Way;
use crate::judge::score::{self, Score};
use crate::world::dht::PeerState;
use crate::world::truth::{TruthError, TruthFile};

/// Over what a torrent can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Some peer that serves it takes TCP in the clear.
    Plain,
    /// All that serve it take uTP alone.
    Utp,
    /// All that serve it take encrypted connections alone.
    Encrypted,
    /// All that serve it take one of these two alone, or encrypted connections over uTP.
    Either,
}

impl Class {
    /// Every one, in order of declaration.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Utp, Self::Encrypted, Self::Either];

    const fn words(self) -> &'static str {
        match self {
            Self::Plain => "by plain TCP",
            Self::Utp => "by uTP alone",
            Self::Encrypted => "by encryption alone",
            Self::Either => "by uTP or encryption",
        }
    }

    /// That of the peers that serve a torrent, by the words of the truth file.
    fn of<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Self {
        let all = |way: Way| words.clone().all(|word| word == way.word());
        let is_plain =
            |word: &str| [Way::Utp, Way::Encrypted].iter().all(|w| !word.contains(w.word()));
        match () {
            () if words.clone().any(is_plain) => Self::Plain,
            () if all(Way::Utp) => Self::Utp,
            () if all(Way::Encrypted) => Self::Encrypted,
            () => Self::Either,
        }
    }
}

/// How many torrents of a class had to be found, and how many of them were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// All.
    pub due: u64,
    /// Those found.
    pub found: u64,
}

/// How a file compares with the truth, all in all and by class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// All in all.
    pub score: Score,
    /// In the order of [`Class::ALL`].
    pub classes: [Share; 4],
}

/// For people: the score, and one line more.
impl fmt::Display for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.score)?;
        let classes = Class::ALL.iter().zip(&self.classes);
        for (class, Share { due, found }) in classes {
            let mark = if *class == Class::Plain { "" } else { ", " };
            write!(f, "{mark}{found} of {due} {}", class.words())?;
        }
        Ok(())
    }
}

/// The truth, ready to score files against it.
#[derive(Clone, Debug)]
pub struct Known {
    truth: TruthFile,
    classes: BTreeMap<InfoHash, Class>,
}

impl Known {
    /// Of what is served.
    pub fn of(swarm: &Swarm) -> io::Result<Self> {
        let mut file = Vec::new();
        swarm.write_truth(&mut file)?;
        Self::read(&file[..]).map_err(|error| match error {
            TruthError::Io(error) => error,
            TruthError::Line(_) => io::Error::other(error),
        })
    }

    /// Of a truth file.
    pub fn read(mut file: impl Read) -> Result<Self, TruthError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let truth = TruthFile::read(&bytes[..])?;
        let mut classes = BTreeMap::new();
        for (line, number) in bytes.lines().zip(1..) {
            let (hash, class) = class_in(&line?).ok_or(TruthError::Line(number))?;
            classes.insert(hash, class);
        }
        Ok(Self { truth, classes })
    }

    /// Scores a file. Fails only if it cannot be read as CSV.
    pub fn score(&self, file: impl Read) -> Result<Scored, csv::Error> {
        let score = score::compare(&self.truth, file)?;
        let missing: BTreeSet<_> = score.missing.iter().collect();
        let wrong: BTreeSet<_> = score.wrong.iter().map(|wrong| wrong.infohash.as_str()).collect();
        let mut classes = [Share::default(); 4];
        for (hash, _) in self.truth.iter().filter(|(_, expected)| expected.is_due()) {
            let Some(class) = self.classes.get(hash) else { continue };
            let is_found = !missing.contains(hash) && !wrong.contains(hash.to_string().as_str());
            let share = &mut classes[*class as usize];
            share.due += 1;
            share.found += u64::from(is_found);
        }
        Ok(Scored { score, classes })
    }
}

/// A torrent and its class, of a line that the truth file's own reader has taken.
fn class_in(line: &str) -> Option<(InfoHash, Class)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let serving = line["peers"]
        .as_array()?
        .iter()
        .filter(|peer| peer["state"].as_str() == Some(PeerState::Live.word()));
    let words = serving.map(|peer| peer["transport"].as_str().unwrap_or(Way::Plain.word()));
    Some((InfoHash::from_hex(line["infohash"].as_str()?)?, Class::of(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,metadata_ok\n";

    /// A torrent number `n` whose peers take these, the dead one plain TCP.
    fn line(n: u8, words: &[&str]) -> String {
        let dead = [("refuses", "tcp", 1)];
        let live = words.iter().zip(2..).map(|(word, port)| ("live", *word, port));
        let peers: Vec<_> = dead
            .into_iter()
            .chain(live)
            .map(|(state, transport, port)| {
                format!(
                    r#"{{"addr":"127.0.0.1:{port}","state":"{state}","transport":"{transport}"}}"#
                )
            })
            .collect();
        format!(
            "{{\"infohash\":\"{}\",\"name\":\"a\",\"file_count\":1,\"total_bytes\":2,\
             \"piece_length\":3,\"exposed\":true,\"peers\":[{}]}}\n",
            InfoHash([n; 20]),
            peers.join(",")
        )
    }

    #[test]
    fn every_torrent_counts_in_the_class_of_its_peers() {
        let truth = [
            line(1, &["utp", "mse", "tcp"]),
            line(2, &["utp", "utp"]),
            line(3, &["mse"]),
            line(4, &["utp", "mse"]),
            line(5, &["utp-mse"]),
            line(6, &["utp"]),
        ];
        let known = Known::read(truth.concat().as_bytes()).expect("read");
        let mut file = HEADER.to_owned();
        for n in [1, 2, 3, 4] {
            file += &format!("{},a,1,2,3,127.0.0.1,2,True\n", InfoHash([n; 20]));
        }
        file += &format!("{},another name,1,2,3,127.0.0.1,2,True\n", InfoHash([6; 20]));
        let scored = known.score(file.as_bytes()).expect("a score");
        let share = |due, found| Share { due, found };
        assert_eq!(scored.classes, [share(1, 1), share(2, 1), share(1, 1), share(2, 1)]);
        assert_eq!((scored.score.due, scored.score.found), (6, 4));
        let said = scored.to_string();
        assert!(said.ends_with(
            "\n1 of 1 by plain TCP, 1 of 2 by uTP alone, 1 of 1 by encryption alone, \
             1 of 2 by uTP or encryption"
        ));
    }
}
