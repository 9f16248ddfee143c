"""Words of requests, drawn at random: a method for each word of grammar.py.

No number is beyond a double or a cursor: redis-server then takes the next number that SORT reads for one as well (errno is not cleared)."""
import random

KEYS = 6
EXTREMES = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775807", b"4611686018427387904",
            b"-4611686018427387905", b"1.0", b"", b"a", b"+1", b" 1", b"1 ", b"01", b"-0", b"1000000000000", b"2147483648", b"-2147483649"]
TEXTS = [b"", b"\x01\x00", b"\xff\xfe\r\n", b"x" * 65, b"x" * 600, b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"007", b"-0", b"+1",
         b" 1", b"1 ", b"3.0", b"nan", b"inf", b"a" * 64]
SCORES = [b"inf", b"-inf", b"+inf", b"nan", b"Infinity", b"1e308", b"-1e308", b"0x10", b"1e3", b"", b"one", b"1.5x", b" 1", b"-0", b"-0.0", b"0.1",
          b"9007199254740993", b"3.0e+2", b"123456789012345678"]


class Words:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def key(self, kind):
        if self.rng.random() < 0.04:
            kind = self.rng.choice("hszkl")
        if self.rng.random() < 0.02:
            return b"missing"
        return b"%s%d" % (kind.encode(), self.rng.randrange(KEYS))

    def h(self): return self.key("h")
    def s(self): return self.key("s")
    def z(self): return self.key("z")
    def l(self): return self.key("l")
    def k(self): return b"k%d" % self.rng.randrange(KEYS)

    def n(self):
        """A list of numbers alone."""
        return b"n%d" % self.rng.randrange(2)

    def x(self):
        """A sorted set of one score: what a range of texts is of others is undefined. SORT is asked of these, as it changes the encoding in redis-server."""
        return b"x%d" % self.rng.randrange(KEYS)

    def any(self):
        return self.key(self.rng.choice("hszlk"))

    def pair(self):
        """Of one letter, so that RENAME and COPY leave most letters true."""
        kind = self.rng.choice("hszlk")
        return [self.key(kind), self.key(kind)]

    def counted(self, draw):
        keys = [draw() for _ in range(self.rng.randrange(1, 4))]
        return [b"%d" % len(keys) if self.rng.random() < 0.93 else self.integer()] + keys

    def sets(self): return self.counted(self.s)
    def zsets(self): return self.counted(self.z)
    def lists(self): return self.counted(self.l)

    def mixed(self):
        return self.counted(self.rng.choice([self.z, self.z, self.s]))

    def weights(self):
        return [self.score() for _ in range(self.rng.randrange(1, 4))]

    def text(self):
        r = self.rng.random()
        if r < 0.6:
            return b"m%d" % self.rng.randrange(40)
        return b"%d" % self.rng.randrange(-30, 30) if r < 0.8 else self.rng.choice(TEXTS)

    def field(self):
        return b"field:%d" % self.rng.randrange(400) if self.rng.random() < 0.1 else self.text()

    def member(self):
        return b"%d" % self.rng.randrange(1000) if self.rng.random() < 0.4 else self.text()

    def integral(self):
        return b"%d" % self.rng.randrange(-50, 50)

    def integer(self):
        return b"%d" % self.rng.randrange(-6, 12) if self.rng.random() < 0.8 else self.rng.choice(EXTREMES)

    def signed(self):
        """The least is refused since 7.2."""
        return self.integer().replace(b"-9223372036854775808", b"-9223372036854775807")

    def count(self):
        """Of a random choice: not so large that it answers gigabytes."""
        if self.rng.random() < 0.85:
            return b"%d" % self.rng.randrange(-300, 300)
        return self.rng.choice([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"1.0", b"", b"a", b"4611686018427387904"])

    def score(self):
        r = self.rng.random()
        if r < 0.6:
            return b"%d" % self.rng.randrange(-5, 6)
        return b"%.3f" % self.rng.uniform(-3, 3) if r < 0.8 else self.rng.choice(SCORES)

    def bound(self):
        return self.rng.choice([b"", b"", b"", b"("]) + self.score()

    def lex(self):
        return self.rng.choice([b"-", b"+", b"[" + self.text(), b"(" + self.text(), self.text(), b"[", b"("])

    def decimal_field(self):
        return b"f%d" % self.rng.randrange(3) if self.rng.random() < 0.9 else b"m1"

    def decimal(self):
        return self.rng.choice([b"0.5", b"-1", b"1e2", b"nan", b"inf", b"x", b"", b"3.25", b"5.0e3", b" 1"])

    def timeout(self):
        """Short, or none at all. One that is too large is refused otherwise since 7.2."""
        return self.rng.choice([b"0.001", b"0.002", b"0.001", b"1e-3", b"-1", b"a", b"", b"nan", b"-0.5", b"0.0015", b" 1"])

    def cursor(self): return self.rng.choice([b"0", b"0", b"0", b"0", b"x", b"0x"])
    def scanned(self): return self.rng.choice([b"1000", b"1000", b"1000", b"0", b"a", b"-5"])
    def pattern(self): return self.rng.choice([b"*", b"m1*", b"*1*", b"", b"[a-m]*", b"?[", b"\\m1"])
    def by(self): return self.rng.choice([b"weight", b"k*", b"h*->m1", b"nosort", b"weight", b"k", b"*"])
    def got(self): return self.rng.choice([b"#", b"k*", b"h*->m1", b"nothing", b"*", b"l*", b"h*->"])

    def weight(self):
        return self.k()

    def later(self):
        return b"%d" % (33_000_000_000 + self.rng.randrange(5)) if self.rng.random() < 0.9 else self.integer()

    def one(self):
        return self.rng.choice([b"1", b"1", b"0", b"16", b"a"])

    def surplus(self):
        return self.rng.choice([b"NX", b"WITHSCORES", b"COUNT", b"LIMIT", b"1", b"2", self.text(), self.integer()])
