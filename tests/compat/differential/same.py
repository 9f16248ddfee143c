"""What two replies to one request must have in common."""
import re

NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?")
# How many items of these belong together; their order is nobody's promise.
UNORDERED = {b"SMEMBERS": 1, b"SINTER": 1, b"SUNION": 1, b"SDIFF": 1, b"HKEYS": 1, b"HVALS": 1, b"HGETALL": 2}
SCANS = {b"HSCAN": 2, b"SSCAN": 1, b"ZSCAN": 2}
RANDOM = {b"SPOP", b"SRANDMEMBER", b"ZRANDMEMBER", b"HRANDFIELD"}


def shape(words, reply):
    kind, content = reply
    name = words[0].upper()
    if kind in b"-:" or content is None:
        return reply
    if name in RANDOM:
        return kind, len(content) if isinstance(content, list) else None
    if name.startswith((b"Z", b"BZ")) or name == b"HINCRBYFLOAT":
        kind, content = spelt(reply)
    if name in UNORDERED and isinstance(content, list):
        return kind, grouped(content, UNORDERED[name])
    if name in SCANS and isinstance(content, list):
        # How much a call brings is its own affair, but one of a thousand brings all.
        if b"1000" not in words or words[2] != b"0":
            return kind, len(content)
        return kind, content[0], grouped(content[1][1], SCANS[name])
    if is_loose(words) and isinstance(content, list):
        # Of equals another may be within the limits.
        return kind, len(content) if b"LIMIT" in map(bytes.upper, words) else sorted(map(repr, content))
    return kind, content


def spelt(reply):
    """Redis 7.2 spells a score by its shortest name, 7.0 by seventeen digits."""
    kind, content = reply
    if isinstance(content, list):
        return kind, [spelt(item) for item in content]
    if content is not None and len(content) > 3 and NUMBER.fullmatch(content):
        return kind, repr(float(content)).encode()
    return reply


def grouped(items, each):
    return sorted(map(repr, (items[i:i + each] for i in range(0, len(items), each))))


def is_loose(words):
    """SORT by what may be equal or is not there, or of a set that it is told not to sort: in which order is nobody's promise."""
    return words[0].upper() in (b"SORT", b"SORT_RO") and any(word.upper() == b"BY" for word in words)


def leaves_other(words):
    """Whether the keys of a request may differ from now on: by what was picked, or as redis-server makes a sorted set a skiplist when it sorts it."""
    sorts = words[0].upper() in (b"SORT", b"SORT_RO") and words[1][:1] not in b"nx"
    return words[0].upper() == b"SPOP" or sorts or is_loose(words) and any(word.upper() == b"STORE" for word in words)
