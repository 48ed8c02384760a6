//! The pass before `argh`: forms, spellings that `argh` does not know, and errors that it cannot
//! word (`--x=5`, `-h`, `-v`, a lone `-`, options that a form does not use, repeated ones).
//!
//! It decides no value: what comes out is for `argh` to collect and for `value` to check.

use super::command::{FormName, UsageError};
use super::options::{FLAGS, Flag};
use crate::text::{printable, word};

/// What the command line asks for, before any value was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// `--help` or `-h` for a form.
    Help(FormName),
    /// `--version`.
    Version,
    /// A run: words that `argh` accepts.
    Run {
        /// Which form was named.
        form: FormName,
        /// Options, then `--`, then operands.
        argv: Vec<String>,
    },
}

/// Options of the ancestor, with what took their place.
const REPLACED: &[(&str, &str)] =
    &[("--output", "use --out PATH"), ("--stdout-only", "use --out -")];

/// Splits the words of a command line.
pub(super) fn split(args: &[String]) -> Result<Words, UsageError> {
    let (form, rest) = match args.first().map(String::as_str) {
        Some("help") => return help_for(&args[1..]),
        Some(first) => match FormName::find(first) {
            Some(form) => (form, &args[1..]),
            None => (FormName::Crawl, args),
        },
        None => (FormName::Crawl, args),
    };
    let (mut options, mut operands, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            operands.extend(words.by_ref().cloned());
            break;
        }
        if word == "-" || !word.starts_with('-') {
            operands.push(word.clone());
            continue;
        }
        let (name, attached) = spelled(word);
        let flag = known(name, form)?;
        match flag.name().as_str() {
            "--help" if attached.is_none() => return Ok(Words::Help(form)),
            "--version" if attached.is_none() => return Ok(Words::Version),
            _ => {}
        }
        let name = flag.name();
        if seen.contains(&name) {
            if !flag.repeats {
                return Err(UsageError::new(format!("{name}: given twice; give it once")));
            }
            if flag.value.is_none() {
                continue;
            }
        }
        options.push(name.clone());
        options.extend(value_of(flag, attached, &mut words)?);
        seen.push(name);
    }
    options.push("--".to_owned());
    options.append(&mut operands);
    Ok(Words::Run { form, argv: options })
}

/// `crawl help`, and the same with a form behind it. Options behind it are passed over.
fn help_for(words: &[String]) -> Result<Words, UsageError> {
    let first = words.first().map(String::as_str);
    let form = match first {
        None | Some("crawl" | "help") => FormName::Crawl,
        Some(option) if option.starts_with('-') => return Ok(Words::Help(FormName::Crawl)),
        Some(first) => FormName::find(first).ok_or_else(|| {
            UsageError::new(format!(
                "help {}: no form of crawl; name peers, fetch or get, or none",
                printable(first)
            ))
        })?,
    };
    match words.get(1).filter(|second| !second.starts_with('-')) {
        Some(second) => Err(UsageError::new(format!(
            "{}: help takes one form; write crawl help {}",
            word(second),
            first.unwrap_or_default()
        ))),
        None => Ok(Words::Help(form)),
    }
}

/// An option's long name and the value written behind `=`, if any.
fn spelled(word: &str) -> (&str, Option<&str>) {
    match word {
        "-h" => ("--help", None),
        "-v" => ("--verbose", None),
        _ => match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        },
    }
}

/// The flag of that name, if the form uses it.
fn known(name: &str, form: FormName) -> Result<&'static Flag, UsageError> {
    let Some(flag) = Flag::find(name) else {
        let name = printable(name);
        let cure = match REPLACED.iter().find(|(old, _)| *old == name) {
            Some((_, cure)) => (*cure).to_owned(),
            None => match nearest(&name) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("see {} --help", form.words()),
            },
        };
        return Err(UsageError::new(format!("{name}: unknown option; {cure}")));
    };
    if flag.forms.contains(&form) {
        return Ok(flag);
    }
    let users: Vec<_> = flag.forms.iter().map(|form| format!("\"{}\"", form.words())).collect();
    Err(UsageError::new(format!(
        "{}: not used by \"{}\", only by {}; leave it out",
        flag.name(),
        form.words(),
        users.join(", ")
    )))
}

/// A known option that differs only in its hyphens or ends early or late.
fn nearest(name: &str) -> Option<String> {
    let bare = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    let wanted = bare(name);
    if wanted.len() < 3 {
        return None;
    }
    let names = || FLAGS.iter().map(Flag::name);
    names().find(|known| bare(known) == wanted).or_else(|| {
        names().find(|known| {
            let known = bare(known);
            known.starts_with(&wanted) || wanted.starts_with(&known)
        })
    })
}

/// The value of `flag`: attached, or the next word.
fn value_of<'a>(
    flag: &Flag,
    attached: Option<&str>,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<Option<String>, UsageError> {
    let Some(meaning) = flag.value else {
        return match attached {
            None => Ok(None),
            Some(value) => Err(UsageError::new(format!(
                "{}={}: a switch takes no value; write {} alone",
                flag.name(),
                printable(value),
                flag.name()
            ))),
        };
    };
    let value = match attached {
        Some(value) => Some(value),
        None => words.next().map(String::as_str).filter(|word| !word.starts_with("--")),
    };
    match value {
        Some(value) if !value.is_empty() => Ok(Some(value.to_owned())),
        _ => Err(UsageError::new(format!(
            "{}: the value is missing; write {} {meaning}",
            flag.name(),
            flag.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn argv(line: &str) -> (FormName, String) {
        match split(&words(line)).expect(line) {
            Words::Run { form, argv } => (form, argv.join(" ")),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        split(&words(line)).expect_err(line).to_string()
    }

    #[test]
    fn every_spelling_becomes_the_one_that_argh_reads() {
        assert_eq!(argv("--rate=5 -v -v"), (FormName::Crawl, "--rate 5 --verbose --".to_owned()));
        assert_eq!(argv("fetch - --out -"), (FormName::Fetch, "--out - -- -".to_owned()));
        assert_eq!(argv("get --peer=a=b X"), (FormName::Get, "--peer a=b -- X".to_owned()));
        assert_eq!(argv("--rate -5"), (FormName::Crawl, "--rate -5 --".to_owned()));
        assert_eq!(argv("fetch -- --odd"), (FormName::Fetch, "-- --odd".to_owned()));
    }

    #[test]
    fn help_belongs_to_the_form() {
        assert_eq!(split(&words("peers -h")), Ok(Words::Help(FormName::Peers)));
        assert_eq!(split(&words("--rate 5 --help")), Ok(Words::Help(FormName::Crawl)));
        assert_eq!(split(&words("help")), Ok(Words::Help(FormName::Crawl)));
        assert_eq!(split(&words("help get")), Ok(Words::Help(FormName::Get)));
        assert_eq!(split(&words("help fetch --out x")), Ok(Words::Help(FormName::Fetch)));
        assert_eq!(split(&words("help --rate")), Ok(Words::Help(FormName::Crawl)));
        assert_eq!(split(&words("get --version")), Ok(Words::Version));
    }

    #[test]
    fn refusals_name_the_option_and_the_cure() {
        let cases = [
            ("--outt x", "--outt: unknown option; did you mean --out?"),
            (
                "--max_infohashes 1",
                "--max_infohashes: unknown option; did you mean --max-infohashes?",
            ),
            ("--serve x", "--serve: unknown option; see crawl --help"),
            (
                "get --state x",
                "--state: not used by \"crawl get\", only by \"crawl\", \"crawl peers\", \"crawl \
                 fetch\"; leave it out",
            ),
            ("peers --zap", "--zap: unknown option; see crawl peers --help"),
            ("-x", "-x: unknown option; see crawl --help"),
            ("--output x.csv", "--output: unknown option; use --out PATH"),
            ("--stdout-only", "--stdout-only: unknown option; use --out -"),
            ("--rate", "--rate: the value is missing; write --rate N"),
            ("--out --tee", "--out: the value is missing; write --out PATH"),
            ("--out=", "--out: the value is missing; write --out PATH"),
            ("--tee=yes", "--tee=yes: a switch takes no value; write --tee alone"),
            ("--version=3", "--version=3: a switch takes no value; write --version alone"),
            ("get --help=", "--help=: a switch takes no value; write --help alone"),
            ("help zap", "help zap: no form of crawl; name peers, fetch or get, or none"),
            ("help get x", "x: help takes one form; write crawl help get"),
            ("--rate 5 --rate 6", "--rate: given twice; give it once"),
            (
                "--peer 1.2.3.4:5",
                "--peer: not used by \"crawl\", only by \"crawl get\"; leave it out",
            ),
            (
                "peers --rows torrent",
                "--rows: not used by \"crawl peers\", only by \"crawl\", \"crawl fetch\", \
                 \"crawl get\"; leave it out",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(refusal(line), expected, "{line}");
        }
    }
}
