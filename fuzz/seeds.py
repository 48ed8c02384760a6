#!/usr/bin/env python3
"""Writes the named seeds of `fuzz/corpus`: test vectors, torrents, and what real clients said.

    python3 fuzz/seeds.py                       # vectors and torrents; same bytes every time
    target/clients/bin/python fuzz/seeds.py capture   # conversations with clients, on loopback

Names say where a seed is from: bep* a specification, lt_* a scenario of libtorrent's tests,
torrent_* the real-client suite, captured_* a client's own bytes. What fuzzing adds is not made here.
"""

import hashlib
import os
import re
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

import torrents  # noqa: E402
from bencode import encode  # noqa: E402

# `exchange` holds a conversation about this infohash, which no metadata has (tests/src/fuzz/wire.rs).
NOBODYS = bytes.fromhex("827d0e5cc5e7d11cbe5a3e22572b9f081d4b6a77")

# First byte of an `exchange` input: no greeting from the target, and that infohash; then four cuts.
WHOLE_STREAM = bytes([4 | 8 | 16, 67, 5, 30, 255])
ONE_MESSAGE = bytes([64, 1, 2, 3, 4])

# Larger metadata makes a slow seed and teaches nothing new.
LARGEST = 3_000


def seed(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def bep5():
    """protocol.md 5.1."""
    a, m = b"abcdefghij0123456789", b"mnopqrstuvwxyz123456"
    query = lambda q, **rest: {"a": {"id": a, **rest}, "q": q, "t": "aa", "y": "q"}
    reply = lambda i, **rest: {"r": {"id": i, **rest}, "t": "aa", "y": "r"}
    return {
        "bep5_error": {"e": [201, "A Generic Error Ocurred"], "t": "aa", "y": "e"},
        "bep5_ping": query("ping"),
        "bep5_ping_reply": reply(m),
        "bep5_find_node": query("find_node", target=m),
        "bep5_find_node_reply": reply(b"0123456789abcdefghij", nodes="def456..."),
        "bep5_get_peers": query("get_peers", info_hash=m),
        "bep5_get_peers_values": reply(a, token="aoeusnth", values=["axje.u", "idhtnm"]),
        "bep5_get_peers_nodes": reply(a, nodes="def456...", token="aoeusnth"),
        "bep5_announce": query(
            "announce_peer", implied_port=1, info_hash=m, port=6881, token="aoeusnth"
        ),
        "bep51_query": query("sample_infohashes", target=b"b" * 20),
        "bep51_reply": reply(a, interval=10, nodes=a + b"\x08\x08\x08\x08\x1a\xe1", num=2, samples=m),
        "bep32_want": query("find_node", target=m, want=["n4", "n6"]),
        "bep32_nodes6": reply(a, nodes6=a + bytes.fromhex("2a00" + "11" * 14) + b"\x1a\xe1"),
        "bep33_scrape": query("get_peers", info_hash=m, scrape=1, noseed=1),
        "bep33_filters": reply(a, BFpe=bloom(range(256), ()), BFsd=bloom(range(256), range(1000))),
        "bep42_ip": {**reply(m), "ip": b"\x7c\x1f\x4b\x15\x1a\xe1"},
        "bep42_ip6": {**reply(m), "ip": bytes.fromhex("2001b82921 23be84e16cd6ae529049f1 1ae1")},
        "bep43_read_only": {**query("ping"), "ro": 1},
        "lt_find_node_without_target": query("find_node"),
        "lt_error_as_string": {"e": "Generic Error", "t": "aa", "y": "e"},
        "lt_short_nodes": reply(a, nodes=b"x" * 25, nodes6=b"y" * 37),
        "unknown_method": query("vote", target=m),
        "put": query("put", token="x", v="value"),
        "values_of_three_in_one": reply(a, token="t", values=[b"axje.u" * 3]),
        "samples_ragged": reply(a, interval=-5, num=1 << 40, samples=b"s" * 67),
        "reply_id_short": reply(b"short"),
        "no_transaction": {"r": {"id": a}, "y": "r"},
        "version_utorrent": {**reply(m), "v": b"UT\xa9\xc1"},
    }


def bloom(v4, v6):
    """The filter of protocol.md 5.3 over 192.0.2.x and 2001:db8::x."""
    bits = bytearray(256)
    addresses = [bytes([192, 0, 2, n]) for n in v4]
    addresses += [bytes.fromhex("20010db8") + bytes(10) + n.to_bytes(2, "big") for n in v6]
    for address in addresses:
        digest = hashlib.sha1(address).digest()
        for at in (0, 2):
            index = (digest[at] | digest[at + 1] << 8) % 2048
            bits[index // 8] |= 1 << index % 8
    return bytes(bits)


def vectors():
    for name, message in bep5().items():
        seed("krpc", name, encode(message))
        seed("bdecode", name, encode(message))
    ids = {"124_31_75_21": "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"}
    ids["43_213_53_83"] = "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"
    for ip, node_id in ids.items():
        packed = bytes(int(part) for part in ip.split("_"))
        seed("compact", f"bep42_{ip}", bytes.fromhex(node_id) + packed + b"\x1a\xe1")
    seed("compact", "bep42_v6", bytes.fromhex(
        "0a8ad123be84e16cd6ae529049f1f1bbe9ebb304" "2001b8292123be84e16cd6ae529049f1" "1ae1"))
    for name, peer in {"loopback": "7f0000011ae1", "multicast": "e00000fb14e9", "port_0":
                       "080808080000", "mapped": "00000000000000000000ffff08080808" "1ae1"}.items():
        seed("compact", name, bytes.fromhex(peer))
    peer_wire()
    magnets()
    names()
    lists()
    conversations()
    open_queries()
    routing()
    crawls()
    utp()


def peer_wire():
    """protocol.md 5.4, and one message of each kind while piece 0 is outstanding."""
    head = lambda **keys: encode(dict(keys))
    messages = {
        "bep9_request": head(msg_type=0, piece=0),
        "bep9_data": head(msg_type=1, piece=0, total_size=34256) + b"xxxx",
        "bep9_reject": head(msg_type=2, piece=0),
        "lt_piece_out_of_range": head(msg_type=0, piece=1 << 40),
        "negative_piece": head(msg_type=1, piece=-1, total_size=32846) + b"x",
        "huge_total": head(msg_type=1, piece=0, total_size=(1 << 63) - 1),
        "unknown_kind": head(msg_type=3, piece=0),
        "no_piece": head(msg_type=1),
        "kind_no_number": head(msg_type="1", piece=0),
        "not_bencode": b"piece",
        "keys_in_other_order": b"d5:piecei0e8:msg_typei2e1:zlleee",
    }
    for name, payload in messages.items():
        seed("handshake", name, payload)
        seed("exchange", f"message_{name}", ONE_MESSAGE + payload)
    offers = {
        "bep10_minimal": {"m": {"ut_metadata": 1}},
        "bep10_example": {"m": {"LT_metadata": 1, "ut_pex": 2}, "p": 6881,
                          "v": b"\xc2\xb5Torrent 1.2"},
        "bep9_offer": {"m": {"ut_metadata": 3}, "metadata_size": 31235},
        "withdrawn": {"m": {"ut_metadata": 0}, "metadata_size": 31235},
        "id_too_large": {"m": {"ut_metadata": 256}, "metadata_size": 31235},
        "size_0": {"m": {"ut_metadata": 3}, "metadata_size": 0},
        "size_negative": {"m": {"ut_metadata": 3}, "metadata_size": -1},
        "size_2_gib": {"m": {"ut_metadata": 3}, "metadata_size": 1 << 31},
        "size_as_text": {"m": {"ut_metadata": 3}, "metadata_size": "31235"},
        "m_is_a_list": {"m": ["ut_metadata", 3], "metadata_size": 31235},
    }
    greeting = b"\x13BitTorrent protocol" + bytes(5) + b"\x10\x00\x05" + NOBODYS
    greeting += b"-LT20A0-peerpeerpeer"
    for name, offer in offers.items():
        payload = encode(offer)
        frame = struct.pack(">IBB", len(payload) + 2, 20, 0) + payload
        seed("handshake", name, payload)
        seed("exchange", f"offer_{name}", WHOLE_STREAM + greeting + frame)
    streams = {
        "lt_large_message": b"\xff\xff\xff\xff\x14\x00",
        "lt_have_all": struct.pack(">IB", 1, 14),
        "lt_multiple_bitfields": (struct.pack(">IB", 3, 5) + b"\xff\xff") * 3,
        "keep_alives": bytes(4) * 40,
        "extended_too_short": b"\0\0\0\x01\x14",
        "dht_port": struct.pack(">IBH", 3, 9, 6881),
        "http": None,
    }
    for name, stream in streams.items():
        stream = b"HTTP/1.1 400 Bad Request\r\n\r\n" if stream is None else greeting + stream
        seed("exchange", name, WHOLE_STREAM + stream)
    seed("exchange", "no_extensions", WHOLE_STREAM + greeting.replace(b"\x10\0\x05", b"\0\0\x05"))


def magnets():
    """BEP 9, BEP 53, and libtorrent's test_magnet.cpp."""
    cd, v2 = "cd" * 20, "cd" * 32
    links = {
        "lt_base32": "magnet:?xt=urn:btih:MFRGCYTBMJQWEYLCMFRGCYTBMJQWEYLC",
        "lt_short_hash": "magnet:?xt=urn:btih:abababab",
        "lt_long_hash": f"magnet:?xt=urn:btih:{cd}cdcd",
        "lt_spaced_hash": f"magnet:?xt=urn:btih: {cd}",
        "lt_non_hex": f"magnet:?xt=urn:btih:{cd[1:]}g",
        "lt_escaped": f"magnet:?xt=urn%3Abtih%3A{cd}&dn=Ubuntu+11.04+%28Final%29",
        "lt_broken_escape": "magnet:?xt=urn%%3A",
        "lt_btmh_other_prefix": f"magnet:?xt=urn:btmh:1221{v2}",
        "lt_hybrid": f"magnet:?xt=urn:btmh:1220{v2}&xt=urn:btih:{cd}",
        "lt_two_of_a_kind": f"magnet:?xt.1=urn:btih:{cd}&xt.2=urn:btih:{'ab' * 20}",
        "lt_other_topic": f"magnet:?xt=urn:ed2k:{cd}&xt=urn:btih:{cd}",
        "lt_no_topic": "magnet:?dn=foo&dht=127.0.0.1:43",
        "lt_peers": f"magnet:?xt=urn:btih:{cd}&x.pe=127.0.0.1:43&x.pe=<x>&x.pe=[::1]:45",
        "lt_trackers": f"magnet:?xt=urn:btih:{cd}&tr=http://1&tr.2=udp%3A%2F%2Ft%3A80&ws=http://f",
        "bep53_select": f"magnet:?xt=urn:btih:{cd}&so=0,2,4,6-8",
        "lt_select_odd": f"magnet:?xt=urn:btih:{cd}&so=-4,6-,a,1-2-3,99999999999",
        "bare_v2": v2,
        "bare_multihash": f"1220{v2}",
        "upper_case": f"MAGNET:?XT=URN:BTIH:{cd.upper()}",
    }
    for name, link in links.items():
        seed("magnet", name, link.encode())
        seed("peers_csv", f"magnet_{name}", f"{link}\n".encode())


def names():
    """libtorrent's sanitize_path, verify_encoding and utf8_codepoint, and the suite's own names."""
    odd = {
        "lt_sanitize_traversal": b"/a/../../b/./c/..",
        "lt_sanitize_backslash": b"C:\\dir\\..\\file",
        "lt_trailing_dots": b"a...", "lt_trailing_spaces": b"a   ", "lt_only_dots": b"....",
        "lt_control_chars": bytes(range(1, 32)),
        "lt_format_chars": "\u200e\u200f\u202a\u202e\ufeffname".encode(),
        "lt_colon": b"c:name", "lt_zeroes": b"a\0b\0",
        "lt_force": b"\xf0\x9f\x8e", "lt_truncate": b"x" * 250 + b".extension",
        "lt_truncate_utf": "\u8a9e".encode() * 90 + b".mp4",
        "utf8_largest": b"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80",
        "utf8_five_bytes": b"\xf8\x88\x80\x80\x80\xfc\x84\x80\x80\x80\x80",
        "utf8_surrogates": b"\xed\x9f\xbf\xed\xa0\x80\xed\xbf\xbf\xee\x80\x80",
        "utf8_overlong": b"\xc0\x80\xc1\xbf\xe0\x9f\xbf\xf0\x8f\xbf\xbf",
        "utf8_lonely": b"\x80\xbf\xfe\xffa\x80",
        "line_breaks": "\u0085\u2028\u2029\r\n\v\f".encode(),
    }
    head = bytes([0, 1, 0x1A, 0xE1, 0, 9, 9, 9, 9]) + bytes(27)
    for name, data in odd.items():
        seed("name", name, data)
        seed("csv_row", name, head + data)
    for first in b"=+-@\t":
        seed("csv_row", f"formula_{first:02x}", head + bytes([first]) + b"cmd|'/c'!A0,\"\n")
    for peers in range(4):
        body = b"".join(bytes([0x1A, 0xE1, n & 1]) + b"\x2a" * (4 + 12 * (n & 1)) for n in range(peers))
        seed("csv_row", f"failed_with_{peers}_peers", bytes([1, peers]) + body + bytes(27))


def lists():
    cd = "cd" * 20
    rows = {
        "byte_order_mark": f"\ufeffinfohash,peer_ip,peer_port\n{cd},9.9.9.9,1\n",
        "carriage_returns": f"infohash,peer_ip,peer_port\r\n{cd},9.9.9.9,1\r\n",
        "quoted": f'"infohash","peer_ip","peer_port"\n"{cd}","9.9.9.9","1"\n',
        "unclosed_quote": f'{cd},"9.9.9.9,1\n{cd},9.9.9.9,2\n',
        "ports": f"{cd},9.9.9.9,0\n{cd},9.9.9.9,65536\n{cd},9.9.9.9,-1\n{cd},9.9.9.9, 7 \n",
        "addresses": f"{cd},999.9.9.9,1\n{cd},::ffff:1.2.3.4,1\n{cd},[::1],1\n{cd},host,1\n",
        "fields": f"{cd}\n{cd},\n{cd},9.9.9.9\n{cd},9.9.9.9,1,x\n,,\n\n",
        "torn": f"infohash,peer_ip,peer_port\n{cd},9.9.9.9,1\n{cd[:13]}",
        "nul": f"{cd},9.9.9.9,1\0\n\0\n",
        "metadata_csv": "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,"
                        f"verified\n{cd},n,1,2,3,9.9.9.9,1,True\n",
    }
    for name, text in rows.items():
        seed("peers_csv", name, text.encode())


def conversations():
    """Scripts (tests/src/fuzz/wire.rs) about right metadata of three pieces."""
    right, wrong = lambda piece: bytes([1, piece]), lambda piece: bytes([2, piece, 7])
    script, resumes, poisoned, one_by_one = 32, 2, 128, 1
    told = {
        "right_pieces": (0, right(0) + right(1) + right(2)),
        "wrong_piece": (0, right(0) + wrong(1) + right(2)),
        "resumed": (resumes, right(1) + right(2)),
        "resumed_from_a_liar": (resumes | poisoned, right(1) + right(2) + right(0)),
        "resumed_from_a_liar_one_by_one": (resumes | poisoned | one_by_one, right(1) + right(2) + right(0)),
        "two_liars": (resumes | poisoned, right(1) + right(2) + wrong(0)),
        "resumed_from_a_liar_then_refused": (resumes | poisoned, right(1) + right(2) + bytes([4, 0])),
    }
    for name, (bits, said) in told.items():
        seed("exchange", f"script_{name}", bytes([script | bits, 9, 200, 1, 77]) + said)


def open_queries():
    """Stories of queries (tests/src/fuzz/dht.rs)."""
    ask = lambda to: bytes([0]) + to + bytes(20)
    answer = lambda which: bytes([3, which])
    forge = lambda which, port, at=0, bit=0: bytes([4, which, port, at, bit])
    guess = lambda sender, text: bytes([5]) + sender + bytes([len(text)]) + text
    once = lambda which: bytes([5, 0, 0, 10, which]) + bytes(9)
    once_elsewhere = lambda which, sender: bytes([5]) + sender + bytes([11, which]) + bytes(10)
    wait = bytes([6, 255])  # 5.1 s
    a, b = b"\x01\x01", b"\x02\x02"
    stories = {
        "late_reply": ask(a) + wait * 8 + once(0),
        "late_but_not_too_late": ask(a) + bytes([6, 150]) + once(0),
        "reply_twice": ask(a) + answer(0) + once(0),
        "guessed_transactions": ask(a) + b"".join(guess(a, bytes([n, 255 - n])) for n in range(20)),
        "no_transaction": ask(a) + guess(a, b"") + answer(0),
        "transaction_off_by_a_bit": ask(a) + b"".join(forge(0, 0, at, bit) for at in (0, 1) for bit in range(8)),
        "reply_from_another_port": ask(a) + forge(0, 1) + answer(0),
        "reply_from_another_address": ask(a) + once_elsewhere(0, b) + answer(0),
        "answers_crossed": ask(a) + ask(b) + once_elsewhere(0, b) + once_elsewhere(1, a) + once(1) + once(0),
        "asked_again_after_silence": ask(a) + wait * 8 + ask(a) + once(0) + once(1),
        "reused_ids": b"".join(ask(a) + answer(0) for _ in range(40)) + ask(a) + once(0) + once(40),
        "many_to_one_address": ask(a) * 30 + b"".join(once(n) for n in range(29, -1, -1)),
    }
    for name, story in stories.items():
        seed("endpoint", name, story)


def routing():
    """Stories of nodes (tests/src/fuzz/dht.rs): own id all zero, each step looks up one target."""
    target = bytes(20)
    node = lambda bits, n, at: bytes([bits]) + struct.pack(">H", n) + at
    place = lambda n: bytes([n % 256, n // 256])
    replies = lambda bits, n, at: bytes([0]) + node(bits, n, at) + target
    asks = lambda bits, n, at: bytes([8]) + node(bits, n, at) + target
    fails = lambda which: bytes([9, which]) + target
    exclude = lambda at: bytes([11]) + at + target
    move = lambda own: bytes([12]) + own + target
    probe = bytes([13]) + target
    wait = lambda seconds: bytes([14]) + struct.pack(">H", seconds) + target
    crowd = lambda bits, count: b"".join(replies(bits, n, place(n)) for n in range(count))
    stories = {
        "only_asked_us": asks(0, 1, place(1)) + asks(3, 2, place(2)),
        "failed_twice": replies(0, 1, place(1)) + fails(0) * 2 + replies(0, 1, place(1)),
        "failed_once_then_answered": (replies(0, 1, place(1)) + fails(0)) * 3,
        "new_id_at_the_same_address": replies(0, 1, place(1)) + replies(4, 9, place(1)),
        "same_id_at_a_new_address": replies(0, 1, place(1)) + replies(0, 1, place(2)),
        "moved_once_the_old_one_was_bad": replies(0, 1, place(1)) + fails(0) * 2 + replies(0, 1, place(2)),
        "neighbours_of_one_24": replies(0, 1, place(16 * 256)) + replies(0, 2, place(128 * 256)) ,
        "our_own_endpoint": replies(0, 1, place(1)) + exclude(place(1)) + replies(0, 1, place(1)),
        "our_own_id": replies(160, 0, place(1)),
        "moved_onto_a_member": replies(8, 1, place(1)) + replies(8, 2, place(2)) + move(bytes([0, 128]) + bytes(16) + b"\0\1"),
        "crowd_too_near_to_part": crowd(40, 130) + wait(1000) + probe + fails(0) * 2,
        "crowd_parted": b"".join(replies(n % 9, n, place(n)) for n in range(140)),
        "refreshed": replies(0, 1, place(1)) + wait(899) + probe + wait(1) + probe,
    }
    for name, story in stories.items():
        seed("table", name, bytes(21) + story)


OPERATIONS = ["reply", "refuse", "garble", "datagram", "fail", "say", "serve", "wait", "wait_long", "step_back",
              "request", "known", "shut_down"]


def utp():
    """Stories of the target `utp` (tests/src/fuzz/utp.rs), and packets."""
    connect = bytes([0]) + struct.pack(">HH", 20_000, 65_530)
    milliseconds = lambda n: bytes([2]) + struct.pack(">H", n)
    write = lambda n: bytes([3]) + struct.pack(">H", n)
    expect = bytes([4]) + struct.pack(">H", 2_000)
    read = bytes([5]) + struct.pack(">H", 4_096)
    close, abort = bytes([6, 0]), bytes([7, 0])
    # Kind, packets ahead, acknowledged, twist; then a mask or a window.
    said = lambda kind, ahead=0, acks=0, twist=0, rest=b"": bytes([9, kind, ahead, acks, twist]) + rest
    state, data, fin, reset, syn = 3, 7, 0, 1, 2
    open_ = connect + milliseconds(40) + said(state)
    header = lambda first, extension: bytes([first, extension]) + bytes(range(18))
    stories = {
        "in_order": open_ + (said(data) + read) * 8 + said(fin) + read + close,
        "gap_then_filled": open_ + expect + b"".join(said(data, n) for n in (3, 2, 5, 1, 0)) + read,
        "beyond_a_full_buffer": open_ + b"".join(said(data, n) for n in range(9)) + read * 3,
        "written_and_acknowledged": open_ + write(528) + said(state) + expect + write(9_000)
        + said(state, 0, 1) * 4 + milliseconds(700) * 3 + close + said(state),
        "three_states_the_same": open_ + expect + write(6_000) + said(state, 0, 7) * 6,
        "mask_of_everything": open_ + expect + write(6_000) + said(state, 0, 255, 2, b"\xff" * 255),
        "mask_of_three": open_ + expect + write(9_000) + said(state, 0, 4, 2, b"\x0e\0\0\0") * 3,
        "window_shut": open_ + write(500) + said(state, 0, 0, 16, b"\0\0") + milliseconds(9_000) * 4,
        "fin_early_then_data_above": open_ + expect + said(fin, 2) + said(data, 3) + said(data)
        + said(data, 1) + read + close,
        "reset_under_the_other_id": open_ + write(9) + said(reset, 0, 0, 4),
        "reset_of_a_stranger": open_ + write(9) + said(reset, 0, 0, 32) + said(data) + read,
        "second_syn": connect + milliseconds(3_001) + said(state) + said(data) + read + abort,
        "syns_of_others": connect + said(syn) * 3 + said(syn, 0, 0, 32) + milliseconds(20_000),
        "absurd_delays": open_ + expect + write(9_000) + said(state, 0, 1, 8) * 5,
        "far_numbers": open_ + said(data, 0, 0, 1) + said(data, 255) + said(state, 255),
        "closed_while_data_comes": open_ + write(9) + close + said(data) * 4 + milliseconds(500),
        "packet_state": header(0x21, 0),
        "packet_mask_of_one_byte": header(0x21, 1) + b"\0\x01\xff",
        "packet_chain": header(0x01, 9) + b"\x01\x02xy\x02\x01\x80\0\x08featuresstream",
        "packet_cut": header(0x01, 1) + b"\0\x04abc",
    }
    for name, story in stories.items():
        seed("utp", name, story)


def crawls():
    """Stories of a whole crawler (tests/src/fuzz/crawler.rs), as `arbitrary` takes them apart."""
    u16 = lambda n: struct.pack("<H", n)
    some = lambda value: b"\1" + value
    none = b"\0"
    listed = lambda items: b"".join(b"\1" + item for item in items) + b"\0"
    at = lambda *places: listed(bytes([a]) + u16(b) for a, b in places)

    def do(name, body=b""):
        variant = -(-(OPERATIONS.index(name) << 32) // len(OPERATIONS))
        return struct.pack("<I", variant) + body

    def reply(nodes=(), samples=None, values=(), interval=None, which=0, identity=0):
        samples = none if samples is None else some(listed(bytes([n]) for n in samples))
        interval = none if interval is None else some(struct.pack("<i", interval))
        return do("reply", u16(which) + bytes([identity]) + at(*nodes) + samples + interval + at(*values))

    settings = lambda mode, most=none: bytes([mode, 0, 0]) + none + none + bytes([50]) + most
    crawl, find, fetch = settings(0), settings(2), settings(3)
    serve = lambda which, count: do("serve", bytes([which, count]))
    fail = lambda which, fault: do("fail", bytes([which, fault]))
    wait, wait_long = lambda ms: do("wait", u16(ms)), lambda minutes: do("wait_long", u16(minutes))
    request = lambda which, *peers: do("request", bytes([which]) + at(*peers))
    world = [(n, 7 * n + 1) for n in range(8)]
    sampled = reply(world, samples=[0]) * 8 + (wait(200) + reply(world, samples=[0], values=[(9, 9), (8, 8)]) * 6) * 4
    stories = {
        "fetched_from_the_second_peer": fetch + request(0, (1, 1), (2, 2)) + fail(0, 1) + wait(500) + serve(0, 255),
        "fetched_in_time": fetch + request(0, (1, 1)) + wait(300) + serve(0, 255),
        "half_served_then_silent": fetch + request(0, (1, 1)) + serve(0, 30) + wait_long(2),
        "wrong_metadata": fetch + request(7, (1, 1)) + serve(0, 255) + wait_long(5),
        "sampled_found_fetched": crawl + sampled + serve(0, 255) + serve(0, 255),
        "sampled_and_found": find + sampled + wait_long(3),
        "late_replies": crawl + wait_long(1) + reply(world, samples=[0]) * 4,
        "nodes_under_other_names": crawl + reply(world, samples=[1, 2], identity=200) * 8 + wait(900),
        "long_intervals": crawl + reply(world, samples=[3], interval=21600) * 8 + wait_long(400),
        "negative_interval": crawl + reply(world, samples=[3], interval=-1) * 8 + wait_long(70),
        "only_refusals": crawl + do("refuse", u16(0) + b"\4") * 4 + wait_long(20),
        "known_while_fetched": fetch + request(0, (1, 1)) + do("known", b"\0") + serve(0, 255),
        "shut_down_while_fetching": fetch + request(0, (1, 1)) + do("shut_down") + serve(0, 255) + wait_long(1),
        "clock_steps_back": crawl + reply(world) * 4 + do("step_back", u16(60000)) + reply(world) * 4 + wait(1000),
        "martians_named": crawl + reply([(250, n) for n in range(8)], values=[(251, 3)], samples=[5]) * 4,
        "only_one_wanted": settings(0, some(b"\1")) + sampled + serve(0, 255),
    }
    for name, story in stories.items():
        seed("crawler", name, story)


def broken_torrents():
    """Info dictionaries after the files of libtorrent's test_torrent_info.cpp (6.5)."""
    pieces = b"a" * 20
    plain = {"name": "n", "length": 9, "piece length": 16384, "pieces": pieces}
    but = lambda **keys: {**plain, **{k.replace("_", " "): v for k, v in keys.items()}}
    without = lambda *keys: {k: v for k, v in plain.items() if k not in keys}
    many = lambda *files, **keys: {**without("length"), "files": list(files), **keys}
    file = lambda *path, length=9, **keys: {"length": length, "path": list(path), **keys}
    v2 = lambda tree, **keys: {"name": "n", "meta version": 2, "piece length": 16384,
                               "file tree": tree, **keys}
    leaf = lambda length=9, root=b"r" * 32, **keys: {"": {"length": length, "pieces root": root, **keys}}
    deep = {"": {"length": 0}}
    for _ in range(60):
        deep = {"d": deep}
    files = {f"{n:05}": {"": {"length": 0}} for n in range(40)}
    buried = files
    for _ in range(80):
        buried = {"d" * 12: buried}
    return {
        # The names of directories must be read once, not once for each file.
        "long_directory": v2({"d" * 1500: files}), "many_directories": v2(buried),
        "lt_no_name": without("name"), "lt_bad_name": but(name=7), "lt_string": "a string",
        "lt_missing_piece_len": without("piece length"),
        "lt_invalid_piece_len": but(piece_length="x"), "lt_negative_piece_len": but(piece_length=-1),
        "lt_large_piece_size": but(piece_length=32767 * 16384), "lt_zero": but(length=0, pieces=b""),
        "lt_negative_size": but(length=-2), "lt_invalid_file_size": but(length="9"),
        "lt_invalid_pieces": but(pieces=3), "lt_unaligned_pieces": but(pieces=b"x" * 21),
        "lt_many_pieces": but(piece_length=1, length=1 << 40), "lt_no_files": many(),
        "lt_slash_path": many(file("a/b", "/", "c")), "lt_backslash_path": many(file("a\\b")),
        "lt_parent_path": many(file("..", "..", "f")), "lt_empty_path": many(file("", "f"), file()),
        "lt_invalid_path_list": many({"length": 1, "path": {"a": 1}}),
        "lt_missing_path_list": many({"length": 1}), "lt_negative_file_size": many(file("a", length=-1)),
        "lt_duplicate_files": many(file("a"), file("a")), "lt_file_no_dictionary": many(7),
        "lt_pad_file_no_path": many(file("a"), {"length": 5, "attr": "p"}),
        "lt_symlink": many(file("a"), file("l", length=0, attr="l", **{"symlink path": ["a"]})),
        "lt_symlink_without_length": many({"path": ["l"], "attr": "lxh"}),
        "lt_overflow": many(*[file("a", length=(1 << 63) - 1)] * 3),
        "lt_empty_files": many(*[file(str(n), length=0) for n in range(5)]),
        "lt_path_utf8": many({"length": 1, "path": [b"\xff"], "path.utf-8": ["\u8a9e"]}),
        "lt_both_layouts": {**many(file("a")), "length": 4},
        "lt_v2_no_power2_piece": v2({"f": leaf()}, **{"piece length": 16385}),
        "lt_v2_piece_size": v2({"f": leaf()}, **{"piece length": 8192}),
        "lt_v2_invalid_file": v2({"f": 7}), "lt_v2_empty_filename": v2({"": {"": {"length": 1}}}),
        "lt_v2_deep_recursion": v2(deep), "lt_v2_zero_root": v2({"f": leaf(root=bytes(32))}),
        "lt_v2_large_file": v2({"f": leaf(length=1 << 62)}), "lt_v2_siblings": v2({"f": {**leaf(), "g": leaf()}}),
        "lt_v2_large_offset": v2({"f": leaf(length=1 << 47), "g": leaf(length=1 << 47)}),
        "lt_v2_missing_file_root_invalid_symlink": v2({"f": {"": {"attr": "l", "length": 0}}}),
        "lt_v2_invalid_pad_file": v2({"f": leaf(attr="p")}), "lt_v2_version_3": v2({"f": leaf()}, **{"meta version": 3}),
        "lt_hybrid_mismatch": {**v2({"f": leaf(length=10)}), "length": 9, "pieces": pieces},
        "bep52_example": v2({"dir1": {"dir2": {"fileA.txt": leaf(1024, b"a" * 32)}}}),
        "private_and_source": but(private=1, source="s", **{"name.utf-8": "\u8a9e"}),
    }


def torrent_seeds():
    for name, info in broken_torrents().items():
        seed("metainfo", name, encode(info))
    seed("metainfo", "lt_v2_unordered_files", b"d9:file treed1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee"
         b"12:meta versioni2e4:name1:n12:piece lengthi16384ee")
    seed("metainfo", "lt_v2_overlong_integer", b"d9:file treed1:bd0:d6:lengthi00eeee"
         b"12:meta versioni02e4:name1:n12:piece lengthi16384ee")
    for torrent in torrents.generate(1):
        if len(torrent.info) <= LARGEST:
            label = "".join(c if c.isascii() and c.isalnum() else "_" for c in torrent.label)
            seed("metainfo", f"torrent_{label}", torrent.info)


# --- real clients --------------------------------------------------------------------------------


def converse(peer, key):
    """Asks a client for its metadata's first piece, and returns every byte that it sent."""
    said, deadline = bytearray(), time.monotonic() + 10
    with socket.create_connection(peer, 10) as stream:
        hello = b"\x13BitTorrent protocol" + bytes(5) + b"\x10\0\0"
        stream.sendall(hello + key + b"-EY0100-" + b"s" * 12)
        offered = asked = False
        while (left := deadline - time.monotonic()) > 0 and b"msg_typei1e" not in said:
            stream.settimeout(left)
            try:
                part = stream.recv(65536)
            except OSError:
                break
            if not part:
                break
            said += part
            if len(said) >= 68 and not offered:
                offered = True
                extended(stream, 0, {"m": {"ut_metadata": 2}})
            their_id = re.search(rb"11:ut_metadatai(\d+)e", said)
            if their_id and not asked:
                asked = True
                extended(stream, int(their_id[1]), {"msg_type": 0, "piece": 0})
        stream.settimeout(1)
        try:
            while part := stream.recv(65536):
                said += part
        except OSError:
            pass
    return bytes(said)


def extended(stream, identifier, message):
    payload = encode(message)
    stream.sendall(struct.pack(">IBB", len(payload) + 2, 20, identifier) + payload)


def keep_stream(name, said, key):
    if b"msg_typei1e" not in said:
        sys.exit(f"{name}: said only {said}")
    said = said.replace(key, NOBODYS, 1)
    seed("exchange", f"captured_{name}", WHOLE_STREAM + said)
    seed("handshake", f"captured_{name}", said[:68] + said[74:])
    print(f"{name}: {len(said)} bytes")


def wait(is_up, what):
    for _ in range(300):
        if is_up():
            return
        time.sleep(0.1)
    sys.exit(f"{what} does not start")


def capture():
    import peers

    chosen = [t for t in torrents.generate(1) if t.payload and len(t.info) < LARGEST]
    v1 = next(t for t in chosen if t.version == "v1" and "album" in t.label)
    v2 = next(t for t in chosen if t.version == "v2")
    host = lambda n: f"127.{150 + os.getpid() % 40}.{os.getpid() // 40 % 250}.{n}"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = []
        for torrent in (v1, v2):
            file = folder / f"{torrent.keys()[0]}.torrent"
            file.write_bytes(torrent.metainfo())
            files.append((torrent, file))
        libtorrent = peers.Libtorrent(host(2), folder / "lt")
        wait(libtorrent.is_up, "libtorrent")
        for torrent, file in files:
            libtorrent.add(torrent, file)
        transmission = peers.Transmission(host(3), folder / "tr")
        aria2 = peers.Aria2(host(4), folder / "aria", files[:1])
        try:
            wait(transmission.is_up, "transmission")
            transmission.add(*files[0])
            wait(transmission.is_serving, "transmission's check")
            wait(aria2.is_up, "aria2")
            for name, client, torrent in [("libtorrent_v1", libtorrent, v1), ("libtorrent_v2", libtorrent, v2),
                                          ("transmission", transmission, v1), ("aria2", aria2, v1)]:
                key = bytes.fromhex(torrent.keys()[0])
                keep_stream(name, converse(client.peer(), key), key)
            capture_krpc(libtorrent, v1, host(5))
        finally:
            transmission.stop()
            aria2.stop()


def capture_krpc(node, torrent, address):
    """Every answer of a libtorrent node, right and wrong questions alike, and what it asks back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind((address, 0))
        ours.settimeout(1)
        own, key = b"n" * 20, bytes.fromhex(torrent.keys()[0])
        token = b""
        asked = [("ping", {}), ("find_node", {"target": key}), ("get_peers", {"info_hash": key}),
                 ("announce_peer", {"info_hash": key, "port": 6881}),
                 ("get_peers_again", {"info_hash": key, "scrape": 1}),
                 ("sample_infohashes", {"target": own}), ("find_node_without_target", {}),
                 ("find_node_want", {"target": key, "want": ["n4", "n6"]}), ("vote", {"target": key}),
                 ("announce_peer_wrong_token", {"info_hash": key, "port": 1, "token": "no"})]
        for name, arguments in asked:
            method = next(m for m in ("ping", "find_node", "get_peers", "announce_peer",
                                      "sample_infohashes", "vote") if name.startswith(m))
            if name == "announce_peer":
                arguments["token"] = token
            query = {"t": name[:2], "y": "q", "q": method, "a": {"id": own, **arguments}}
            ours.sendto(encode(query), node.node())
            heard = 0
            while True:
                try:
                    datagram, _ = ours.recvfrom(4096)
                except TimeoutError:
                    break
                if b"5:token" in datagram:
                    at = datagram.index(b"5:token") + 7
                    length = int(datagram[at:datagram.index(b":", at)])
                    at = datagram.index(b":", at) + 1
                    token = datagram[at:at + length]
                heard += 1
                seed("krpc", f"captured_libtorrent_{name}_{heard}", datagram)
            print(f"{name}: {heard} datagrams")


def key_exchanges():
    """`mse`: bits, selection, both paddings, where the stream ends, four cuts, the rest."""
    def answer(bits=0, select=2, pad_b=0, pad_d=0, ends_at=0, rest=b"payload", key=b""):
        numbers = struct.pack(">BHHH", select, pad_b, pad_d, ends_at)
        return bytes([bits]) + key + numbers + bytes([95, 6, 0, 30]) + rest
    prime = int("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22"
                "514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6"
                "F44C42E9A63A36210000000000090563", 16)
    for name, data in {
        "rc4": answer(),
        "rc4_longest_paddings": answer(pad_b=512, pad_d=512),
        "rc4_required": answer(1),
        "plaintext": answer(select=1, pad_b=3, pad_d=5),
        "plaintext_though_rc4_is_required": answer(1, select=1),
        "both_bits": answer(select=3),
        "both_bits_though_rc4_is_required": answer(1, select=3),
        "no_bits": answer(select=0),
        "a_bit_that_means_nothing": answer(select=4),
        "padding_one_too_long": answer(pad_b=513, rest=bytes(20)),
        "second_padding_one_too_long": answer(pad_d=513),
        "second_padding_of_65535": answer(pad_d=65535),
        "ends_within_the_key": answer(4, ends_at=95),
        "ends_with_the_key": answer(4, ends_at=96),
        "ends_within_the_constant": answer(4, ends_at=100),
        "noise_of_519": answer(8, rest=b"\x55" * 519),
        "noise_of_520": answer(8, rest=b"\x55" * 520),
        **{f"key_{name}": answer(2, key=(value % 2**768).to_bytes(96, "big"), rest=bytes(600))
           for name, value in {"0": 0, "1": 1, "3": 3, "p_minus_2": prime - 2, "p_minus_1": prime - 1,
                               "p": prime, "highest": -1}.items()},
    }.items():
        seed("mse", name, data)


def plans():
    """`plan`: what the run allows; for each connection how it ended, how far it came, and bits."""
    words = re.findall(r'=> "([a-z-]+)",', (HERE / "../core/src/base/fault.rs").read_text())
    auto, require, off = range(3)
    tcp_alone, utp_alone = 3, 6  # added to one of these
    habit = 6  # times 1 for uTP, 2 for uTP with encryption, 3 for TCP: added to how far it came
    nothing, connected, keys, handshaken, offered, complete = range(6)
    cut_off, held_up, crowded, several, some, left, no_room, wants = (1 << bit for bit in range(8))

    def ended(word, progress=connected, bits=0):
        return bytes([words.index(word), progress, bits])
    closed, refused = ended("closed-early"), ended("refused", nothing)
    choked = ended("metadata-timeout", offered, several | left)
    late = ended("closed-late", offered, several | left)
    turn = ended("yielded", offered, several | some | left)
    hang_up = ended("closed-early", connected, crowded)
    broken_off = bytes([len(words), nothing, 0])
    for name, policy, ends in [
        ("refused", auto, [refused]),
        ("barred_both_ways", auto, [closed, ended("closed-exchanging-keys")]),
        ("barred_both_ways_keys_first", auto, [ended("no-vc", connected, wants), closed]),
        ("barred_where_encryption_is_required", require, [ended("bad-select")]),
        ("barred_where_encryption_is_off", off, [ended("not-bittorrent")]),
        ("silent_and_then_refused", auto, [ended("handshake-timeout"), refused]),
        ("closed_after_keys", auto, [closed, ended("closed-early", keys)]),
        ("choked", auto, [choked, late]),
        ("choked_behind_encryption", auto, [closed, choked, late]),
        ("choked_where_encryption_is_required", require, [late, choked]),
        ("choked_and_then_barred", auto, [choked, closed]),
        ("barred_choked_and_then_barred", auto, [closed, choked, closed]),
        ("crowd_without_end", auto, [hang_up] * 5),
        ("crowd_then_choked_then_crowd", off, [hang_up, choked, hang_up, hang_up]),
        ("crowd_while_no_row_is_taken", auto, [ended("closed-early", connected, crowded | held_up)] * 9),
        ("outage_between_all", auto, [ended("connect-timeout", nothing, cut_off), closed] * 3),
        ("pressure_without_end", auto, [ended("pressure", nothing)] * 20),
        ("habit_learnt_between", auto, [ended("pressure", nothing), ended("pressure", nothing, wants), closed]),
        ("more_turns_than_are_given", auto, [turn] * 253),
        ("turns_without_room", auto, [ended("yielded", offered, several | some | left | no_room)] * 4),
        ("yielded_for_nothing", auto, [ended("yielded", nothing)] * 4),
        ("wrong_hash", auto, [ended("bad-hash", complete)]),
        ("no_metadata_behind_encryption", auto, [closed, ended("no-metadata", handshaken)]),
        ("absent_over_both", auto, [refused, ended("connect-timeout", nothing)]),
        ("absent_and_then_barred_both_ways", auto, [refused, closed, ended("no-vc")]),
        ("barred_everywhere", auto, [closed, ended("no-vc"), ended("bad-pad"), closed]),
        ("barred_and_then_absent", auto, [closed, refused, refused]),
        ("barred_choked_and_then_absent", auto, [closed, choked, refused, choked]),
        ("absent_and_then_choked", auto, [ended("connect-timeout", nothing), choked, late]),
        ("absent_where_encryption_is_required", require, [refused, ended("bad-select")]),
        ("absent_where_encryption_is_off", off, [refused, ended("not-bittorrent")]),
        ("barred_where_encryption_is_off_and_both_carry", off, [closed, closed]),
        ("tcp_alone", auto + tcp_alone, [refused]),
        ("tcp_alone_barred", auto + tcp_alone, [closed, refused]),
        ("utp_alone", auto + utp_alone, [refused]),
        ("utp_alone_barred", auto + utp_alone, [closed, closed]),
        ("utp_alone_and_encrypted", require + utp_alone, [closed]),
        ("known_over_utp", auto, [ended("refused", nothing + habit, wants), refused]),
        ("known_over_encrypted_utp", auto, [ended("no-vc", connected + 2 * habit, wants), closed, refused]),
        ("known_over_what_is_not_allowed", auto + tcp_alone, [ended("refused", nothing + habit, wants)]),
        ("habit_learnt_between_over_utp", auto, [ended("pressure", nothing), ended("refused", habit, wants), closed]),
        ("broken_off", auto, [broken_off]),
        ("broken_off_behind_encryption", auto, [closed, broken_off]),
    ]:
        seed("plan", name, bytes([policy]) + b"".join(ends))


if __name__ == "__main__":
    if sys.argv[1:] == ["capture"]:
        capture()
    else:
        vectors()
        key_exchanges()
        plans()
        torrent_seeds()
