"""What is asked: a line for each way to ask, in the notation of our syntax lines, so that a whole family can be read at once.

    ZADD z [NX] [XX] (score text)+      ->      zadd z3 NX 1.5 m7 -inf 12

Capitals are said as they are, or small. Other words are drawn by the method of that name (words.py). `[a]` is there now and then, `<a|b>` is one of them,
`(a b)+` comes a few times, seldom hundreds. A key is of the letter's type, now and then of another or missing.
"""
import re

LINES = """
HSET h (field text)+
HSET h (field text)+
HMSET h (field text)+
HSETNX h field text
HGET h field
HMGET h (field)+
HDEL h (field)+
HLEN h
HSTRLEN h field
HEXISTS h field
HKEYS h
HVALS h
HGETALL h
HINCRBY h field integer
HINCRBYFLOAT h decimal_field decimal
HRANDFIELD h
HRANDFIELD h count [WITHVALUES]
HSCAN h cursor [MATCH pattern] COUNT scanned

SADD s (member)+
SADD s (member)+
SREM s (member)+
SCARD s
SISMEMBER s member
SMISMEMBER s (member)+
SMEMBERS s
SMOVE s s member
SPOP s [count]
SRANDMEMBER s [count]
SINTER (s)+
SUNION (s)+
SDIFF (s)+
SINTERSTORE s (s)+
SUNIONSTORE s (s)+
SDIFFSTORE s (s)+
SINTERCARD sets [LIMIT integer]
SSCAN s cursor [MATCH pattern] COUNT scanned

ZADD z [NX] [XX] [GT] [LT] [CH] [INCR] (score text)+
ZADD z (score text)+
ZADD z (score text)+
ZADD x (ZERO text)+
ZINCRBY z score text
ZREM z (text)+
ZCARD z
ZSCORE z text
ZMSCORE z (text)+
ZRANK z text
ZREVRANK z text
ZCOUNT z bound bound
ZLEXCOUNT x lex lex
ZRANGE z integer integer [REV] [WITHSCORES]
ZRANGE z integer integer [LIMIT integer integer]
ZRANGE z bound bound BYSCORE [REV] [LIMIT integer integer] [WITHSCORES]
ZRANGE x lex lex BYLEX [REV] [LIMIT integer integer] [WITHSCORES]
ZRANGESTORE z z integer integer [REV]
ZRANGESTORE z z bound bound BYSCORE [REV] [LIMIT integer integer]
ZRANGESTORE x x lex lex BYLEX [REV] [LIMIT integer integer]
ZREVRANGE z integer integer [WITHSCORES]
ZRANGEBYSCORE z bound bound [WITHSCORES] [LIMIT integer integer]
ZREVRANGEBYSCORE z bound bound [WITHSCORES] [LIMIT integer integer]
ZRANGEBYLEX x lex lex [LIMIT integer integer]
ZREVRANGEBYLEX x lex lex [LIMIT integer integer]
ZREMRANGEBYSCORE z bound bound
ZREMRANGEBYRANK z integer integer
ZREMRANGEBYLEX x lex lex
ZPOPMIN z [integer]
ZPOPMAX z [integer]
ZMPOP zsets <MIN|MAX|MIN|MAX|MID> [COUNT integer]
ZRANDMEMBER z
ZRANDMEMBER z count [WITHSCORES]
ZUNION mixed [WEIGHTS weights] [AGGREGATE <SUM|MIN|MAX|AVG>] [WITHSCORES]
ZINTER mixed [WEIGHTS weights] [AGGREGATE <SUM|MIN|MAX|AVG>] [WITHSCORES]
ZDIFF mixed [WITHSCORES]
ZUNIONSTORE z mixed [WEIGHTS weights] [AGGREGATE <SUM|MIN|MAX|AVG>]
ZINTERSTORE z mixed [WEIGHTS weights] [AGGREGATE <SUM|MIN|MAX|AVG>]
ZDIFFSTORE z mixed
ZINTERCARD mixed [LIMIT integer]
ZSCAN z cursor [MATCH pattern] COUNT scanned

LPUSH l (text)+
RPUSH l (text)+
RPUSH l (text)+
RPUSH n (integral)+
LPUSHX l (text)+
RPUSHX l (text)+
LPOP l [integer]
RPOP l [integer]
LLEN l
LRANGE l integer integer
LINDEX l integer
LINSERT l <BEFORE|AFTER|BEFORE|AFTER|NEAR> text text
LSET l integer text
LREM l signed text
LTRIM l integer integer
LPOS l text [RANK signed] [COUNT integer] [MAXLEN integer]
LMOVE l l <LEFT|RIGHT> <LEFT|RIGHT|UP>
RPOPLPUSH l l
LMPOP lists <LEFT|RIGHT|LEFT|RIGHT|UP> [COUNT integer]

BLPOP (l)+ timeout
BRPOP (l)+ timeout
BLMOVE l l <LEFT|RIGHT> <LEFT|RIGHT|UP> timeout
BRPOPLPUSH l l timeout
BLMPOP timeout lists <LEFT|RIGHT|LEFT|RIGHT|UP> [COUNT integer]
BZPOPMIN (z)+ timeout
BZPOPMAX (z)+ timeout
BZMPOP timeout zsets <MIN|MAX|MIN|MAX|MID> [COUNT integer]

SORT n [LIMIT integer integer] [<ASC|DESC>] [STORE l]
SORT <n|s|x> [BY by] [LIMIT integer integer] [GET got] [GET got] [<ASC|DESC>] ALPHA
SORT <n|l|s|x> [BY by] [LIMIT integer integer] [GET got] [<ASC|DESC>] [ALPHA] [STORE l]
SORT_RO n [BY by] [LIMIT integer integer] [GET got] [<ASC|DESC>] [ALPHA]
SORT_RO <l|s|x> [LIMIT integer integer] [ALPHA] [STORE l]

SET k text
SET weight integral
DEL any
DEL any any
UNLINK any
TYPE any
EXISTS any any
TOUCH any
RENAME pair
RENAMENX pair
COPY pair [REPLACE]
COPY pair [DB one] [REPLACE]
MOVE any one
EXPIREAT any later [<NX|XX|GT|LT>]
PERSIST any
EXPIRETIME any
"""

TOKEN = re.compile(r"\[|\]|<|>|\||\(|\)\+|[^\s\[\]<>|()]+")
CHANCE = 0.35
MANY = 0.02


def parsed(line):
    """A line as nested lists: a word, ("maybe", [...]), ("one", [[...], ...]), ("some", [...])."""
    tokens = iter(TOKEN.findall(line))

    def until(*ends):
        parts = []
        for token in tokens:
            if token in ends:
                return parts, token
            if token == "[":
                parts.append(("maybe", until("]")[0]))
            elif token == "(":
                parts.append(("some", until(")+")[0]))
            elif token == "<":
                choices, end = [], "|"
                while end == "|":
                    choice, end = until("|", ">")
                    choices.append(choice)
                parts.append(("one", choices))
            else:
                parts.append(token)
        return parts, None

    return until()[0]


ROWS = [parsed(line) for line in LINES.splitlines() if line]


def said(parts, words):
    """The words of a request, each drawn."""
    rng, out = words.rng, []
    for part in parts:
        if isinstance(part, str):
            if part.isupper() or "_" in part and part.upper() == part:
                out.append(b"0" if part == "ZERO" else rng.choice([part, part.lower()]).encode())
            else:
                drawn = getattr(words, part)()
                out.extend(drawn if isinstance(drawn, list) else [drawn])
        elif part[0] == "maybe":
            out.extend(said(part[1], words) if rng.random() < CHANCE else [])
        elif part[0] == "one":
            out.extend(said(rng.choice(part[1]), words))
        else:
            count = rng.randrange(100, 200) if rng.random() < MANY else rng.randrange(1, 5)
            out.extend(word for _ in range(count) for word in said(part[1], words))
    return out


def request(words):
    """One request. Now and then a word is missing, surplus, or another."""
    out = said(words.rng.choice(ROWS), words)
    name, fate, at = out[0].upper(), words.rng.random(), words.rng.randrange(1, len(out) + 1)
    if fate < 0.015 and at < len(out):
        out.pop(at)
    elif name.startswith(b"B") or name.endswith(b"RANK") or any(word[:1] == b"x" and len(word) == 2 for word in out):
        pass  # Nobody shall wait for ever; ZRANK takes WITHSCORE since 7.2, and says so; x have one score.
    elif fate < 0.03:
        out.insert(at, words.surplus())
    elif fate < 0.035 and at < len(out):
        out[at] = words.surplus()
    return out
