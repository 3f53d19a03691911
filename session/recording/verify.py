#!/usr/bin/env python3
"""Verifies a recording, from FORMAT.md alone: a second implementation, for tests
and for auditors.

usage: verify.py FOLDER [WITNESS-KEY | FILE]
FILE has a key per line: [server] key [from=TIME] [until=TIME].
Prints the report as JSON and exits 0, or prints what is wrong and exits 1.
Standard library only; Ed25519 is RFC 8032, section 5.1, for verification.
"""
import base64, datetime, hashlib, json, os, re, sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


class Bad(Exception):
    pass


def need(ok, why):
    if not ok:
        raise Bad(why)


# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.
def point_add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, d - c, d + c, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_mul(k, a):
    r = (0, 1, 1, 0)
    while k:
        if k & 1:
            r = point_add(r, a)
        a, k = point_add(a, a), k >> 1
    return r


def point_decode(b):
    n = int.from_bytes(b, "little")
    sign, y = n >> 255, n & (1 << 255) - 1
    need(y < P, "a point is out of range")
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need((x * x - xx) % P == 0 and not (x == 0 and sign), "not a point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(public, message, sig):
    if len(sig) != 64 or len(public) != 32:
        return False
    s = int.from_bytes(sig[32:], "little")
    if s >= L:
        return False
    try:
        a, r = point_decode(public), point_decode(sig[:32])
    except Bad:
        return False
    k = int.from_bytes(hashlib.sha512(sig[:32] + public + message).digest(), "little") % L
    u, v = point_mul(s, BASE), point_add(r, point_mul(k, a))
    return (u[0] * v[2] - v[0] * u[2]) % P == 0 and (u[1] * v[2] - v[1] * u[2]) % P == 0


def b64(s):
    try:
        raw = base64.b64decode(s, validate=True)
    except ValueError:
        raise Bad("malformed base64")
    need(base64.b64encode(raw).decode() == s, "base64 is not canonical")
    return raw


def leaf(line):
    """Hashes a line's committed form: without its openings."""
    head, mark, texts = line.partition(b',"texts":[')
    end = b"}\n" if texts.endswith(b"\n") else b"}"
    return hashlib.sha256(b"\0" + (head + end if mark else line)).digest()


def members(doc):
    """The values of a line that are texts, in order: (name, value)."""

    def text(part, *names):
        for name in names:
            value = (doc.get(part) or {}).get(name) if part else doc.get(name)
            for v in value if isinstance(value, list) else [value]:
                if v:
                    yield (part + "." + name if part else name), v

    def names(values, name):
        for v in values:
            if v and not re.fullmatch(r"[A-Za-z0-9_$]*", v, re.ASCII):
                yield name, v

    yield from text("session", "reason")
    yield from text("sql", "text", "digest", "binds", "unknown")
    yield from names([o["name"] for o in (doc.get("sql") or {}).get("outputs", [])], "sql.outputs.name")
    yield from text("decision", "reason")
    yield from text("forwarded", "digest")
    yield from text("refused", "message")
    yield from names((doc.get("result") or {}).get("masked", []), "result.masked")
    yield from text("result", "error", "sample")
    yield from text("agent", "command")
    yield from text("", "note")


def check_texts(where, line, redacted, gone):
    """Checks the openings of a line, and returns how many are still there although
    they were redacted. gone counts those that are not."""
    doc = json.loads(line)
    openings = doc.pop("texts", [])
    commitments = list(members(doc))
    need(len(openings) == len(commitments), "%s has %d texts and %d commitments" % (where, len(openings), len(commitments)))
    left = 0
    for n, (opening, (name, commitment)) in enumerate(zip(openings, commitments)):
        need(len(b64(commitment)) == 32, "%s: %s is no commitment" % (where, name))
        if opening is None:
            need(n in redacted, "%s: %s was taken out, and no redaction says so" % (where, name))
            gone[0] += 1
            continue
        salt, text = opening
        need(len(b64(salt)) == 16, "%s: malformed salt" % where)
        found = hashlib.sha256(b"\2" + b64(salt) + text.encode()).digest()
        need(b64(commitment) == found, "%s: %s is not what was recorded" % (where, name))
        left += n in redacted
    return left


def read_redactions(data, session, leaves):
    """Returns the texts that were redacted, by event (-1: session.json), and the files."""
    texts, files = {}, set()
    if data is None:
        return texts, files
    need(data.endswith(b"\n"), "redactions.jsonl is cut short")
    for line in data[:-1].split(b"\n"):
        doc = json.loads(line)
        need(doc["format"] == "jit redaction v1" and doc["session"] == session, "a redaction of another recording")
        need(Key(doc["key"]).verify(line.partition(b',"sig":"')[0], b64(doc["sig"])), "the signature of a redaction is wrong")
        check_root("a redaction", (doc["size"], b64(doc["root"])), leaves)
        need(doc["by"] and doc["why"], "a redaction does not say who, or why")
        for seq, n in doc.get("texts", []):
            texts.setdefault(seq, set()).add(n)
        files |= set(doc.get("files", []))
        need(files <= {"terminal.cast", "rows.age"}, "a redaction of a file that cannot be")
    return texts, files


def check_part(folder, name, offset, size, want, whole):
    data = read(folder, name)
    need(data is not None, name + " is missing")
    part = data[offset : offset + size]
    need(len(part) == size and (not whole or len(data) == size), name + " has another size than the log says")
    need(hashlib.sha256(part).digest() == b64(want), name + " is not what the log tells of")


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


class Key:
    def __init__(self, text):
        parts = text.split("+", 2)
        need(len(parts) == 3, "malformed key")
        self.name, raw = parts[0], b64(parts[2])
        self.alg, self.public = raw[0], raw[1:]
        self.hash = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        need(self.hash.hex() == parts[1], "the key's hash does not match")
        need(self.alg in (1, 4), "unknown key algorithm")

    def verify(self, text, sig):
        if self.alg == 4:
            at = int.from_bytes(sig[:8], "big")
            text, sig = b"cosignature/v1\ntime %d\n" % at + text, sig[8:]
        return ed25519_verify(self.public, text, sig)


class Witness(Key):
    """A key with the time in which it may have signed."""

    def __init__(self, text):
        key, *times = text.split()
        super().__init__(key)
        need(self.alg == 4 or not times, "a key with a time that signs without one")
        self.times = {}
        for t in times:
            m = re.fullmatch("(from|until)=([0-9-]{10}T[0-9:]{8}(?:Z|[+-][0-9:]{5}))", t)
            need(m and m[1] not in self.times, "malformed time of a key: " + t)
            self.times[m[1]] = datetime.datetime.fromisoformat(m[2].replace("Z", "+00:00")).timestamp()

    def verify(self, text, sig):
        at = int.from_bytes(sig[:8], "big")
        if super().verify(text, sig):
            need(self.times.get("from", at) <= at <= self.times.get("until", at), "the key of the witness was not valid then")
            return True
        return False


def witness_keys(name):
    """The keys of a file, or the one that name is."""
    try:
        with open(name, encoding="utf-8") as f:
            lines = [line.split() for line in f]
    except FileNotFoundError:
        return [Witness(name)]
    keys = {}
    for fields in lines:
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) > 1 and not re.match(r"[^+]+\+[0-9a-f]{8}\+", fields[0]):
            fields = fields[1:]  # the server
        need(keys.setdefault(fields[0], fields) == fields, "a key stands there twice, with different times")
    need(keys, "there is no key in " + name)
    return [Witness(" ".join(f)) for f in keys.values()]


def open_cosig(data, session, signers, witnesses):
    """Returns (size, root) of a checkpoint that one of each signed."""
    first = None
    for signer in signers:
        for w in witnesses:
            try:
                return open_note(data, session, [signer, w])
            except Bad as e:
                first = first or e
    raise first


def open_note(data, session, keys):
    """Returns (size, root) of a checkpoint that exactly these keys signed."""
    text, sep, sigs = data.rpartition(b"\n\n")
    text += b"\n"
    need(sep and sigs.endswith(b"\n"), "malformed note")
    lines = sigs[:-1].decode().split("\n")
    need(len(lines) == len(keys), "it has %d signatures" % len(lines))
    for line, key in zip(lines, keys):
        m = re.fullmatch("— (\\S+) (\\S+)", line)
        need(m and m[1] == key.name, "it is not signed by " + key.name)
        raw = b64(m[2])
        need(raw[:4] == key.hash and key.verify(text, raw[4:]), "the signature of %s is wrong" % key.name)
    m = re.fullmatch("([^\n]+)\n([1-9][0-9]*)\n([^\n]+)\n", text.decode())
    need(m, "malformed checkpoint")
    need(m[1] == "jit/recording/" + session, "it is the checkpoint of another session")
    h = b64(m[3])
    need(len(h) == 32, "malformed root")
    return int(m[2]), h


def check_root(name, note, leaves):
    size, want = note
    need(size <= len(leaves), "%s covers %d events, there are %d" % (name, size, len(leaves)))
    need(root(leaves[:size]) == want, "the events do not have the root of " + name)


def read(folder, name):
    try:
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def verify(folder, witness=None):
    head = read(folder, "session.json")
    doc = json.loads(head)
    need(doc["format"] == "jit recording v2", "unknown format")
    session, key = doc["session"]["id"], Key(doc["key"])

    *lines, torn = read(folder, "events.jsonl").split(b"\n")
    leaves, prev, ended, last = [], leaf(head), None, None
    for n, line in enumerate(lines):
        begin = b'{"seq":%d,"prev":"%s","at":"' % (n, base64.b64encode(prev))
        need(line.startswith(begin), "line %d does not follow the one before it" % n)
        last = json.loads(line)
        need((last["kind"] == "session.opened") == (n == 0), "session.opened is out of place")
        need(ended is None or "recovered" in last, "line %d follows the end" % n)
        if last["kind"] == "session.ended" and ended is None:
            ended = n
        prev = leaf(line)
        leaves.append(prev)

    checkpoint, cosig = read(folder, "checkpoint"), read(folder, "cosig")
    if checkpoint is None and cosig:
        checkpoint = b"\n".join(cosig.split(b"\n")[:5]) + b"\n"
    signer, signed = key, None
    recovered = last.get("recovered")
    if recovered:
        try:
            open_note(checkpoint, session, [Key(recovered["key"])])
            signer = Key(recovered["key"])
        except Bad:
            pass
    if signer is not key:
        note = open_note(recovered["checkpoint"].encode(), session, [key])
        check_root("recovered.checkpoint", note, leaves)
        need(note[0] <= ended, "it recovers a sealed recording")
        signed = note[0]
    note = open_note(checkpoint, session, [signer])
    check_root("checkpoint", note, leaves)
    size = note[0]

    cosigned = 0
    witnesses = witness_keys(witness) if witness else [Witness(doc["witness"])] if "witness" in doc else []
    if cosig and witnesses:
        note = open_cosig(cosig, session, [key] if signer is key else [key, signer], witnesses)
        check_root("cosig", note, leaves)
        cosigned = note[0]
        need(cosigned <= size, "cosig covers more than checkpoint")
    need(cosigned or not witness, "the witness has not signed it")

    redacted, files = read_redactions(read(folder, "redactions.jsonl"), session, leaves)
    gone = [0]
    left = check_texts("session.json", head, redacted.get(-1, ()), gone)
    for n, line in enumerate(lines):
        left += check_texts("line %d" % n, line, redacted.get(n, ()), gone)
        event = json.loads(line)
        t, k = event.get("terminal"), event.get("result", {}).get("kept")
        if t and t["file"] not in files:
            need(t["file"] == "terminal.cast", "line %d tells of no file of a recording" % n)
            check_part(folder, t["file"], 0, t["bytes"], t["sha256"], True)
        if k and "rows.age" not in files:
            check_part(folder, "rows.age", k["offset"], k["bytes"], k["sha256"], False)

    sealed = ended is not None and ended < size
    need(not sealed or (len(lines) == size and not torn), "something follows the end")
    return {
        "events": size,
        "root": base64.b64encode(root(leaves[:size])).decode(),
        "signed": size if signed is None else signed,
        "cosigned": cosigned,
        "tail": len(lines) - size,
        "torn": len(torn),
        "sealed": sealed,
        "recovered": signed is not None,
        "redacted": gone[0],
        "left": left,
    }


if __name__ == "__main__":
    try:
        print(json.dumps(verify(*sys.argv[1:])))
    except (Bad, ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        print("not what was recorded: %s: %s" % (type(e).__name__, e))
        sys.exit(1)
