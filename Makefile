# notify_pg: build with PGXS.
#
#   make                build                     make test        every suite, against servers of its own
#   make install        into pg_config's dirs     make demo        the shop of examples/orders, end to end
#   make clean          remove what was built     make demo-psql   the same, kept running, with psql
#   make docs           docs/reference.md
#   make bench          how fast it is beside the bare means, for an hour or so; NAME=drain: that one
#   make bench-quick    the same small, in minutes, to see that all of it runs
#   make bench-liquid   Liquid beside LiquidJS (npm)
#   make fuzz           Liquid under libFuzzer for an hour
#
# make test and make demo install missing Debian packages (as root), build,
# and use a private copy of the PostgreSQL installation under build/; they
# never write to the system's own.

EXTENSION = notify_pg
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" notify_pg.control)
MODULE_big = notify_pg
PG_CONFIG ?= pg_config

# The extension's SQL: one file per concept, concatenated in this order.
SQL_ORDER = schema id process instance capture liquid channel event rule partial template \
	recipient people attachment preset provider presets choice message decide plan step budget receipt ready inbox act report grant
SQL_FILES = $(wildcard $(SQL_ORDER:%=sql/%.sql))

# From each release before this one (sql/upgrade/generate says how).
UPGRADED = $(patsubst sql/upgrade/$(EXTENSION)--%.sql,%,$(wildcard sql/upgrade/$(EXTENSION)--*.sql))

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = $(EXTENSION)--$(EXTVERSION).sql $(UPGRADED:%=$(EXTENSION)--%--$(EXTVERSION).sql)
EXTRA_CLEAN = $(OBJS:.o=.d) $(UNIT) $(UNIT:.so=.o) $(UNIT:.so=.d) test/bench/inside.o test/bench/inside.d build

# Test modules that call rooms from inside the server; never installed.
UNIT = $(patsubst %.c,%.so,$(wildcard test/unit/*_test.c))

# What the benchmarks measure with: a module and programs; never installed.
BENCH = build/bench/inside.so \
	$(patsubst test/bench/%.c,build/bench/%,$(filter-out %/inside.c,$(wildcard test/bench/*.c)))

PG_CPPFLAGS = -Isrc
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type -MMD -MP
SHLIB_LINK = -lcurl -lcrypto -licui18n -licuuc

# pg_regress looks in ./sql before test/sql, so no stem may stand in both.
REGRESS = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=.
SAME_STEM = $(filter $(basename $(notdir $(wildcard sql/*.sql))),$(REGRESS))
UNLISTED = $(filter-out $(SQL_ORDER:%=sql/%.sql),$(wildcard sql/*.sql))

# Bitcode for JIT inlining would gain these functions nothing and needs clang.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# PGXS hands clang the flags and headers that PostgreSQL was configured with for gcc.
ifneq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
override CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument \
	-Wno-ignored-attributes
endif
else
# No server headers yet: install them (or say how), then start again.
all install uninstall installcheck:
	$(if $(INSTALLED),$(error $(PG_CONFIG) finds no PGXS; set PG_CONFIG to that of the server to build for))
	@test/lib/deps
	@$(MAKE) --no-print-directory INSTALLED=yes $@
clean:
	rm -rf $(EXTRA_CLEAN) $(OBJS) $(MODULE_big).so $(DATA_built)
.PHONY: all install uninstall installcheck clean
endif

$(EXTENSION)--$(EXTVERSION).sql: $(SQL_FILES) Makefile
	$(if $(UNLISTED),$(error $(UNLISTED) missing from SQL_ORDER in the Makefile))
	for f in $(SQL_FILES); do printf '\n-- %s\n' "$$f"; cat "$$f" || exit 1; done >$@.tmp
	mv $@.tmp $@

$(EXTENSION)--%--$(EXTVERSION).sql: $(SQL_FILES) $(wildcard sql/upgrade/*) Makefile
	sql/upgrade/generate $* $(SQL_FILES) >$@.tmp
	mv $@.tmp $@

# The library knows its release, to tell it from that of the objects in a database.
src/process/release.o: notify_pg.control
src/process/release.o: override CPPFLAGS += -DNOTIFY_RELEASE='"$(EXTVERSION)"'

# Every object depends on its headers (written by -MMD) and on the flags here.
-include $(OBJS:.o=.d) $(UNIT:.so=.d)
$(OBJS) $(UNIT:.so=.o): Makefile

unit: $(UNIT)
test/unit/channel_test.so: test/unit/channel_test.o $(filter src/net/% src/channel/% src/liquid/%,$(OBJS))
	$(CC) $(CFLAGS) -shared -o $@ $^ $(LDFLAGS) $(SHLIB_LINK)

bench-tools: $(BENCH)
build/bench/inside.so: test/bench/inside.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -o $@ $< $(LDFLAGS)
build/bench/%: test/bench/%.c test/bench/clock.h
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -Werror -I$(includedir) -o $@ $< -L$(libdir) -lcurl -lpq

# Liquid outside of a server (test/fuzz). fuzz needs clang and goes on for
# FUZZ_SECONDS; what it finds new is in build/fuzz/corpus, a failing input in build/fuzz.
FUZZ_SECONDS = 3600
FUZZ_SOURCES = $(filter-out src/liquid/sql.c src/liquid/sms.c,$(wildcard src/liquid/*.c)) \
	$(filter-out test/fuzz/replay.c,$(wildcard test/fuzz/*.c))
FUZZ_BUILD = -g -O1 -std=gnu99 -D_GNU_SOURCE -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer -Wno-ignored-attributes -Isrc -Itest/fuzz -I$(includedir_server) \
	-DLIQUID_MAX_OUTPUT=65536 -DLIQUID_MAX_STEPS=5000 -DLIQUID_MAX_MEMORY=262144
FUZZ_LIBS = -L$(pkglibdir) -L$(libdir) -lpgcommon -lpgport -licui18n -licuuc -lcrypto -lm
build/fuzz/replay: $(FUZZ_SOURCES) test/fuzz/replay.c $(wildcard src/liquid/*.h test/fuzz/*.h) Makefile
	@mkdir -p $(@D)
	$(CC) $(FUZZ_BUILD) -o $@ $(filter %.c,$^) $(FUZZ_LIBS)
build/fuzz/liquid: $(FUZZ_SOURCES) $(wildcard src/liquid/*.h test/fuzz/*.h) Makefile
	@mkdir -p $(@D)/corpus
	clang $(FUZZ_BUILD) -fsanitize=fuzzer -o $@ $(filter %.c,$^) $(FUZZ_LIBS)
fuzz: build/fuzz/liquid
	build/fuzz/liquid -max_total_time=$(FUZZ_SECONDS) -dict=test/fuzz/liquid.dict -max_len=4096 -timeout=20 -rss_limit_mb=3000 \
		-artifact_prefix=build/fuzz/ build/fuzz/corpus test/fuzz/corpus

installcheck: check-stems
check-stems:
	$(if $(SAME_STEM),$(error $(SAME_STEM): in both sql/ and test/sql/; rename the test))

test:
	@test/run
# PGXS has a NAME of its own.
bench: ONE = $(if $(filter command,$(origin NAME)),$(NAME))
bench:
	@BENCH=full test/run bench $(ONE)
bench-quick:
	@test/run bench
# Beside LiquidJS, which npm fetches for it.
bench-liquid:
	@BENCH=full test/run bench liquid
demo:
	@examples/demo
demo-psql:
	@examples/demo --psql
# docs/reference.md, from what the objects say of themselves.
docs:
	@docs/generate >docs/reference.md.new && mv docs/reference.md.new docs/reference.md || { rm -f docs/reference.md.new; exit 1; }

.PHONY: unit bench-tools check-stems test bench bench-quick bench-liquid fuzz demo demo-psql docs
