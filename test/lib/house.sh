# Sourced by test/run and examples/demo: gets from a checkout to a private,
# relocated PostgreSQL with notify_pg installed in it.
#
# A server refuses to run as root, and the checkout may be unreadable for
# anyone else. So as root the checkout is mirrored to a directory that belongs
# to user postgres, and the caller starts again there as that user; from then
# on root and an ordinary user walk the same path. PostgreSQL's programs find
# lib/ and share/ relative to themselves, so a tree of copied programs and
# linked files is an installation of its own: nothing is written to the
# system's, and no two checkouts meet.
#
# The caller has cd'ed to the top of the checkout.

say()
{
	printf '%s\n' "$*"
}

# Copies the sources to $mirror. Objects there stay, so builds are incremental.
mirror_sources()
{
	find "$mirror" -mindepth 1 -maxdepth 1 ! -name build ! -name src -exec rm -rf {} +
	[ ! -d "$mirror/src" ] || find "$mirror/src" -name '*.[ch]' -delete
	tar --exclude=./.git --exclude=./build --exclude='*.[od]' --exclude='*.so' \
		--exclude='./notify_pg--*.sql*' -cf - . | tar -C "$mirror" --no-same-owner -xf -
	chown -R postgres: "$mirror"
}

# What is measured gets a CPU control group, as a service or a container has: in
# the root's, Linux may divide the CPU among sessions first, and nice values mean
# little (docs/operations.md, CPU). It stays behind, empty. With version 2 of
# control groups systemd has made one; where none can be made it goes on without.
leave_root_cpu()
{
	local group=/sys/fs/cgroup/cpu/notify_bench

	if grep -qE '^[0-9]+:cpu(,cpuacct)?:/$' /proc/self/cgroup; then
		{ mkdir -p $group && echo $$ >$group/cgroup.procs; } 2>/dev/null || :
	fi
}

# enter SCRIPT ARG...: as root, becomes SCRIPT run in the mirror by postgres; as
# anyone else goes on.
enter()
{
	test/lib/deps
	if [ "$(id -u)" != 0 ]; then
		trap 'leave $?' EXIT
		return
	fi
	umask 022
	mkdir -p build/work
	chown --reference=. build
	mirror=$PWD/build/work
	if ! setpriv --reuid=postgres --regid=postgres --init-groups test -x "$mirror"; then
		mirror=$(mktemp -d /tmp/notify_pg.XXXXXX)
		export NOTIFY_TEMP_MIRROR=$mirror
	fi
	mirror_sources
	cd "$mirror"
	[ "${BENCH:-}" != full ] || leave_root_cpu
	exec setpriv --reuid=postgres --regid=postgres --init-groups \
		env HOME="$mirror" USER=postgres LOGNAME=postgres "$@"
}

# leave STATUS: exits; removes a mirror that lies outside the checkout, unless
# something failed and its logs are worth reading.
leave()
{
	if [ -n "${NOTIFY_TEMP_MIRROR:-}" ]; then
		if [ "$1" = 0 ]; then
			rm -rf "$NOTIFY_TEMP_MIRROR"
		else
			say "logs: $NOTIFY_TEMP_MIRROR/build" >&2
		fi
	fi
	exit "$1"
}

# Makes or refreshes the private PostgreSQL in build/pg; sets PATH, PG_CONFIG,
# $bindir and $pg_test, the directory of PostgreSQL's own test programs.
private_tree()
{
	local config tree dir
	config=${PG_CONFIG:-/usr/lib/postgresql/$(test/lib/pg_major || :)/bin/pg_config}
	[ -x "$config" ] || config=pg_config
	tree=$PWD/build/pg
	bindir=$tree$("$config" --bindir)
	if ! cmp -s "$("$config" --bindir)/postgres" "$bindir/postgres"; then
		rm -rf "$tree"
		mkdir -p "$bindir"
		cp -a "$("$config" --bindir)/." "$bindir"
		for dir in "$("$config" --includedir)" "$("$config" --libdir)"; do
			mkdir -p "$tree$(dirname "$dir")"
			[ -e "$tree$dir" ] || ln -s "$dir" "$tree$dir"
		done
	fi
	for dir in "$("$config" --pkglibdir)" "$("$config" --sharedir)"; do
		mkdir -p "$tree$dir"
		(cd "$dir" && find . -type d -exec mkdir -p "$tree$dir/{}" \;)
		cp -asn "$dir/." "$tree$dir"
	done
	# A copy installed in the system must not shine through.
	find "$tree" -type l -name 'notify_pg*' -delete
	PG_CONFIG=$bindir/pg_config
	pg_test=$("$PG_CONFIG" --pkglibdir)/pgxs/src/test
	PATH=$bindir:$PATH
	export PG_CONFIG PATH
	unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGOPTIONS PGSERVICE PGSSLMODE
}

# Builds the checkout and installs it in the private tree; quiet unless it fails.
build()
{
	mkdir -p build
	private_tree
	# What the outer make was told, except CC, is its own business.
	unset MAKEFLAGS MFLAGS MAKELEVEL
	if ! make -j2 all unit bench-tools install ${CC:+CC="$CC"} >build/make.log 2>&1; then
		cat build/make.log >&2
		say "notify_pg: the build failed" >&2
		return 1
	fi
}
