//! Every option of `crawl`, declared once: its name, its value, the forms that use it, its help.
//!
//! The declaration yields both the `argh` structure that collects values and the table that the
//! pass before `argh` and the help text read. `argh` has no way to share options between
//! subcommands, so there is one structure for all forms, and the table says who uses what.

use argh::FromArgs;

use super::command::FormName;

/// The forms that use an option.
type Forms = &'static [FormName];

const ALL: Forms = &[FormName::Crawl, FormName::Peers, FormName::Fetch, FormName::Get];
const ROWS: Forms = &[FormName::Crawl, FormName::Fetch, FormName::Get];
const MANY: Forms = &[FormName::Crawl, FormName::Peers, FormName::Fetch];
const GET: Forms = &[FormName::Get];

/// Headings of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What is written, and where.
    Output,
    /// When to end, and how much to do for one infohash.
    Limits,
    /// Sockets and pace.
    Network,
    /// Everything else.
    Other,
}

impl Group {
    /// Every group with its heading, in the order of the help text.
    pub(super) const HEADINGS: [(Self, &'static str); 4] = [
        (Self::Output, "Output"),
        (Self::Limits, "Limits"),
        (Self::Network, "Network"),
        (Self::Other, "Other"),
    ];
}

/// What `--out` means in every form; the defaults differ.
macro_rules! out_text {
    () => {
        "where rows go; may be repeated. The ending chooses the format: .csv or .txt is CSV; - is \
         stdout (CSV). An existing output is resumed. "
    };
}

/// One option as the pass before `argh` and the help text see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// The field of [`Raw`], with underscores where the option has hyphens.
    field: &'static str,
    /// What stands for the value in the help text; `None` for a switch.
    pub(super) value: Option<&'static str>,
    /// Whether it may be given more than once.
    pub(super) repeats: bool,
    /// Who uses it.
    pub(super) forms: Forms,
    /// Where the help text lists it.
    pub(super) group: Group,
    /// What it does, in which unit, with which default, where [`DIFFERENT`] does not say it for a
    /// form.
    help: &'static str,
}

/// What an option does in a form, where that differs from the common text.
const DIFFERENT: &[(FormName, &str, &str)] = &[
    (FormName::Peers, "out", concat!(out_text!(), "Default: peers.csv")),
    (FormName::Get, "out", concat!(out_text!(), "Default: -")),
    (
        FormName::Peers,
        "max_infohashes",
        "admit and write at most N infohashes, and end when they are settled. Default: unlimited",
    ),
    (FormName::Peers, "peers_per_infohash", "keep at most N peers of an infohash. Default: 20"),
    (
        FormName::Peers,
        "profile",
        "pace: home is --rate 200 --new-flows 1800, server is 2000 and 60000; options given beside \
         it win. Default: home",
    ),
];

impl Flag {
    /// The option as written: `--max-infohashes`.
    pub(super) fn name(&self) -> String {
        format!("--{}", self.field.replace('_', "-"))
    }

    /// What it does in that form.
    pub(super) fn help(&self, form: FormName) -> &'static str {
        let own = DIFFERENT.iter().find(|(of, field, _)| (*of, *field) == (form, self.field));
        own.map_or(self.help, |(_, _, help)| *help)
    }

    /// The flag of that name, if there is one.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        FLAGS.iter().find(|flag| flag.name() == name)
    }
}

macro_rules! options {
    (
        values { $($field:ident: $many:ident $value:literal $forms:ident $group:ident $help:literal;)* }
        switches { $($switch:ident: $switch_forms:ident $switch_group:ident $switch_help:literal;)* }
        texts { $($text:ident: $text_help:literal;)* }
    ) => {
        /// What was written after each option, unchecked.
        #[derive(FromArgs, Debug, Default)]
        pub(super) struct Raw {
            $(#[doc = $help] #[argh(option)] pub(super) $field: $many<String>,)*
            $(#[doc = $switch_help] #[argh(switch)] pub(super) $switch: bool,)*
            /// what is no option
            #[argh(positional)]
            pub(super) operands: Vec<String>,
        }

        /// Every option, in the order of the help text.
        pub(super) const FLAGS: &[Flag] = &[
            $(Flag {
                field: stringify!($field),
                value: Some($value),
                repeats: repeats!($many),
                forms: $forms,
                group: Group::$group,
                help: $help,
            },)*
            $(Flag {
                field: stringify!($switch),
                value: None,
                repeats: true,
                forms: $switch_forms,
                group: Group::$switch_group,
                help: $switch_help,
            },)*
            $(Flag {
                field: stringify!($text),
                value: None,
                repeats: true,
                forms: ALL,
                group: Group::Other,
                help: $text_help,
            },)*
        ];
    };
}

macro_rules! repeats {
    (Vec) => {
        true
    };
    (Option) => {
        false
    };
}

options! {
    values {
        out: Vec "PATH" ALL Output
            "where rows go; may be repeated. The ending chooses the format: .csv or .txt is CSV; - is stdout (CSV). An existing output is resumed. Default: metadata.csv";
        rows: Option "peer|torrent" ROWS Output
            "one row per peer kept, or one per infohash; a name over 64 KiB is written once. Default: peer";
        max_output_bytes: Option "N" ALL Output
            "end the run before the outputs together grow past N bytes. Default: none";
        stats: Option "FILE" ALL Output
            "write every counter as JSON when the run ends, and replace FILE by it; one that holds anything but JSON is refused. Default: none";
        state: Option "FILE|none" MANY Output
            "keep in FILE what a later run goes on with: contacts, whom to sample when, unfinished infohashes; none keeps nothing. Default: the first --out with .state behind it; none if that is stdout, or with --allow-private";
        max_infohashes: Option "N" MANY Limits
            "admit and write at most N infohashes, and end when they are settled; those already True in every output do not count. Default: unlimited";
        peers_per_infohash: Option "N" ALL Limits
            "keep, hence dial, at most N peers of an infohash, beside those that you name. Default: 20";
        metadata_peer_attempts: Option "N" ROWS Limits
            "try at most N peers of an infohash that accept a connection; refused and silent ones cost nothing, and those that you name are tried all the same. Default: 5";
        overall_timeout: Option "SECONDS" ALL Limits
            "end the run after so many seconds; a clean end. Default: none";
        until_idle: Option "SECONDS" MANY Limits
            "end the run when nothing was open or due for so many seconds. Default: off";
        bootstrap: Vec "HOST:PORT" ALL Network
            "enter the DHT at this node; may be repeated; IPv6 in brackets. Replaces the public routers. Default: public routers";
        bind: Vec "ADDR:PORT" ALL Network
            "UDP socket, at most one per family; naming one family turns the other off; port 0 picks one. Default: 0.0.0.0:6881 and [::]:6881";
        peer: Vec "IP:PORT" GET Network
            "fetch from this peer, without the DHT; may be repeated, up to 1000 times: each is tried. Default: look peers up";
        profile: Option "home|server" ALL Network
            "pace: home is --rate 200 --new-flows 1800 --max-connections 200, server is 2000, 60000 and 2000; options given beside it win. Default: home";
        rate: Option "N" ALL Network
            "send at most N DHT queries a second. 0, no limit, only with --allow-private. Default: 200";
        new_flows: Option "N" ALL Network
            "meet at most N new remote endpoints a minute, UDP and TCP together. 0, no limit, only with --allow-private. Default: 1800";
        max_connections: Option "N" ROWS Network
            "keep at most N peer connections open. Default: 200";
        transports: Option "LIST" ROWS Network
            "connect to peers over tcp, utp, or both with a comma between them: then uTP where TCP is refused or not answered. Default: tcp,utp";
        encryption: Option "auto|require|off" ROWS Network
            "encrypt connections to peers: auto where a peer takes no other, require always (RC4), off never. Default: auto";
        seed: Option "N" ALL Other
            "derive all randomness from N. Default: from the system";
        progress: Option "auto|always|never" ALL Other
            "live display on stderr; auto shows it on a terminal and prints plain lines elsewhere, never prints neither. Default: auto";
    }
    switches {
        tee: ALL Output
            "also print every CSV row on stdout. Default: off";
        overwrite: ALL Output
            "replace existing outputs instead of resuming them. Default: off";
        escape_formulas: ROWS Output
            "put a ' before names that a spreadsheet would run as a formula. Default: off";
        allow_private: ALL Network
            "use loopback, private and link-local addresses too, for a swarm of your own. Default: off";
        verbose: ALL Other
            "say more: a plain line every 10 s instead of every 60 s. Also -v. Default: off";
    }
    // Answered before `argh` sees them.
    texts {
        help: "print this text. Also -h";
        version: "print the version";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_says_its_default() {
        for flag in FLAGS {
            let exempt = matches!(flag.field, "help" | "version");
            for form in flag.forms {
                let defaults = flag.help(*form).matches("Default: ").count();
                assert!(exempt || defaults == 1, "{} {}", form.words(), flag.name());
            }
        }
    }

    #[test]
    fn no_help_names_an_option_that_its_form_does_not_use() {
        for form in FormName::ALL {
            for flag in FLAGS.iter().filter(|flag| flag.forms.contains(&form)) {
                for other in FLAGS.iter().filter(|other| !other.forms.contains(&form)) {
                    let mut words = flag.help(form).split(|c: char| c != '-' && !c.is_alphabetic());
                    assert!(
                        !words.any(|word| word == other.name()),
                        "{}: {} names {}",
                        form.words(),
                        flag.name(),
                        other.name()
                    );
                }
            }
        }
    }

    #[test]
    fn what_differs_is_of_a_form_that_uses_the_option() {
        for (form, field, _) in DIFFERENT {
            let flag = FLAGS.iter().find(|flag| flag.field == *field);
            assert!(flag.is_some_and(|flag| flag.forms.contains(form)), "{field}");
        }
    }

    #[test]
    fn argh_knows_every_option_of_the_table() {
        for flag in FLAGS.iter().filter(|flag| !matches!(flag.field, "help" | "version")) {
            let name = flag.name();
            let mut words = vec![name.as_str()];
            words.extend(flag.value);
            Raw::from_args(&["crawl"], &words).expect(&name);
        }
    }
}
