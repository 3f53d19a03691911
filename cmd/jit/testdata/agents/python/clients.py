"""Clients built on Snowflake's Python and Go drivers, for the end-to-end suite:
SQLAlchemy, Snowpark, pandas, ADBC, the snow command line and dbt, none of which
knows of jit.

Each connects as its documentation says, by the connection named "default", and
runs the steps it is given, one JSON line of outcome each. Steps and lines are
those of goagent; a first line says which versions are at work.

Usage: clients.py CLIENT STEPS.json
"""

import datetime
import decimal
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib


class Refused(Exception):
    """What a client says when a statement fails."""

    def __init__(self, code, sqlstate, message):
        super().__init__(message)
        self.code, self.sqlstate, self.message = code, sqlstate, message


def text(value):
    if value is None or value != value:  # NaN, pandas' other spelling of NULL
        return None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def code_of(errno):
    return "" if errno in (None, -1) else "%06d" % int(errno)


def connection():
    with open(os.path.join(os.environ["SNOWFLAKE_HOME"], "connections.toml"), "rb") as f:
        return tomllib.load(f)["default"]


class SQLAlchemy:
    packages = ["sqlalchemy", "snowflake-sqlalchemy", "snowflake-connector-python"]

    def __init__(self):
        import sqlalchemy
        from snowflake.sqlalchemy import URL

        c = connection()
        secret = {k: c[k] for k in ("authenticator", "token") if k in c}
        url = URL(**{k: c[k] for k in ("account", "user", "password", "host", "port", "database", "schema", "warehouse", "role") if k in c})
        self.text = sqlalchemy.text
        self.error = sqlalchemy.exc.DBAPIError
        self.engine = sqlalchemy.create_engine(url, connect_args={"protocol": c["protocol"], **secret})

    def query(self, step):
        try:
            with self.engine.begin() as conn:
                result = conn.execute(self.text(step["sql"]))
                columns = [{"name": d[0], "type": str(d[1])} for d in result.cursor.description or []]
                return columns, [list(row) for row in result] if result.returns_rows else []
        except self.error as e:
            raise Refused(code_of(getattr(e.orig, "errno", None)), getattr(e.orig, "sqlstate", "") or "", str(e.orig)) from e

    def close(self):
        self.engine.dispose()


class Snowpark:
    packages = ["snowflake-snowpark-python", "snowflake-connector-python"]

    def __init__(self):
        from snowflake.snowpark import Session
        from snowflake.snowpark.exceptions import SnowparkSQLException

        self.error = SnowparkSQLException
        self.session = Session.builder.config("connection_name", "default").create()

    def query(self, step):
        try:
            frame = self.session.sql(step["sql"])
            rows = frame.collect()
            columns = [{"name": f.name, "type": str(f.datatype)} for f in frame.schema.fields] if is_query(step) else []
            return columns, [list(row) for row in rows]
        except self.error as e:
            raise Refused(code_of(e.sql_error_code), sqlstate_in(e.message), e.message) from e

    def close(self):
        self.session.close()


class Pandas:
    packages = ["pandas", "pyarrow", "snowflake-connector-python"]

    def __init__(self):
        import snowflake.connector

        self.error = snowflake.connector.errors.Error
        self.conn = snowflake.connector.connect(connection_name="default")

    def query(self, step):
        try:
            cur = self.conn.cursor()
            cur.execute(step["sql"])
            if not is_query(step):
                return [], []
            frame = cur.fetch_pandas_all()
            columns = [{"name": n, "type": str(t)} for n, t in frame.dtypes.items()]
            return columns, [list(row) for row in frame.itertuples(index=False)]
        except self.error as e:
            raise Refused(code_of(e.errno), e.sqlstate or "", e.msg or str(e)) from e

    def close(self):
        self.conn.close()


class ADBC:
    packages = ["adbc-driver-snowflake", "adbc-driver-manager", "pyarrow"]

    def __init__(self):
        import adbc_driver_manager
        import adbc_driver_snowflake.dbapi

        c = connection()
        options = {
            "adbc.snowflake.sql.account": c["account"],
            "adbc.snowflake.sql.uri.protocol": c["protocol"],
            "adbc.snowflake.sql.uri.host": c["host"],
            "adbc.snowflake.sql.uri.port": c["port"],
            "adbc.snowflake.sql.db": c["database"],
            "adbc.snowflake.sql.schema": c["schema"],
            "adbc.snowflake.sql.warehouse": c["warehouse"],
            "username": c["user"],
        }
        if "role" in c:
            options["adbc.snowflake.sql.role"] = c["role"]
        if "token" in c:
            options["adbc.snowflake.sql.auth_type"] = "auth_pat"
            options["adbc.snowflake.sql.client_option.auth_token"] = c["token"]
        else:
            options["password"] = c["password"]
        self.error = adbc_driver_manager.Error
        self.conn = adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True)

    def query(self, step):
        try:
            with self.conn.cursor() as cur:
                cur.execute(step["sql"])
                table = cur.fetch_arrow_table()
        except self.error as e:
            raise Refused(code_of(e.vendor_code), e.sqlstate or "", str(e)) from e
        columns = [{"name": f.name, "type": str(f.type)} for f in table.schema]
        return columns, [list(row.values()) for row in table.to_pylist()]

    def close(self):
        self.conn.close()


class Snow:
    """The snow command: one process per statement."""

    packages = ["snowflake-cli", "snowflake-connector-python"]

    def query(self, step):
        snow = os.path.join(os.path.dirname(sys.executable), "snow")
        done = subprocess.run([snow, "sql", "--format", "json", "-q", step["sql"]], capture_output=True, text=True)
        if done.returncode:
            # The message comes in a box, wrapped.
            said = " ".join(line.strip("│╭╮╰╯─ ") for line in done.stderr.splitlines())
            found = re.search(r"\b(\d{6}) \((\w{5})\)", said)
            raise Refused(*(found.groups() if found else ("", "")), said)
        rows = json.loads(done.stdout)
        columns = [{"name": n, "type": ""} for n in rows[0]] if rows else []
        return columns, [list(row.values()) for row in rows]

    def close(self):
        pass


class Dbt:
    """dbt's own runner on a copy of the project beside this file. A SELECT is
    shown; the step "build" builds the project, one row per node."""

    packages = ["dbt-core", "dbt-snowflake", "snowflake-connector-python"]

    def __init__(self):
        from dbt.cli.main import dbtRunner

        self.dir = tempfile.mkdtemp()
        project = os.path.join(self.dir, "project")
        shutil.copytree(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dbt"), project)
        self.options = ["--project-dir", project, "--quiet"]
        if "DBT_PROFILES_DIR" not in os.environ:
            c = connection()
            output = {k: c[k] for k in ("account", "user", "password", "host", "protocol", "database", "schema", "warehouse")}
            output |= {"type": "snowflake", "port": int(c["port"]), "threads": 4}
            with open(os.path.join(self.dir, "profiles.yml"), "w") as f:
                json.dump({"shop": {"target": "dev", "outputs": {"dev": output}}}, f)  # JSON is YAML
            self.options += ["--profiles-dir", self.dir]
        self.runner = dbtRunner()

    def query(self, step):
        build = step["sql"] == "build"
        command = ["build"] if build else ["show", "--limit", "-1", "--inline", step["sql"]]
        done = self.runner.invoke(["--no-send-anonymous-usage-stats", *command, *self.options])
        results = done.result.results if done.result else []
        if not done.success:
            said = str(done.exception or " ".join(r.message or "" for r in results))
            found = re.search(r"\b(\d{6}) \((\w{5})\)", said)
            raise Refused(*(found.groups() if found else ("", "")), said)
        if build:
            return [], [[r.node.name, str(r.status)] for r in results]
        table = results[0].agate_table
        return [{"name": n, "type": type(t).__name__} for n, t in zip(table.column_names, table.column_types)], [list(r) for r in table.rows]

    def close(self):
        shutil.rmtree(self.dir)


def is_query(step):
    return step["sql"].lower().startswith("select")


def sqlstate_in(message):
    found = re.search(r"\(\s*(\w{5})\s*\)", message)
    return found.group(1) if found else ""


def main():
    kind = {"sqlalchemy": SQLAlchemy, "snowpark": Snowpark, "pandas": Pandas, "adbc": ADBC, "snow": Snow, "dbt": Dbt}[sys.argv[1]]
    print(json.dumps({"about": ", ".join(f"{p} {importlib.metadata.version(p)}" for p in kind.packages)}), flush=True)
    client = kind()
    with open(sys.argv[2]) as f:
        steps = json.load(f)
    for i, step in enumerate(steps):
        began = time.monotonic()
        line = {"step": i, "sql": step["sql"], "columns": None, "rows": None, "error": None}
        try:
            line["columns"], rows = client.query(step)
            line["rows"] = [[text(v) for v in row] for row in rows]
        except Refused as e:
            line["error"] = {"code": e.code, "sqlstate": e.sqlstate, "message": e.message}
        line["ms"] = round((time.monotonic() - began) * 1000)
        print(json.dumps(line, ensure_ascii=False), flush=True)
    client.close()


if __name__ == "__main__":
    main()
