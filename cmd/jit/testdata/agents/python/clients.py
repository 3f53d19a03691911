"""Clients built on Snowflake's Python and Go drivers, for the end-to-end suite:
SQLAlchemy, Snowpark, pandas, ADBC, the snow command line and dbt, none of which
knows of jit.

Each connects as its documentation says, by the connection named "default", and
runs the steps it is given, one JSON line of outcome each. Steps and lines are
those of goagent; a first line says which versions are at work.

Usage: clients.py CLIENT STEPS.json
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from steps import Refused, bulk_rows, code_of, connection, interrupt, is_query, run, when_there


def class_of(e):
    return type(e).__module__ + "." + type(e).__name__


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
        if step.get("cancel_file"):
            when_there(step["cancel_file"], interrupt)
        try:
            with self.engine.begin() as conn:
                if step.get("bulk"):
                    conn.execute(self.text(step["sql"]), [{"id": i, "note": n} for i, n in bulk_rows(step)])
                    return [], []
                result = conn.execute(self.text(step["sql"]))
                columns = [{"name": d[0], "type": repr(tuple(d[1:])) if step.get("exact") else str(d[1])} for d in result.cursor.description or []]
                return columns, [list(row) for row in result] if result.returns_rows else []
        except self.error as e:
            raise Refused(class_of(e) + "/" + class_of(e.orig), code_of(getattr(e.orig, "errno", None)), getattr(e.orig, "sqlstate", "") or "", str(e.orig)) from e

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
        if step.get("cancel_file"):
            when_there(step["cancel_file"], interrupt)
        try:
            frame = self.session.sql(step["sql"])
            if step.get("async"):
                rows = frame.collect_nowait().result()
            else:
                rows = frame.collect()
            columns = [{"name": f.name, "type": str(f.datatype)} for f in frame.schema.fields] if is_query(step) else []
            return columns, [list(row) for row in rows]
        except self.error as e:
            raise Refused(class_of(e), code_of(e.sql_error_code), sqlstate_in(e.message), e.message) from e

    def close(self):
        self.session.close()


class Pandas:
    packages = ["pandas", "pyarrow", "snowflake-connector-python"]

    def __init__(self):
        import snowflake.connector

        self.error = snowflake.connector.errors.Error
        self.conn = snowflake.connector.connect(connection_name="default")

    def query(self, step):
        if step.get("cancel_file"):
            when_there(step["cancel_file"], interrupt)
        try:
            cur = self.conn.cursor()
            if step.get("async"):
                cur.get_results_from_sfqid(cur.execute_async(step["sql"])["queryId"])
            else:
                cur.execute(step["sql"])
            if not is_query(step):
                return [], []
            frame = cur.fetch_pandas_all()
            columns = [{"name": n, "type": str(t)} for n, t in frame.dtypes.items()]
            return columns, [list(row) for row in frame.itertuples(index=False)]
        except self.error as e:
            raise Refused(class_of(e), code_of(e.errno), e.sqlstate or "", e.msg or str(e)) from e

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
                if step.get("cancel_file"):
                    when_there(step["cancel_file"], cur.adbc_cancel)
                if step.get("bulk"):
                    cur.executemany(step["sql"], bulk_rows(step))
                    return [], []
                cur.execute(step["sql"])
                table = cur.fetch_arrow_table()
        except self.error as e:
            raise Refused(class_of(e), code_of(e.vendor_code), e.sqlstate or "", str(e)) from e
        columns = [{"name": f.name, "type": f"{f.type} {f.nullable} {f.metadata}" if step.get("exact") else str(f.type)} for f in table.schema]
        return columns, zip(*(cells(c) for c in table.columns))

    def close(self):
        self.conn.close()


def cells(column):
    """An Arrow column's cells. Python has no dates as far away as Arrow."""
    try:
        return column.to_pylist()
    except (OverflowError, ValueError):
        return column.cast("string").to_pylist()


class Snow:
    """The snow command: one process per statement."""

    packages = ["snowflake-cli", "snowflake-connector-python"]

    def query(self, step):
        snow = os.path.join(os.path.dirname(sys.executable), "snow")
        process = subprocess.Popen([snow, "sql", "--format", "json", "-q", step["sql"]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if step.get("cancel_file"):
            when_there(step["cancel_file"], lambda: process.send_signal(signal.SIGINT))
        out, err = process.communicate()
        if process.returncode:
            # The message comes in a box, wrapped.
            said = " ".join(line.strip("│╭╮╰╯─ ") for line in err.splitlines())
            found = re.search(r"\b(\d{6}) \((\w{5})\)", said)
            raise Refused("exit %d" % process.returncode, *(found.groups() if found else ("", "")), said)
        rows = json.loads(out)
        if step.get("multi"):
            rows = [row for rows in rows for row in rows]
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
        if step.get("cancel_file"):
            when_there(step["cancel_file"], interrupt)
        done = self.runner.invoke(["--no-send-anonymous-usage-stats", *command, *self.options])
        results = done.result.results if done.result else []
        if not done.success:
            said = str(done.exception or " ".join(r.message or "" for r in results))
            found = re.search(r"\b(\d{6}) \((\w{5})\)", said)
            raise Refused(class_of(done.exception) if done.exception else "result", *(found.groups() if found else ("", "")), said)
        if build:
            return [], [[r.node.name, str(r.status)] for r in results]
        table = results[0].agate_table
        return [{"name": n, "type": type(t).__name__} for n, t in zip(table.column_names, table.column_types)], [list(r) for r in table.rows]

    def close(self):
        shutil.rmtree(self.dir)


def sqlstate_in(message):
    found = re.search(r"\(\s*(\w{5})\s*\)", message)
    return found.group(1) if found else ""


CLIENTS = {"sqlalchemy": SQLAlchemy, "snowpark": Snowpark, "pandas": Pandas, "adbc": ADBC, "snow": Snow, "dbt": Dbt}


if __name__ == "__main__":
    run(CLIENTS[sys.argv[1]](), sys.argv[2])
