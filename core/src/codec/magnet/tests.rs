//! The scenarios of libtorrent's `test_magnet.cpp` (catalogue S5), and our bounds.

use proptest::prelude::*;

use super::*;

const CD: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";

fn v2_digits() -> String {
    "cd".repeat(V2_HASH_LEN)
}

fn link(rest: &str) -> Magnet {
    parse(&format!("magnet:?xt=urn:btih:{CD}{rest}")).expect("a magnet link")
}

fn plain() -> Magnet {
    let (peers, notes) = (Vec::new(), Vec::new());
    Magnet { hash: InfoHash([0xcd; ID_LEN]), v2: None, name: None, peers, notes }
}

#[test]
fn a_link_gives_hash_and_name_and_ignores_trackers_web_seeds_and_nodes() {
    let rest = "&tr=http://1&tr=udp%3A%2F%2Ftracker.ccc.de%3A80&ws=http://foo.com/bar\
                &dht=127.0.0.1:43&dn=Ubuntu+11.04+%28Final%29&dn=other";
    assert_eq!(link(rest), Magnet { name: Some("Ubuntu 11.04 (Final)".into()), ..plain() });
    let other_first = "magnet:?tr=http://1&dn=foo&xt=urn:ed2k:a0a9277894123b27945224fbac8366c9\
                       &xt=urn:btih:c352cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
    let magnet = parse(other_first).expect("a magnet link");
    assert_eq!(magnet.hash.to_string(), "c352cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd");
    assert_eq!(magnet.name.as_deref(), Some("foo"));
    assert_eq!(magnet.notes, [Note::OtherTopics(1)]);
}

#[test]
fn an_escaped_topic_is_read_and_a_broken_escape_refused() {
    assert_eq!(parse(&format!("magnet:?xt=urn%3Abtih%3A{CD}")), Ok(plain()));
    assert_eq!(parse(&format!("magnet:?xt=urn:btih:{}%64", &CD[1..])).map(|m| m.hash), {
        let shifted = "dcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdd";
        Ok(InfoHash::from_hex(shifted).expect("hex"))
    });
    for broken in ["magnet:?xt=urn%%3A", "magnet:?xt=urn%3", "magnet:?xt=%"] {
        assert_eq!(parse(broken), Err(MagnetError::BadEscape), "{broken}");
    }
}

#[test]
fn base32_of_either_case_is_read() {
    for digits in ["MFRGCYTBMJQWEYLCMFRGCYTBMJQWEYLC", "mfrgcytbmjqweylcmfrgcytbmjqweylc"] {
        let expected = Ok(InfoHash(*b"abababababababababab"));
        assert_eq!(parse(digits).map(|m| m.hash), expected);
        assert_eq!(parse(&format!("magnet:?xt=urn:btih:{digits}")).map(|m| m.hash), expected);
    }
    let outside_the_alphabet = "MFRGCYTBMJQWEYLCMFRGCYTBMJQWEYL1";
    assert_eq!(parse(outside_the_alphabet), Err(MagnetError::BadHash));
}

#[test]
fn a_link_without_a_bittorrent_topic_is_refused() {
    for link in
        ["magnet:?dn=foo&dht=127.0.0.1:43", "magnet:?xt=blah&dn=foo", "magnet:?", "magnet:?xt"]
    {
        assert_eq!(parse(link), Err(MagnetError::NoHash), "{link}");
    }
}

#[test]
fn short_long_spaced_and_non_hex_hashes_are_refused() {
    let not_hex = format!("{}g", &CD[1..]);
    let spaced = format!(" {CD}");
    let v2_with_other_prefix = format!("1221{}", v2_digits());
    for digits in
        ["abababab", "ababababababababababab", " abababababababababab", &spaced, &not_hex, ""]
    {
        let link = format!("magnet:?xt=urn:btih:{digits}");
        assert_eq!(parse(&link), Err(MagnetError::BadHash), "{link}");
    }
    for digits in [&v2_with_other_prefix, "1220cdcd", CD, ""] {
        let link = format!("magnet:?xt=urn:btmh:{digits}");
        assert_eq!(parse(&link), Err(MagnetError::BadHash), "{link}");
    }
}

#[test]
fn a_v2_hash_is_kept_whole_and_truncated_for_the_dht() {
    let expected = Magnet { v2: Some([0xcd; V2_HASH_LEN]), ..plain() };
    let v2 = v2_digits();
    for text in [v2.clone(), format!("1220{v2}"), format!("magnet:?xt=urn:btmh:1220{v2}")] {
        assert_eq!(parse(&text), Ok(expected.clone()), "{text}");
    }
    // Where programs write it that do not know the difference.
    for topic in [format!("btih:{v2}"), format!("btih:1220{v2}"), format!("btmh:{v2}")] {
        assert_eq!(parse(&format!("magnet:?xt=urn:{topic}")), Ok(expected.clone()), "{topic}");
    }
}

#[test]
fn a_good_topic_is_enough_and_what_is_ignored_beside_it_is_named() {
    let (v2, other) = (v2_digits(), "ab".repeat(ID_LEN));
    let notes = |rest: &str| link(rest).notes;
    assert_eq!(link("&xt=urn:btmh:1220cdcd").hash, plain().hash);
    let bad = |n| [Note::BadTopics(n, MagnetError::BadHash)];
    assert_eq!(notes("&xt=urn:btmh:1220cdcd&xt=urn:btih:12&xt=urn:btmh:%zz"), bad(3));
    assert_eq!(notes("&xt=urn:btmh:%zz"), [Note::BadTopics(1, MagnetError::BadEscape)]);
    assert_eq!(notes(&format!("&xt=urn:btih:{CD}&xt=urn:btmh:1220{v2}")), []);
    assert_eq!(notes(&format!("&xt=urn:btih:{other}")), [Note::MoreHashes(1)]);
    assert_eq!(link(&format!("&xt=urn:btih:{other}")).hash, plain().hash, "the first counts");
    assert_eq!(notes("&x.pe=host.example:1&x.pe=1.2.3.4"), [Note::BadPeers(2)]);
    let good_last = parse(&format!("magnet:?xt=urn:btmh:12&xt=urn:btih:{CD}"));
    assert_eq!(good_last.map(|magnet| magnet.hash), Ok(plain().hash));
}

#[test]
fn a_link_is_read_as_web_pages_write_it() {
    let named = Magnet { name: Some("a b".into()), ..plain() };
    for link in [
        format!("magnet:?xt=urn:btih:{CD}&amp;dn=a+b&amp;tr=http://1"),
        format!("magnet:?dn=a+b&AMP;amp;xt=urn:btih:{CD}"),
        format!("magnet:?xt=urn:btih:{CD}&#38;dn=a+b&#x26;tr=x"),
        format!("magnet://?xt=urn:btih:{CD}&dn=a+b"),
        format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{CD}%26dn%3Da+b"),
        format!("urn:btih:{CD}&dn=a+b"),
    ] {
        assert_eq!(parse(&link), Ok(named.clone()), "{link}");
    }
}

#[test]
fn a_bare_topic_is_read_in_any_case_and_refused_if_wrong() {
    let v2 = v2_digits();
    assert_eq!(parse(&format!("urn:btih:{CD}")), Ok(plain()));
    assert_eq!(parse(&format!(" URN:BTIH:{}\n", CD.to_uppercase())), Ok(plain()));
    let expected = Magnet { v2: Some([0xcd; V2_HASH_LEN]), ..plain() };
    assert_eq!(parse(&format!("urn:btmh:1220{v2}")), Ok(expected));
    assert_eq!(parse("urn:btih:cdcd"), Err(MagnetError::BadHash));
    assert_eq!(parse("urn:isbn:1234"), Err(MagnetError::NoHash));
}

#[test]
fn a_hybrid_link_prefers_the_v1_hash_and_keeps_both() {
    let v2 = v2_digits();
    let v1 = "0123456789abcdef0123456789abcdef01234567";
    for link in [
        format!("magnet:?xt=urn:btmh:1220{v2}&xt=urn:btih:{v1}"),
        format!("magnet:?xt.1=urn:btih:{v1}&xt.2=urn:btmh:1220{v2}"),
    ] {
        let magnet = parse(&link).expect("a magnet link");
        assert_eq!(magnet.hash.to_string(), v1);
        assert_eq!(magnet.v2, Some([0xcd; V2_HASH_LEN]));
    }
}

#[test]
fn peers_are_addresses_each_once_and_bounded() {
    let rest = "&x.pe=127.0.0.1:43&x.pe=<invalid1>&x.pe=<invalid2>:100&x.pe=[::1]:45\
                &x.pe=%5B%3A%3A1%5D%3A45&x.pe=host.example:1&x.pe=1.2.3.4:70000";
    let expected: Vec<SocketAddr> =
        vec!["127.0.0.1:43".parse().expect("v4"), "[::1]:45".parse().expect("v6")];
    assert_eq!(link(rest).peers, expected);
    assert_eq!(link(rest).notes, [Note::BadPeers(4)]);

    let many: String = (1..=101).map(|port| format!("&x.pe=1.2.3.4:{port}")).collect();
    assert_eq!(link(&many).peers.len(), 100);
    assert_eq!(link(&many).notes, [Note::MorePeers(1)]);
}

#[test]
fn file_selections_are_ignored_whatever_they_say() {
    let selections = [
        "0,2,4,6-8",
        "0",
        "8-6",
        "-",
        "-5",
        "5-",
        "\"1\"",
        "a-b",
        "1,,2",
        "99999999999999999999",
        "1-99999999999",
    ];
    for so in selections {
        assert_eq!(link(&format!("&so={so}")), plain(), "{so}");
    }
    assert_eq!(link("&so=1&so=2"), plain());
}

#[test]
fn a_bare_hash_is_read_with_white_space_around_it() {
    for text in [CD, &CD.to_uppercase(), &format!(" {CD}\r\n")] {
        assert_eq!(parse(text), Ok(plain()));
    }
    assert_eq!(parse(""), Err(MagnetError::NotMagnet));
    assert_eq!(parse("http://example.com/x.torrent"), Err(MagnetError::NotMagnet));
    assert_eq!(parse(&CD.replace('c', "x")), Err(MagnetError::BadHash));
    assert_eq!(parse(&format!("1221{}", v2_digits())), Err(MagnetError::BadHash));
}

#[test]
fn scheme_keys_and_urn_are_read_in_any_case() {
    assert_eq!(parse(&format!("MAGNET:?XT=URN:BTIH:{}", CD.to_uppercase())), Ok(plain()));
}

#[test]
fn a_name_that_is_not_utf_8_or_wrongly_escaped_is_shown_as_far_as_it_goes() {
    assert_eq!(link("&dn=a%ffb").name.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(link("&dn=100%").name.as_deref(), Some("100%"));
    assert_eq!(link("&dn=%E4%BD%A0").name.as_deref(), Some("你"));
}

#[test]
fn a_text_beyond_the_limit_is_refused_and_one_at_it_is_not() {
    let head = format!("magnet:?xt=urn:btih:{CD}&tr=");
    let padded = |length: usize| head.clone() + &"x".repeat(length - head.len());
    assert_eq!(parse(&padded(65_536)), Ok(plain()));
    assert_eq!(parse(&padded(65_537)), Err(MagnetError::TooLong));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse(&format!("magnet:?{text}"));
        let _ = parse(&format!("magnet:?xt=urn:btih:{text}"));
    }

    #[test]
    fn every_hash_is_read_back_from_its_link(hash in any::<[u8; ID_LEN]>()) {
        let hash = InfoHash(hash);
        prop_assert_eq!(parse(&hash.to_string()).map(|m| m.hash), Ok(hash));
        prop_assert_eq!(parse(&format!("magnet:?xt=urn:btih:{hash}")).map(|m| m.hash), Ok(hash));
    }
}
