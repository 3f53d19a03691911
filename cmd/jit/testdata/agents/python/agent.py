"""The Python half of the end-to-end suite: an agent that knows nothing of jit.

It connects with no arguments, as a program does that relies on
connections.toml, and runs the steps it is given, one JSON line of outcome
each. Steps and lines are those of goagent. It runs unchanged on the 4.x driver
(written in Python) and on the 5.x driver (a Rust core).

Usage: agent.py STEPS.json
"""

import datetime
import decimal
import json
import os
import sys
import time

import snowflake.connector
from snowflake.connector import errors


def pause(step):
    if step.get("touch_file"):
        open(step["touch_file"], "w").close()
    deadline = time.monotonic() + 120
    while step.get("wait_file") and not os.path.exists(step["wait_file"]):
        if time.monotonic() > deadline:
            raise SystemExit("%s never appeared" % step["wait_file"])
        time.sleep(0.02)


def text(value):
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def query(conn, step):
    cur = conn.cursor()
    try:
        cancel = step.get("cancel_after_ms", 0) / 1000
        if not cancel:
            cur.execute(step["sql"], step.get("binds") or None)
        elif snowflake.connector.__version__.startswith("4."):
            # 4.x cancels by a timer of its own, which sends an abort.
            cur.execute(step["sql"], timeout=max(1, round(cancel)))
        else:
            # 5.x cannot interrupt execute(); what it can abort is asynchronous.
            qid = cur.execute_async(step["sql"])["queryId"]
            time.sleep(cancel)
            cur.abort_query(qid)
            cur.get_results_from_sfqid(qid)
        columns = [{"name": d[0], "type": str(d[1])} for d in cur.description or []]
        return columns, [[text(v) for v in row] for row in cur.fetchall()]
    finally:
        cur.close()


def main():
    with open(sys.argv[1]) as f:
        steps = json.load(f)
    conn = None
    for i, step in enumerate(steps):
        began = time.monotonic()
        line = {"step": i, "sql": step.get("sql", ""), "columns": None, "rows": None, "error": None}
        pause(step)
        if step.get("sql"):
            try:
                if step.get("reconnect"):
                    conn = None
                if conn is None:
                    snowflake.connector.paramstyle = "qmark"
                    conn = snowflake.connector.connect()
                line["columns"], line["rows"] = query(conn, step)
            except errors.Error as e:
                code = "" if e.errno in (None, -1) else "%06d" % e.errno
                line["error"] = {"code": code, "sqlstate": e.sqlstate or "", "message": e.msg or str(e)}
        line["ms"] = round((time.monotonic() - began) * 1000)
        print(json.dumps(line, ensure_ascii=False), flush=True)
    if conn is not None:
        conn.close()


if __name__ == "__main__":
    main()
