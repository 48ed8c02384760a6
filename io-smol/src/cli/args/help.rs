//! The help text, made from the table of options. Goes to stdout; never wider than 80 columns.

use super::command::FormName;
use super::options::{FLAGS, Flag, Group};

/// Columns that the text fits.
pub(super) const WIDTH: usize = 80;
/// Where the meaning of an option begins.
const INDENT: usize = 6;

/// The help text of a form.
pub(super) fn text(form: FormName) -> String {
    let mut out = String::new();
    let (usage, about, examples) = head(form);
    for line in usage {
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    wrap(&mut out, 0, about);
    for (group, heading) in Group::HEADINGS {
        let flags = FLAGS.iter().filter(|f| f.group == group && f.forms.contains(&form));
        out.push_str(&format!("\n{heading}:\n"));
        for flag in flags {
            describe(&mut out, flag, form);
        }
    }
    out.push_str("\nExamples:\n");
    for (what, command) in examples {
        wrap(&mut out, 2, &format!("{what}:"));
        out.push_str(&format!("      {command}\n"));
    }
    out.push('\n');
    wrap(&mut out, 0, status(form));
    out
}

fn status(form: FormName) -> &'static str {
    match form {
        FormName::Crawl => {
            "Exit status: 0 ended as asked; 1 no node answered, a socket or an output was lost, or \
             get verified nothing; 2 usage, or a file that cannot be used."
        }
        FormName::Peers => {
            "Exit status: 0 ended as asked; 1 no node answered, or a socket or an output was lost; \
             2 usage, or a file that cannot be used."
        }
        FormName::Fetch => {
            "Exit status: 0 ended as asked; 1 no node answered and no peer that the list names was \
             dialled, or a socket or an output was lost; 2 usage, an input without a usable line, \
             or a file that cannot be used."
        }
        FormName::Get => {
            "Exit status: 0 verified; 1 not verified, no node answered, or a socket or an output \
             was lost; 2 usage, or a file that cannot be used."
        }
    }
}

fn describe(out: &mut String, flag: &Flag, form: FormName) {
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    out.push_str(&format!("  {}{value}\n", flag.name()));
    wrap(out, INDENT, flag.help(form));
}

/// Appends `text`, broken at spaces, every line indented.
fn wrap(out: &mut String, indent: usize, text: &str) {
    let mut line = " ".repeat(indent);
    for word in text.split(' ') {
        let blank = line.trim().is_empty();
        if !blank && line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent);
        } else if !blank {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

type Head = (&'static [&'static str], &'static str, [(&'static str, &'static str); 2]);

/// Usage lines, purpose and examples of a form.
fn head(form: FormName) -> Head {
    match form {
        FormName::Crawl => (
            &[
                "Usage: crawl [OPTIONS]",
                "       crawl peers [OPTIONS]",
                "       crawl fetch PEERS.csv|- [OPTIONS]",
                "       crawl get INFOHASH|MAGNET [--peer IP:PORT]... [OPTIONS]",
            ],
            "Crawls the BitTorrent DHT until a limit, the timeout or a signal, and writes the \
             verified metadata of every torrent it finds. Each form has its own help: crawl get \
             --help.",
            [
                (
                    "Crawl the public DHT for an hour",
                    "crawl --out metadata.csv --overall-timeout 3600",
                ),
                (
                    "A thousand torrents, faster, to a pipe",
                    "crawl --out - --max-infohashes 1000 --profile server",
                ),
            ],
        ),
        FormName::Peers => (
            &["Usage: crawl peers [OPTIONS]"],
            "Step 1 alone: finds infohashes and their peers and appends infohash,peer_ip,peer_port \
             to the output, without repeating a pair. Fetches nothing.",
            [
                ("Collect for ten minutes", "crawl peers --out peers.csv --overall-timeout 600"),
                ("Fetch as the pairs come", "crawl peers --out - | crawl fetch - --bind 0.0.0.0:0"),
            ],
        ),
        FormName::Fetch => (
            &["Usage: crawl fetch PEERS.csv|- [OPTIONS]"],
            "Step 2 alone: fetches the metadata of the infohash,peer_ip,peer_port lines of a file, \
             or of - (stdin), or of the rows of a metadata.csv, as spreadsheets save them too. A line \
             may also be a bare infohash or a magnet link. Each peer in a column is tried, up to 1000 \
             for an infohash; those within links are hearsay. A bad line is named and skipped.",
            [
                ("Fetch what step 1 found", "crawl fetch peers.csv --out metadata.csv"),
                ("Fetch a list of infohashes", "cut -d, -f1 old.csv | crawl fetch - --out new.csv"),
            ],
        ),
        FormName::Get => (
            &["Usage: crawl get INFOHASH|MAGNET [--peer IP:PORT]... [OPTIONS]"],
            "Fetches one torrent's metadata, from the given peers, or from peers that the DHT \
             knows. Prints its rows on stdout unless --out says otherwise.",
            [
                ("Look the torrent up", "crawl get 631a31dd0a46257d5078c0dee4e66e26f73e42ac"),
                (
                    "Ask one peer",
                    "crawl get 631a31dd0a46257d5078c0dee4e66e26f73e42ac --peer 192.0.2.7:6881",
                ),
            ],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_fits_80_columns() {
        for form in FormName::ALL {
            for line in text(form).lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line.trim_end(), line);
            }
        }
    }

    #[test]
    fn a_form_lists_its_own_options_and_no_others() {
        for form in FormName::ALL {
            let text = text(form);
            for flag in FLAGS {
                let name = format!("  {}", flag.name());
                let listed = text.lines().any(|line| line.split(" ").take(3).eq(name.split(" ")));
                assert_eq!(listed, flag.forms.contains(&form), "{form:?} {}", flag.name());
            }
        }
    }
}
