"""Answer what sqlglot thinks about queries, for the differential test.

One JSON object per line on stdin: {"id", "sql", "tables": {"APP.PUBLIC.T": ["C", …]}}.
One per line on stdout: {"id", "tables": [...], "columns": [[source, ...] or null, ...]}
or {"id", "error"}. A column is null where sqlglot has no answer.
"""

import json
import logging
import sys

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

logging.disable(logging.CRITICAL)


def full_name(table):
    return ".".join(p for p in (table.catalog or "APP", table.db or "PUBLIC", table.name))


def sources(name, tree, scope, schema):
    found = set()
    for node in lineage(exp.column(name, quoted=True), tree, schema=schema, scope=scope, dialect="snowflake").walk():
        if isinstance(node.expression, exp.Table):
            column = sqlglot.parse_one(node.name, dialect="snowflake")
            found.add(full_name(node.expression) + "." + column.name)
    return sorted(found)


def answer(line):
    schema = {}
    for table, columns in line["tables"].items():
        db, sch, name = table.split(".")
        schema.setdefault(db, {}).setdefault(sch, {})[name] = {c: "VARCHAR" for c in columns}
    tree = sqlglot.parse_one(line["sql"], dialect="snowflake")
    ctes = {c.alias for c in tree.find_all(exp.CTE)}
    tables = sorted({full_name(t) for t in tree.find_all(exp.Table) if t.db or t.name.upper() not in {c.upper() for c in ctes}})
    tree = qualify(tree, schema=schema, dialect="snowflake", catalog="APP", db="PUBLIC")
    scope = build_scope(tree)
    columns = []
    for name in tree.named_selects:
        try:
            columns.append(sources(name, tree, scope, schema))
        except Exception:
            columns.append(None)
    return {"tables": [t.upper() for t in tables], "columns": columns}


def main():
    for text in sys.stdin:
        line = json.loads(text)
        try:
            out = answer(line)
        except Exception as e:
            out = {"error": f"{type(e).__name__}: {e}"[:300]}
        out["id"] = line["id"]
        print(json.dumps(out), flush=True)


main()
