"""What the Python agents of the end-to-end suite share: the steps they read and
the lines they print, which are those of goagent.

A client is a class with a method query(step), which returns columns, rows, and
raises Refused when the statement fails. packages lists what it is made of.
"""

import datetime
import decimal
import hashlib
import importlib.metadata
import json
import os
import signal
import threading
import time
import tomllib


class Refused(Exception):
    """What a client says when a statement fails."""

    def __init__(self, cls, code, sqlstate, message):
        super().__init__(message)
        self.cls, self.code, self.sqlstate, self.message = cls, code, sqlstate, message


def code_of(errno):
    return "" if errno in (None, -1) else "%06d" % int(errno)


def connection():
    with open(os.path.join(os.environ["SNOWFLAKE_HOME"], "connections.toml"), "rb") as f:
        return tomllib.load(f)["default"]


def text(value, exact=False):
    """A cell as text; exact: with its type, and with NaN told from NULL."""
    if value is None or not exact and value != value:  # NaN is pandas' other spelling of NULL
        return None
    if exact:
        return "%s %r" % (type(value).__name__, value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def await_file(name):
    deadline = time.monotonic() + 300
    while name and not os.path.exists(name):
        if time.monotonic() > deadline:
            raise SystemExit("%s never appeared" % name)
        time.sleep(0.02)


def when_there(name, do):
    """Runs do on a thread of its own once a file exists."""

    def wait():
        await_file(name)
        do()

    threading.Thread(target=wait, daemon=True).start()


def interrupt():
    """Ctrl-C: how the 4.x driver is told to cancel what it executes."""
    os.kill(os.getpid(), signal.SIGINT)


def bulk_rows(step):
    return [(i, "note %d" % i) for i in range(1, step["bulk"] + 1)]


def is_query(step):
    return step["sql"].lower().startswith("select")


def digests(rows, width):
    """A SHA-256 per column, over each cell and a line break; NULL is a zero byte."""
    sums = [hashlib.sha256() for _ in range(width)]
    count = 0
    for row in rows:
        count += 1
        for s, v in zip(sums, row):
            t = text(v)
            s.update(("\0" if t is None else t).encode() + b"\n")
    return count, [s.hexdigest() for s in sums]


def one(client, step, line):
    columns, rows = client.query(step)
    line["columns"] = columns
    if step.get("digest"):
        line["count"], line["digests"] = digests(rows, len(columns))
    else:
        line["rows"] = [[text(v, step.get("exact")) for v in row] for row in rows]


def run(client, file):
    """Runs the steps of a file with a client."""
    if client.packages:
        print(json.dumps({"about": ", ".join("%s %s" % (p, importlib.metadata.version(p)) for p in client.packages)}), flush=True)
    with open(file) as f:
        steps = json.load(f)
    for i, step in enumerate(steps):
        began = time.monotonic()
        line = {"step": i, "sql": step.get("sql", ""), "columns": None, "rows": None, "error": None}
        if step.get("touch_file"):
            open(step["touch_file"], "w").close()
        await_file(step.get("wait_file"))
        if step.get("sql"):
            try:
                one(client, step, line)
            except Refused as e:
                line["error"] = {"class": e.cls, "code": e.code, "sqlstate": e.sqlstate, "message": e.message}
            except (KeyboardInterrupt, Exception) as e:  # also what a client cannot read
                line["error"] = {"class": type(e).__name__, "code": "", "sqlstate": "", "message": str(e)}
        line["ms"] = round((time.monotonic() - began) * 1000)
        print(json.dumps(line, ensure_ascii=False), flush=True)
    client.close()
