//! Whole command lines.

use super::*;

const HASH: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";

fn parsed(line: &str) -> Result<Command, String> {
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    match parse(&words) {
        Ok(Parsed::Run(command)) => Ok(*command),
        Ok(Parsed::Text(text)) => panic!("{line}: {text}"),
        Err(error) => Err(error.to_string()),
    }
}

fn good(line: &str) -> Command {
    parsed(line).expect(line)
}

#[test]
fn without_options_everything_has_its_documented_default() {
    let command = good("");
    assert_eq!(command.form, Form::Crawl);
    assert_eq!(command.outputs, [Place::File("metadata.csv".into())]);
    assert_eq!(command.pace, Pace::HOME);
    assert_eq!((command.peers_per_infohash, command.peer_attempts), (20, 5));
    assert_eq!((command.max_infohashes, command.overall_timeout), (None, None));
    assert!(command.bind.is_empty() && command.bootstrap.is_empty());
    assert_eq!(good("peers").outputs, [Place::File("peers.csv".into())]);
    assert_eq!(good("fetch x.csv").outputs, [Place::File("metadata.csv".into())]);
    assert_eq!(good(&format!("get {HASH}")).outputs, [Place::Stdout]);
}

#[test]
fn a_flag_beside_a_profile_wins_whatever_the_order() {
    let expected = Pace { rate: Some(7), ..Pace::SERVER };
    assert_eq!(good("--profile server --rate 7").pace, expected);
    assert_eq!(good("--rate 7 --profile server").pace, expected);
}

#[test]
fn no_limit_needs_allow_private() {
    let pace = good("--rate 0 --new-flows 0 --allow-private").pace;
    assert_eq!((pace.rate, pace.new_flows), (None, None));
    let error = parsed("--rate 0").expect_err("refused");
    assert!(error.starts_with("--rate 0: ") && error.contains("--allow-private"), "{error}");
    assert!(parsed("--new-flows 0").is_err());
    assert!(parsed("--max-connections 0 --allow-private").is_err());
}

#[test]
fn numbers_are_refused_one_past_their_limits() {
    let cases = [
        ("--max-infohashes", "1", "18446744073709551615", ["0", "18446744073709551616"]),
        ("--peers-per-infohash", "1", "200", ["0", "201"]),
        ("--metadata-peer-attempts", "1", "200", ["0", "201"]),
        ("--max-output-bytes", "1", "18446744073709551615", ["0", "-1"]),
        ("--rate", "1", "1000000", ["1000001", "x"]),
        ("--new-flows", "1", "100000000", ["100000001", "1.5"]),
        ("--max-connections", "1", "1000000", ["0", "1000001"]),
        ("--seed", "0", "18446744073709551615", ["-1", "0x1"]),
    ];
    for (option, least, most, refused) in cases {
        good(&format!("{option} {least}"));
        good(&format!("{option}={most}"));
        for value in refused {
            let error = parsed(&format!("{option} {value}")).expect_err(value);
            assert!(error.starts_with(&format!("{option} {value}: must be")), "{error}");
        }
    }
}

#[test]
fn one_socket_per_family_is_enough() {
    let bind = good("--bind 0.0.0.0:0 --bind [::]:0").bind;
    assert_eq!(bind.len(), 2);
    let error = parsed("--bind 0.0.0.0:0 --bind 127.0.0.1:1").expect_err("refused");
    assert!(error.contains("--bind 127.0.0.1:1"), "{error}");
}

#[test]
fn get_takes_one_target_and_any_number_of_peers() {
    let command = good(&format!("get {HASH} --peer 127.0.0.1:1 --peer [::1]:2"));
    let Form::Get { target, peers } = command.form else { panic!("{:?}", command.form) };
    assert_eq!(target.hash.to_string(), HASH);
    assert_eq!(peers.len(), 2);
    assert!(parsed("get").is_err());
    assert!(parsed("get xyz").is_err());
    assert!(parsed(&format!("get {HASH} {HASH}")).is_err());
}

#[test]
fn stray_words_are_refused_and_a_late_form_is_explained() {
    let error = parsed("--rate 5 peers").expect_err("refused");
    assert!(error.contains("write crawl peers before any option"), "{error}");
    assert!(parsed("metadata.csv").is_err());
    assert!(parsed("fetch a.csv b.csv").is_err());
    assert!(parsed("fetch").is_err());
    assert!(parsed("peers x").is_err());
}

#[test]
fn stdout_is_named_once() {
    assert!(parsed("--out - --out -").is_err());
    assert!(parsed("--out - --tee").is_err());
    assert!(parsed(&format!("get {HASH} --tee")).is_err());
    assert_eq!(good("--out - --out a.csv").outputs.len(), 2);
}

#[test]
fn what_steers_a_terminal_is_escaped_in_an_error() {
    let error = parsed("--rate \u{1b}[2J").expect_err("refused");
    assert_eq!(error, "--rate \\u{1b}[2J: must be a whole number from 0 to 1000000");
}

#[test]
fn the_state_lies_beside_the_first_output_unless_there_is_none_or_the_swarm_is_private() {
    let state = |line: &str| good(line).state.map(|path| path.display().to_string());
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(state(""), is("metadata.csv.state"));
    assert_eq!(state("--out a/x.txt --out -"), is("a/x.txt.state"));
    assert_eq!(state("peers"), is("peers.csv.state"));
    assert_eq!(state("fetch x"), is("metadata.csv.state"));
    for line in ["--out -", "--out - --out a.csv", "--allow-private", "--state none"] {
        assert_eq!(state(line), None, "{line}");
    }
    assert_eq!(state(&format!("get {HASH} --out x.csv")), None);
    for line in ["--out -", "--allow-private", "peers", "fetch x"] {
        assert_eq!(state(&format!("{line} --state s")), is("s"), "{line}");
    }
    assert_eq!(state("--state ./none"), is("./none"));
    assert!(parsed("--state -").is_err());
}

#[test]
fn more_peers_than_are_tried_are_refused() {
    let line = |count: usize| {
        let mut words =
            vec!["get".to_owned(), "631a31dd0a46257d5078c0dee4e66e26f73e42ac".to_owned()];
        words.extend((1..=count).map(|port| format!("--peer=127.0.0.1:{port}")));
        parse(&words)
    };
    assert!(line(1_000).is_ok());
    let error = line(1_001).expect_err("one too many").to_string();
    assert_eq!(error, "--peer 127.0.0.1:1001: at most 1000 of them; leave some out");
}

#[test]
fn transports_are_named_each_once_and_both_is_the_default() {
    let both = TransportPolicy::Any;
    let word = |line: &str| parsed(line).map(|command| command.transports);
    assert_eq!(word(""), Ok(both));
    assert_eq!(word("--transports tcp"), Ok(TransportPolicy::Tcp));
    assert_eq!(word("fetch - --transports=utp"), Ok(TransportPolicy::Utp));
    assert_eq!(word(&format!("get {HASH} --transports tcp,utp")), Ok(both));
    assert_eq!(word("--transports utp,tcp"), Ok(both));
    for value in ["tcp,", ",", "udp", "TCP", "tcp,udp", "tcp,,utp"] {
        let error = parsed(&format!("--transports={value}")).expect_err(value);
        assert!(error.ends_with("must be tcp, utp, or both with a comma between them"), "{error}");
    }
    let error = parsed("--transports tcp,utp,tcp").expect_err("twice");
    assert!(error.ends_with("names one of them twice"), "{error}");
    assert!(parsed("peers --transports tcp").is_err());
}

#[test]
fn encryption_has_three_words_and_auto_is_the_default() {
    let word = |line: &str| parsed(line).map(|command| command.encryption);
    assert_eq!(word(""), Ok(EncryptionPolicy::Auto));
    assert_eq!(word("--encryption auto"), Ok(EncryptionPolicy::Auto));
    assert_eq!(word("fetch - --encryption=require"), Ok(EncryptionPolicy::Require));
    assert_eq!(word(&format!("get {HASH} --encryption off")), Ok(EncryptionPolicy::Off));
    for line in ["--encryption on", "--encryption rc4", "--encryption Off"] {
        let error = parsed(line).expect_err(line);
        assert!(error.ends_with("must be one of auto, require, off"), "{error}");
    }
    assert!(parsed("peers --encryption off").is_err());
}
