"""A server process, its replies as tuples of their kind and content: a null that is an array is not one that is a text."""
import os, signal, socket, subprocess, time


class Server:
    def __init__(self, name, command, port):
        self.name = name
        # Redis compares texts of SORT ALPHA as the locale does.
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C"))
        for _ in range(400):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        self.reader = self.socket.makefile("rb", buffering=1 << 20)

    def read(self):
        line = self.reader.readline()
        kind, rest = line[:1], line[1:-2]
        if not line:
            raise EOFError(f"{self.name} has gone")
        if kind == b"$":
            return (b"$", None) if rest == b"-1" else (b"$", self.reader.read(int(rest) + 2)[:-2])
        if kind in b"*~":
            return (kind, None) if rest == b"-1" else (kind, [self.read() for _ in range(int(rest))])
        if kind == b"%":
            return kind, [self.read() for _ in range(2 * int(rest))]
        return kind, rest

    def ask(self, requests):
        """All of them as one pipeline, in pieces that neither side chokes on."""
        replies = []
        for at in range(0, len(requests), 50):
            some = requests[at:at + 50]
            self.socket.sendall(b"".join(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words) for words in some))
            replies.extend(self.read() for _ in some)
        return replies

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
