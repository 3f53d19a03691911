"""The Python half of the end-to-end suite: an agent that knows nothing of jit.

It connects with no arguments, as a program does that relies on
connections.toml, and runs the steps it is given, one JSON line of outcome
each. Steps and lines are those of goagent. It runs unchanged on the 4.x driver
(written in Python) and on the 5.x driver (a Rust core).

Usage: agent.py STEPS.json
"""

import sys
import time

import snowflake.connector
from snowflake.connector import errors

from steps import Refused, await_file, bulk_rows, code_of, interrupt, run, when_there

OLD = snowflake.connector.__version__.startswith("4.")


class Driver:
    packages = []

    def __init__(self):
        self.conn = None

    def query(self, step):
        try:
            if step.get("reconnect"):
                self.conn = None
            if self.conn is None:
                snowflake.connector.paramstyle = "qmark"
                self.conn = snowflake.connector.connect()
            cur = self.conn.cursor()
            try:
                return self.execute(cur, step)
            finally:
                cur.close()
        except errors.Error as e:
            raise Refused(type(e).__module__ + "." + type(e).__name__, code_of(e.errno), e.sqlstate or "", e.msg or str(e)) from e

    def execute(self, cur, step):
        cancel = step.get("cancel_after_ms", 0) / 1000
        if step.get("bulk"):
            cur.executemany(step["sql"], bulk_rows(step))
        elif step.get("multi"):
            return self.sets(cur, step)
        elif step.get("async"):
            cur.get_results_from_sfqid(cur.execute_async(step["sql"])["queryId"])
        elif not cancel and not step.get("cancel_file"):
            cur.execute(step["sql"], step.get("binds") or None)
        elif not OLD:
            # 5.x cannot interrupt execute(); what it can abort is asynchronous.
            qid = cur.execute_async(step["sql"])["queryId"]
            await_file(step.get("cancel_file"))
            time.sleep(cancel)
            cur.abort_query(qid)
            cur.get_results_from_sfqid(qid)
        elif cancel:
            # 4.x cancels by a timer of its own, which sends an abort.
            cur.execute(step["sql"], timeout=max(1, round(cancel)))
        else:
            when_there(step["cancel_file"], interrupt)
            cur.execute(step["sql"])
        return describe(cur, step), cur.fetchall()

    def sets(self, cur, step):
        cur.execute(step["sql"], num_statements=step["multi"])
        rows = list(cur.fetchall())
        while cur.nextset():
            rows += cur.fetchall()
        return describe(cur, step), rows

    def close(self):
        if self.conn is not None:
            self.conn.close()


def describe(cur, step):
    if step.get("exact"):
        return [{"name": d[0], "type": repr(tuple(d[1:]))} for d in cur.description or []]
    return [{"name": d[0], "type": str(d[1])} for d in cur.description or []]


if __name__ == "__main__":
    run(Driver(), sys.argv[1])
