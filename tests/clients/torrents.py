"""The torrents of the real-client suite, and what a correct crawl says of each.

Everything is computed here from the parts a torrent is made of, never by parsing it back, so the
truth shares no code and no mistake with the crawler. The same seed gives the same torrents.
"""

import hashlib
import random
from dataclasses import dataclass, field

from bencode import Pairs, Raw, encode

BLOCK = 16 * 1024


@dataclass
class Torrent:
    """One torrent: the metadata to serve, the payload if a client is to seed it, and its truth."""

    label: str  # what is odd about it; unique
    info: bytes  # the info dictionary, exact bytes
    name: str  # as the CSV must show it
    file_count: int
    total_bytes: int
    piece_length: int
    version: str  # v1, v2 or hybrid
    private: bool = False
    layers: bytes = b""  # bencoded `piece layers`, beside info (v2 and hybrid)
    payload: list = field(default_factory=list)  # (relative path, content); empty: metadata only

    def keys(self):
        """The infohashes under which the DHT knows it, hexadecimal."""
        keys = []
        if self.version in ("v1", "hybrid"):
            keys.append(hashlib.sha1(self.info).hexdigest())
        if self.version in ("v2", "hybrid"):
            keys.append(hashlib.sha256(self.info).hexdigest()[:40])
        return keys

    def metainfo(self):
        """The .torrent file."""
        parts = [(b"info", Raw(self.info))]
        if self.layers:
            parts.append((b"piece layers", Raw(self.layers)))
        return encode(Pairs(parts))


def shown(name):
    """A name as the CSV shows it: invalid UTF-8 and control characters become U+FFFD each."""
    text = name.decode("utf-8", "replace")
    hidden = lambda c: c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029"
    return "".join("\ufffd" if hidden(c) else c for c in text)


def generate(seed):
    """All torrents of the suite."""
    rng = random.Random(seed)
    made = [*plain(rng), *names(rng), *files(rng), *dictionaries(rng), *sizes(rng), *version_2(rng)]
    labels = [torrent.label for torrent in made]
    assert len(set(labels)) == len(labels) >= 60, "labels are unique, torrents enough"
    return made


# --- version 1 -----------------------------------------------------------------------------------


def hashes(count, rng):
    """Piece hashes of no payload: nobody is to download these torrents."""
    return rng.randbytes(20 * count)


def pieces_of(content, piece_length):
    """The real piece hashes of a payload."""
    cut = range(0, len(content), piece_length)
    return b"".join(hashlib.sha1(content[at : at + piece_length]).digest() for at in cut)


def single(label, rng, name=None, length=None, piece_length=BLOCK, extra=()):
    """A single-file torrent without payload."""
    name = (label if name is None else name).encode() if not isinstance(name, bytes) else name
    length = rng.randrange(1, 4_000_000) if length is None else length
    info = {b"name": name, b"length": length, b"piece length": piece_length, **dict(extra)}
    info[b"pieces"] = hashes(max(1, -(-length // piece_length)), rng)
    return Torrent(label, encode(info), shown(name), 1, length, piece_length, "v1")


def multi(label, rng, entries, piece_length=BLOCK, extra=()):
    """A multi-file torrent without payload from its `files` list."""
    total = sum(entry["length"] for entry in entries)
    info = {"name": label, "files": entries, "piece length": piece_length, **dict(extra)}
    info["pieces"] = hashes(max(1, -(-total // piece_length)), rng)
    counted = [entry for entry in entries if "p" not in entry.get("attr", "")]
    total = sum(entry["length"] for entry in counted)
    return Torrent(label, encode(info), label, len(counted), total, piece_length, "v1")


def plain(rng):
    """Ordinary torrents with a payload, as most of the network's are."""
    for number in range(6):
        content = rng.randbytes(rng.randrange(1, 200_000))
        name = f"ordinary {number}.bin"
        info = {"name": name, "length": len(content), "piece length": 32_768}
        info["pieces"] = pieces_of(content, 32_768)
        made = Torrent(f"seeded {number}", encode(info), name, 1, len(content), 32_768, "v1")
        made.payload = [(name, content)]
        yield made
    for number in range(4):
        name = f"album {number}"
        parts = [(f"disc {i % 2}/track {i}.flac", rng.randbytes(30_000 + i)) for i in range(5)]
        content = b"".join(part for _, part in parts)
        entries = [{"length": len(part), "path": path.split("/")} for path, part in parts]
        info = {"name": name, "files": entries, "piece length": BLOCK}
        info["pieces"] = pieces_of(content, BLOCK)
        made = Torrent(f"seeded album {number}", encode(info), name, 5, len(content), BLOCK, "v1")
        made.payload = [(f"{name}/{path}", part) for path, part in parts]
        yield made
    for number in range(8):
        yield single(f"magnet only {number}", rng)


def names(rng):
    """Names that a CSV, a terminal or a decoder trips over."""
    odd = {
        "cjk": "流浪地球 流浪地球2 進撃の巨人 한국어.mkv",
        "emoji": "🎬 film 👩‍👩‍👧‍👦 🏴‍☠️.mp4",
        "right to left": "مرحبا \u202egnp.exe",
        "combining": "Zalgo e\u0301\u0327\u0489 nfd.txt",
        "comma": "one, two, three.txt",
        "quote": 'the "quoted" name.txt',
        "only quotes": '""',
        "comma and quote": '",",""',
        "newline": "first line\nsecond line",
        "carriage return": "first\r\nsecond\r",
        "escape": "\x1b[31mred\x1b[0m \x1b]0;title\x07",
        "tab and bell": "a\tb\x07c",
        "nul": "before\x00after",
        "delete": "dele\x7fted",
        "c1": "next\u0085line \u009b31m",
        "separators": "line\u2028paragraph\u2029end",
        "formula": "=cmd|' /C calc'!A0",
        "spaces": "  leading and trailing  ",
        "looks true": "x,True",
        "slash": "../../etc/passwd",
        "noncharacter": "bom \ufeff and \ufffe \U0010ffff",
        "long": "long " * 200,
    }
    for label, name in odd.items():
        yield single(f"name {label}", rng, name)
    invalid = {
        "latin-1": b"caf\xe9 cr\xe8me.avi",
        "gbk": "中文电影".encode("gbk"),
        "lone surrogate": b"surrogate \xed\xa0\x80 end",
        "overlong": b"overlong \xc0\xaf \xe0\x80\xaf",
        "cut": b"cut \xf0\x9f\x8e",
        "all bytes": bytes(range(1, 256)),
    }
    for label, name in invalid.items():
        yield single(f"invalid utf-8 {label}", rng, name)

    preferred = single(
        "name.utf-8",
        rng,
        "中文".encode("gbk"),
        extra={b"name.utf-8": "中文, utf-8".encode()}.items(),
    )
    preferred.name = "中文, utf-8"
    yield preferred
    yield single(
        "name.utf-8 invalid", rng, "plain name too", extra={b"name.utf-8": b"\xff\xfe"}.items()
    )


def files(rng):
    """File lists: pads, links, attributes, empty files, nesting."""
    yield multi(
        "pad files",
        rng,
        [
            {"length": 10_000, "path": ["a"]},
            {"length": 6_384, "path": [".pad", "6384"], "attr": "p"},
            {"length": 20_000, "path": ["b"]},
            {"length": 12_768, "path": [".pad", "12768"], "attr": "ph"},
            {"length": 5, "path": ["c"]},
        ],
    )
    yield multi(
        "symlinks",
        rng,
        [
            {"length": 70_000, "path": ["lib", "libx.so.1"]},
            {
                "length": 0,
                "path": ["lib", "libx.so"],
                "attr": "l",
                "symlink path": ["lib", "libx.so.1"],
            },
            {"length": 0, "path": ["x"], "attr": "l", "symlink path": ["lib", "libx.so"]},
        ],
    )
    yield multi(
        "attributes",
        rng,
        [
            {"length": 1, "path": ["run.sh"], "attr": "x"},
            {"length": 2, "path": [".hidden"], "attr": "h"},
            {"length": 3, "path": ["sha1"], "sha1": rng.randbytes(20)},
            {"length": 4, "path": ["md5"], "md5sum": "d" * 32},
        ],
    )
    yield multi(
        "empty files",
        rng,
        [{"length": 0, "path": [f"{i}"]} for i in range(9)] + [{"length": 1, "path": ["z"]}],
    )
    yield multi("one file in a list", rng, [{"length": 77, "path": ["only"]}])
    yield multi("deep paths", rng, [{"length": 9, "path": [f"d{i}" for i in range(60)]}])
    yield multi("same paths", rng, [{"length": 9, "path": ["twin"]}] * 3)
    yield multi(
        "odd paths",
        rng,
        [
            {"length": 9, "path": ["..", "..", "etc", "passwd"]},
            {"length": 9, "path": [b"\xff\xfe", "中文"], "path.utf-8": ["中文", "中文"]},
            {"length": 9, "path": ["a\nb", "c,d", '"']},
        ],
    )
    yield multi(
        "many files",
        rng,
        [{"length": i, "path": [f"directory {i % 50}", f"file {i}"]} for i in range(8_000)],
        1 << 20,
    )


def dictionaries(rng):
    """Info dictionaries that break or stretch the form."""
    yield single(
        "extra keys",
        rng,
        extra={b"source": b"tracker", b"x": [1, {}, []], b"zzz": {b"": b""}}.items(),
    )
    yield single("private zero", rng, extra={b"private": 0}.items())
    unsorted = Pairs(
        [
            (b"pieces", hashes(1, rng)),
            (b"piece length", BLOCK),
            (b"name", b"unsorted keys"),
            (b"length", 99),
        ]
    )
    yield Torrent("unsorted keys", encode(unsorted), "unsorted keys", 1, 99, BLOCK, "v1")
    zeros = (
        b"d6:lengthi0077e4:name13:leading zeros12:piece lengthi016384e6:pieces020:"
        + hashes(1, rng)
        + b"e"
    )
    yield Torrent("leading zeros", zeros, "leading zeros", 1, 77, BLOCK, "v1")
    private = single("private", rng, extra={b"private": 1}.items())
    private.private = True
    yield private


def sizes(rng):
    """Metadata sizes around the 16 KiB pieces of BEP 9, and contents beyond 32 bits."""
    for size in (BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK + 7):
        yield sized(f"metadata of {size} bytes", size, rng)
    yield single("metadata over 1 MiB", rng, length=60_000 * BLOCK - 5)
    yield single("half a tebibyte", rng, length=1 << 39, piece_length=1 << 26)


def sized(label, size, rng):
    """A torrent whose info dictionary has exactly `size` bytes."""
    filler = size
    while True:
        made = single(
            label, random.Random(size), length=5_000, extra={b"filler": b"\xaa" * filler}.items()
        )
        excess = len(made.info) - size
        if excess == 0:
            return made
        filler -= excess


# --- version 2 and hybrid (BEP 52) ---------------------------------------------------------------


def merkle(content, piece_length):
    """The `pieces root` of a file, and its piece layer if it is longer than a piece."""
    cut = range(0, len(content), BLOCK)
    layer = [hashlib.sha256(content[at : at + BLOCK]).digest() for at in cut]
    width, pad, piece_layer = BLOCK, bytes(32), b""
    while len(layer) > 1 or width < min(piece_length, len(content)):
        if width == piece_length and len(content) > piece_length:
            piece_layer = b"".join(layer)
        if len(layer) % 2:
            layer.append(pad)
        pairs = zip(layer[::2], layer[1::2])
        layer = [hashlib.sha256(left + right).digest() for left, right in pairs]
        pad = hashlib.sha256(pad + pad).digest()
        width *= 2
    return layer[0], piece_layer


def version_2(rng):
    """v2-only and hybrid torrents, all with a payload: their hash trees must be true."""
    for kind in ("v2", "hybrid"):
        yield tree(f"{kind} small file", kind, rng, [("small.bin", 9_000)], BLOCK)
        yield tree(f"{kind} long file", kind, rng, [("long.bin", 300_000)], 32_768)
        yield tree(
            f"{kind} files",
            kind,
            rng,
            [("a.bin", 70_000), ("b/c.bin", 5), ("b/d.bin", 40_000), ("e.bin", 1)],
            BLOCK,
        )
        yield tree(f"{kind} empty file", kind, rng, [("empty", 0), ("full", 20_000)], BLOCK)
        yield tree(
            f'{kind} 中文 🎬, "x"\n', kind, rng, [("中文/文件.bin", 33_000), ("日本", 1)], BLOCK
        )
    yield tree("v2 symlink", "v2", rng, [("target", 30_000)], BLOCK, links=[("link", ["target"])])


def tree(label, kind, rng, sizes_by_path, piece_length, links=()):
    """A torrent with a file tree; for a hybrid also the same files, padded, in v1 form."""
    parts = [
        (path, rng.randbytes(size))
        for path, size in sorted(sizes_by_path, key=lambda p: p[0].encode().split(b"/"))
    ]
    root, layers = {}, {}
    for path, content in parts:
        entry = {"length": len(content)}
        if content:
            entry["pieces root"], layer = merkle(content, piece_length)
            if layer:
                layers[entry["pieces root"]] = layer
        leaf(root, path)[""] = entry
    for path, target in links:
        leaf(root, path)[""] = {"attr": "l", "length": 0, "symlink path": target}
    info = {"name": label, "meta version": 2, "piece length": piece_length, "file tree": root}
    alone = len(parts) == 1 and not links
    if alone:
        info["name"] = parts[0][0]
    if kind == "hybrid":
        info.update(version_1_of(parts, piece_length, alone))
    name = info["name"].encode()
    total = sum(len(content) for _, content in parts)
    made = Torrent(
        label, encode(info), shown(name), len(parts) + len(links), total, piece_length, kind
    )
    made.layers = encode(layers)
    prefix = "" if alone else info["name"] + "/"
    made.payload = [(prefix + path, content) for path, content in parts]
    return made


def leaf(root, path):
    """The node of `path` in a file tree, made with its parents if it is not there yet."""
    for part in path.split("/"):
        root = root.setdefault(part, {})
    return root


def version_1_of(parts, piece_length, alone):
    """The v1 keys of a hybrid: the files in the tree's order, each but the last padded to whole
    pieces."""
    if alone:
        content = parts[0][1]
        return {"length": len(content), "pieces": pieces_of(content, piece_length)}
    entries, stream = [], b""
    for number, (path, content) in enumerate(parts):
        entries.append({"length": len(content), "path": path.split("/")})
        stream += content
        missing = -len(stream) % piece_length
        if missing and number + 1 < len(parts):
            entries.append({"attr": "p", "length": missing, "path": [".pad", str(missing)]})
            stream += bytes(missing)
    return {"files": entries, "pieces": pieces_of(stream, piece_length)}
