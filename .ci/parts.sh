#!/usr/bin/env bash
# Prepares everything the tests run against, in .cache/ (ignored by git):
#
#   .cache/driver    venv: Snowflake's Python driver 5.x, sqlglot
#   .cache/fakesnow  venv: fakesnow (an upstream), Snowflake's Python driver 4.x
#   .cache/node      Snowflake's Node driver, oidc-provider, WireMock
#   .cache/saml      a SAML identity provider
#   .cache/clients   venv: SQLAlchemy, Snowpark, pandas, ADBC
#   .cache/snow      venv: the snow command line
#   .cache/dbt       venv: dbt
#   .cache/jdbc      Snowflake's JDBC driver, and the agent compiled for it
#   .cache/openapi  venv: openapi-spec-validator
#   .cache/ocsf      venv: the published OCSF schemas
#   .cache/helm     Helm, to render the chart with
#   .cache/versitygw an S3 server with object lock
#
# Every part is an exact version. A part that is there already costs nothing:
# a stamp holds the digest of what it was made from. Run it any number of times.
# On Debian or Ubuntu, as root, missing system packages are installed too.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache
mkdir -p "$cache"

say() { printf 'parts: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND PACKAGE: make sure COMMAND exists, from Debian's PACKAGE.
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need go golang
need gcc gcc # the race detector links with it
need python3 python3
need node nodejs
need npm npm
need java default-jre-headless
need javac default-jdk-headless
need mvn maven
need dbus-run-session dbus-daemon
need gnome-keyring-daemon gnome-keyring
need systemd-analyze systemd
need chromium chromium
# PostgreSQL's programs are not on the PATH of Debian.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
command -v python3 >/dev/null 2>&1 && { python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); }
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
      die "apt-get could not install: ${missing[*]}"
  else
    die "missing: ${missing[*]} (names of Debian packages). Install them, then run this again."
  fi
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is $(python3 -V); 3.11 or newer is needed"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || die "node is $(node -v); 20 or newer is needed"
java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || die "java 17 or newer is needed, for WireMock and the JDBC agent"

# retry COMMAND…: package indexes have bad minutes.
retry() {
  local n
  for n in 1 2 3; do
    "$@" && return 0
    say "attempt $n failed: $*"
  done
  return 1
}

# part NAME FILE… -- COMMAND…: run COMMAND unless .cache/NAME was made from the same FILEs.
part() {
  local name=$1 digest; shift
  local files=()
  while [[ $1 != -- ]]; do files+=("$1"); shift; done; shift
  digest=$(cat "${files[@]}" | sha256sum)
  [[ -f $cache/$name/.stamp && $(<"$cache/$name/.stamp") == "$digest" ]] && return 0
  say "preparing $name"
  rm -rf "${cache:?}/$name"
  "$@" || die "could not prepare $name"
  printf '%s' "$digest" >"$cache/$name/.stamp"
}

venv() { # venv NAME REQUIREMENTS
  python3 -m venv "$cache/$1"
  retry "$cache/$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$2"
  "$cache/$1/bin/python" -m pip check --quiet --disable-pip-version-check
}

packages() { # packages NAME FOLDER
  mkdir -p "$cache/$1"
  cp "$2/package.json" "$2/package-lock.json" "$cache/$1/"
  # No install scripts: none of them needs one.
  retry npm --prefix "$cache/$1" ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null
}

jdbc() { # jdbc COORDINATES FOLDER: the driver's jar, and the agent's classes
  local group artifact version
  IFS=: read -r group artifact version <"$1"
  mkdir -p "$cache/jdbc"
  retry mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="$group:$artifact:$version" -DoutputDirectory="$cache/jdbc" -Dmdep.stripVersion=true >&2
  javac -cp "$cache/jdbc/$artifact.jar" -d "$cache/jdbc" "$2/Agent.java"
}

gotool() { # gotool NAME FILE: the program that FILE names as PACKAGE@VERSION
  mkdir -p "$cache/$1/bin"
  GOBIN=$cache/$1/bin GOFLAGS=-trimpath CGO_ENABLED=0 retry go install "$(<"$2")"
}

part driver .ci/requirements-driver.txt -- venv driver .ci/requirements-driver.txt
part fakesnow .ci/requirements-fakesnow.txt -- venv fakesnow .ci/requirements-fakesnow.txt
part node cmd/jit/testdata/node/package.json cmd/jit/testdata/node/package-lock.json -- packages node cmd/jit/testdata/node
part saml session/identity/bridge/testdata/package.json session/identity/bridge/testdata/package-lock.json -- packages saml session/identity/bridge/testdata
part clients .ci/requirements-clients.txt -- venv clients .ci/requirements-clients.txt
part snow .ci/requirements-snow.txt -- venv snow .ci/requirements-snow.txt
part dbt .ci/requirements-dbt.txt -- venv dbt .ci/requirements-dbt.txt
part jdbc .ci/jdbc.txt cmd/jit/testdata/agents/java/Agent.java -- jdbc .ci/jdbc.txt cmd/jit/testdata/agents/java
part openapi .ci/requirements-openapi.txt -- venv openapi .ci/requirements-openapi.txt
part helm .ci/helm.txt -- gotool helm .ci/helm.txt
part versitygw .ci/versitygw.txt -- gotool versitygw .ci/versitygw.txt
part ocsf .ci/requirements-ocsf.txt -- venv ocsf .ci/requirements-ocsf.txt
