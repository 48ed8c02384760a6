"""A bencode codec of the tests' own, so that odd dictionaries come out byte for byte as written.

`Raw` passes bytes through unchanged, and `Pairs` is a dictionary in the order given: with these two
a torrent can break any rule on purpose.
"""


class Raw(bytes):
    """Bytes that are bencode already."""


class Pairs(list):
    """A dictionary as (key, value) pairs, written in this very order."""


def encode(value):
    """Bencode; plain dicts get their keys sorted."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool):
        raise TypeError("bencode has no booleans")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, dict):
        keyed = [(k.encode() if isinstance(k, str) else k, v) for k, v in value.items()]
        value = Pairs(sorted(keyed, key=lambda pair: pair[0]))
    if isinstance(value, Pairs):
        return b"d" + b"".join(encode(k) + encode(v) for k, v in value) + b"e"
    return b"l" + b"".join(map(encode, value)) + b"e"


def decode(data, at=0):
    """The value at `at`, and the offset behind it. For replies of clients under our control only:
    it recurses, and raises ValueError or IndexError on malformed input."""
    lead = data[at : at + 1]
    if lead == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if lead == b"l":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return items, at + 1
    if lead == b"d":
        items, at = {}, at + 1
        while data[at : at + 1] != b"e":
            key, at = decode(data, at)
            items[key], at = decode(data, at)
        return items, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    if end > len(data):
        raise ValueError("string beyond the end")
    return data[colon + 1 : end], end
