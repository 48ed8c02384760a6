//! How scenarios are written on a command line and read back.

use std::fmt;

use super::{Families, Scenario};
use crate::world::vice::Baits;

/// How far apart two names may be and still be meant for each other.
const NEAR: f64 = 0.7;

impl Scenario {
    /// The canonical spelling of a field: `dead-nodes` and `dead_nodes` are one.
    pub fn field(name: &str) -> Option<&'static str> {
        let spelt = name.replace('-', "_");
        Self::FIELDS.iter().map(|(_, field, _)| *field).find(|field| *field == spelt)
    }

    /// Sets one field from `name` and `value` of a command line.
    ///
    /// # Errors
    /// A line that says what is wrong, and which fields have a similar name.
    pub fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(field) = Self::field(name) else {
            let near = near(name, Self::FIELDS.iter().map(|(_, field, _)| *field));
            return Err(format!("a scenario has no field {name}{near}"));
        };
        self.set(field, value).unwrap_or_else(|| Err(format!("no field {field}")))
    }

    /// The fields in which `self` differs from `other`, with the values of `self`.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String)> {
        let mut values = self.values();
        let others = other.values();
        let mut others = others.iter();
        values.retain(|value| others.next() != Some(value));
        values
    }

    /// The options that make the drawn scenario of this seed into this one, or the calm one if
    /// that takes fewer.
    pub fn overrides(&self) -> String {
        let drawn = self.differences(&Self::draw(self.seed));
        let calm = self.differences(&Self::calm(self.seed));
        let is_calm = calm.len() + 1 < drawn.len();
        let differing = if is_calm { calm } else { drawn };
        let options = differing.iter().map(|(name, value)| {
            let name = name.replace('_', "-");
            format!("--{name} {value}")
        });
        let base = is_calm.then(|| "--calm".to_owned());
        base.into_iter().chain(options).collect::<Vec<_>>().join(" ")
    }

    /// Every field with its meaning, by group.
    pub fn explain(&self) -> String {
        let mut text = format!("seed {}\n", self.seed);
        let mut last = "";
        for ((group, name, meaning), (_, value)) in Self::FIELDS.iter().zip(self.values()) {
            if *group != last {
                text.push_str(&format!("{group}\n"));
                last = group;
            }
            text.push_str(&format!("  {:<30} {}\n", format!("{name}={value}"), meaning.trim()));
        }
        text
    }

    /// Whether the numbers fit together.
    ///
    /// # Errors
    /// The first complaint, for a person.
    pub fn check(&self) -> Result<(), String> {
        let percents = [
            ("dead-nodes", self.dead_nodes),
            ("unsampled", self.unsampled),
            ("dead-peers", self.dead_peers),
            ("mse-peers", self.mse_peers),
            ("mse-rc4", self.mse_rc4),
            ("utp-peers", self.utp_peers),
            ("utp-beside", self.utp_beside),
            ("new-ids", self.new_ids),
            ("moves", self.moves),
            ("one-way", self.one_way),
            ("hostile-nodes", self.hostile_nodes),
            ("hostile-peers", self.hostile_peers),
            ("hostile-utp", self.hostile_utp),
        ];
        let thousandths = [
            ("loss", self.loss),
            ("burst", self.burst),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("corrupt", self.corrupt),
            ("resets", self.resets),
            ("stalls", self.stalls),
        ];
        let positive = [
            ("nodes", self.nodes),
            ("torrents", self.torrents),
            ("interval-s", self.interval_s),
            ("connections", self.connections),
            ("peers-per-infohash", self.peers_per_infohash),
            ("peer-attempts", self.peer_attempts),
            ("bait-peers", self.bait_peers),
        ];
        let over = |list: &[(&'static str, u32)], most| {
            list.iter().find(|(_, value)| *value > most).map(|(name, _)| *name)
        };
        if let Some(name) = over(&percents, 100) {
            return Err(format!("{name}: want at most 100 percent"));
        }
        if let Some(name) = over(&thousandths, 1_000) {
            return Err(format!("{name}: want at most 1000 thousandths"));
        }
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name}: want at least 1"));
        }
        if self.new_ids + self.moves > 100 {
            return Err("new-ids and moves: want at most 100 percent together".to_owned());
        }
        if let Err(error) = self.config() {
            return Err(error.to_string().replace('_', "-"));
        }
        self.check_together()?;
        if self.peers_min > self.peers_max {
            return Err("peers-min: want at most as many as peers-max".to_owned());
        }
        Ok(())
    }

    /// Whether fields that go together do.
    fn check_together(&self) -> Result<(), String> {
        if self.names_fail > 0 && self.names_ms == 0 {
            return Err("names-fail: addresses do not fail; give names-ms too".to_owned());
        }
        if self.baiters > 0 && self.bait == Baits::NONE {
            return Err("bait: want at least one, or no baiters".to_owned());
        }
        if self.bait_networks > 0 && self.families != Families::V4 {
            return Err("bait-networks: only addresses of IPv4 share networks".to_owned());
        }
        if self.requests > 0 && self.max_infohashes > 0 {
            return Err("requests: they are all asked for; leave max-infohashes at 0".to_owned());
        }
        Ok(())
    }
}

/// Its seed and what differs from a calm world, one line for each group.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        let differing = self.differences(&Self::calm(self.seed));
        for group in ["world", "links", "hostility", "workload", "session"] {
            let of_group = |name: &str| Self::FIELDS.iter().any(|f| f.0 == group && f.1 == name);
            let mut fields = differing.iter().filter(|(name, _)| of_group(name)).peekable();
            if fields.peek().is_some() {
                write!(f, "\n  {group:<10}")?;
                fields.try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
            }
        }
        Ok(())
    }
}

/// `; did you mean a or b?` for the names that resemble `name`, nearest first; else nothing.
pub fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let spelt = name.replace('-', "_");
    let likeness = |other: &str| {
        let contained = spelt.len() > 2 && (other.contains(&spelt) || spelt.contains(other));
        strsim::jaro_winkler(&spelt, other) + f64::from(u8::from(contained))
    };
    let mut close: Vec<(f64, &str)> = names
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0));
    let close: Vec<String> = close.iter().take(3).map(|(_, name)| name.replace('_', "-")).collect();
    if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_under_both_spellings_and_others_with_a_suggestion() {
        let mut scenario = Scenario::calm(1);
        assert_eq!(scenario.apply("dead-nodes", "7"), Ok(()));
        assert_eq!(scenario.apply("peers_max", "3"), Ok(()));
        assert_eq!((scenario.dead_nodes, scenario.peers_max), (7, 3));
        let complaint = scenario.apply("ded-nodes", "7").expect_err("no such field");
        assert!(complaint.contains("dead-nodes"), "{complaint}");
        let complaint = scenario.apply("hostile", "7").expect_err("no such field");
        assert!(complaint.contains("hostile-nodes") && complaint.contains("hostile-peers"));
        assert!(scenario.apply("nodes", "many").is_err());
    }

    #[test]
    fn overrides_lead_from_the_drawn_scenario_to_the_given_one() {
        let mut wanted = Scenario::draw(5);
        wanted.nodes += 1;
        wanted.node_vices = crate::world::vice::NodeVices::NONE;
        let text = wanted.overrides();
        let mut words = text.split(' ');
        let mut read = Scenario::draw(5);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            read.apply(name.trim_start_matches("--"), value).expect("an override");
        }
        assert_eq!(read, wanted);
        assert_eq!(Scenario::draw(5).overrides(), "");
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused_by_name() {
        for (name, value) in [("loss", "1001"), ("dead-nodes", "101"), ("peers-min", "60")] {
            let mut scenario = Scenario::calm(1);
            scenario.apply(name, value).expect("a number");
            let complaint = scenario.check().expect_err(name);
            assert!(complaint.contains(name), "{complaint}");
        }
    }

    #[test]
    fn a_calm_scenario_prints_as_its_seed_alone() {
        assert_eq!(Scenario::calm(9).to_string(), "seed 9");
        let drawn = Scenario::draw(3).to_string();
        assert!(drawn.lines().count() <= 6 && drawn.contains("\n  world"), "{drawn}");
    }
}
