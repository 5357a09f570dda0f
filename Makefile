# Sets copool up in a virtual environment of its own and runs it.
#
# The environment lies in .venv/<version of Python> and takes everything but
# Python and a C compiler from the package index. A target is rebuilt when the
# sources have changed.

PYTHONS := python3.15 python3.14 python3.13 python3.12 python3.11 python3
ifndef PYTHON
PYTHON := $(shell for python in $(PYTHONS); do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1 && echo $$python && break; done)
endif
PRINT_VERSION := import sys; print("%d.%d.%d" % sys.version_info[:3] + sys.abiflags)
VERSION := $(if $(PYTHON),$(shell $(PYTHON) -c '$(PRINT_VERSION)' 2>/dev/null))

VENV := .venv/$(VERSION)
BUILD := build/$(VERSION)
COMPAT := build/compat/$(VERSION)
LIBRARIES := build/libraries/$(VERSION)
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PIP := $(RUN) python -m pip --quiet --disable-pip-version-check

SOURCES := meson.build meson.options pyproject.toml README.md \
	$(shell find src benchmarks -type f -not -name '*.pyc' 2>/dev/null)
C_FILES := $(shell find src tests/core benchmarks examples -name '*.[ch]' 2>/dev/null)

# Options of the core's test builds: the plain one and those under a tool.
CORE_plain := -Dcheck=2
CORE_asan := -Dcheck=2 -Db_sanitize=address,undefined -Db_lundef=false
CORE_tsan := -Dcheck=1 -Db_sanitize=thread -Db_lundef=false
CORE_valgrind := -Dcheck=1 -Dvalgrind=true -Dbuildtype=debugoptimized
CORE_aarch64 := -Dcheck=2 --cross-file .ci/aarch64.ini
CORE_musl := -Dcheck=2 --native-file .ci/musl.ini
ENV_asan := ASAN_OPTIONS=detect_stack_use_after_return=1
WRAP_valgrind := --wrap='valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite'

.DEFAULT_GOAL := help
.PHONY: help demo bench bench-serve test lint types docs docs-links clean instructions instructions-gevent \
	claims claims-quick release-check debug debug-quick \
	debug-untimed ci ci-sid sid-system stress stress-debug dropin refusals compat compat-quick \
	libraries libraries-quick stdlib stdlib-quick \
	$(addprefix for-,build test debug compat) $(addprefix test-,together alone core gc dbg jit jit-quick \
	asan tsan valgrind aarch64 musl aarch64-python models wheel wheel-quick scale)

help:
	@echo 'make demo         install copool into .venv and run it on the standard library'
	@echo 'make test         install copool into .venv and run all tests'
	@echo 'make bench        measure copool beside greenlet, generators and threads'
	@echo 'make bench-serve  measure gunicorn, Celery and FastAPI on copool and on greenlet'
	@echo 'make compat       run gevent, SQLAlchemy, Celery and others on copool, and their tests'
	@echo 'make libraries    run fifty libraries, such as numpy and lxml, on its stacks'
	@echo "make stdlib       run CPython's own tests inside of coroutines, greenlets and tasks"
	@echo 'make stress       run random programs on copool for a minute, or SECONDS=3600'
	@echo 'make dropin       run 3,000 random programs on greenlet and on copool, side by side'
	@echo 'make lint         check the style and the types'
	@echo 'make docs         build the site, in build/docs/html'
	@echo 'make claims       ask again whether the figures of the pages hold'
	@echo 'make release-check  build and look at what a release consists of'
	@echo 'make ci           all of it, and more, with every Python found'
	@echo 'make clean        remove what the others made'
	@echo
	@echo 'make test-scale   run the tests that take a million coroutines'
	@echo 'make refusals     refuse memory at every point of every program'
	@echo 'make test-gc      run the tests with a collection at every allocation'
	@echo 'make test-models  go through every interleaving of the lock-free parts'
	@echo 'make test-tsan    test the core under ThreadSanitizer; also test-asan, test-valgrind,'
	@echo '                  test-aarch64, test-musl'
	@echo 'make test-aarch64-python   run the tests of Python on aarch64, emulated'
	@echo 'make test-jit     run the tests with the compiler of CPython, where a build has it'
	@echo 'make test-dbg     run the tests with debug builds of CPython'
	@echo 'make test-wheel   test the package as a user gets it'
	@echo
	@echo 'PYTHON=... chooses the interpreter ($(or $(PYTHON),none found)),'
	@echo "ARGS=... adds options, as in: make demo ARGS=--quick"

demo: $(VENV)/.demo
	@echo "copool: running '$(strip copool demo $(ARGS))' with Python $(VERSION)"
	@$(RUN) copool demo $(ARGS)
	@echo
	@echo 'Next, try:'
	@echo '  $(VENV)/bin/copool bench --quick'
	@echo '  $(VENV)/bin/python examples/merge_names.py src/copool/commands/demo/*.py'
	@echo '  make test'

bench: $(VENV)/.demo
	@echo "copool: running '$(strip copool bench $(ARGS))' with Python $(VERSION)"
	@$(RUN) copool bench $(ARGS)

# With wrk and redis-server, which are Debian's packages; ARGS='--check --markdown
# docs/benchmarks.md' records it.
bench-serve: $(VENV)/.test
	@echo "copool: running '$(strip copool bench --serve $(ARGS))' with Python $(VERSION)"
	@$(RUN) copool bench --serve $(ARGS)

# Three processes take a file of tests each, long ones first: many tests wait for
# programs that they start. After them comes what must be alone. With options, as of one
# file, it is one process for all. A process that has crashed is not replaced: the next
# would take the same file, and crash there again.
TOGETHER := -m 'not scale and not alone' -n 3 --dist loadfile \
	--no-loadscope-reorder --max-worker-restart=0
ifdef ARGS
test: $(VENV)/.test test-core
	@echo 'copool: running the tests with Python $(VERSION)'
	@$(RUN) python -m pytest $(ARGS)
else
# Each part says what it took. The core is tested beside the installing, which waits
# for the package index.
test: export PARTS := build/parts-$(VERSION)
test:
	@rm -f $(PARTS)
	@echo for-build PYTHON=$(PYTHON) | .ci/parts 1
	@echo 'copool: installing it and what its tests need, and testing its core'
	@printf '%s PYTHON=$(PYTHON)\n' for-test test-core | .ci/parts 2
	@printf '%s PYTHON=$(PYTHON)\n' test-together test-alone | .ci/parts 1
	@.ci/parts --table
endif
	@echo
	@echo 'Next, try:'
	@echo '  make demo'
	@echo '  make lint'
	@echo '  make test PYTHON=python3.11      (or any other version from 3.11 on)'

test-together: $(VENV)/.test
	@echo 'copool: running the tests with Python $(VERSION)'
	@$(RUN) python -m pytest $(TOGETHER) $(WITHOUT)

test-alone: $(VENV)/.test
	@echo 'copool: running those that have to be alone'
	@$(RUN) python -m pytest -m 'alone and not scale' $(WITHOUT) \
		$$(grep -rl --include='test_*.py' 'mark\.alone' tests)

# The tests of the C core: by themselves, and under each tool.
test-core: test-plain
test-plain test-asan test-tsan test-valgrind test-aarch64 test-musl: test-%: $(VENV)/.build
	@echo 'copool: building and running the tests of the C core ($*)'
	@test -f build/$*/build.ninja || $(RUN) meson setup build/$* -Dtests=true \
		-Dpython=false $(CORE_$*) >build/$*.log || { cat build/$*.log; exit 1; }
	@$(RUN) $(ENV_$*) meson test -C build/$* --print-errorlogs --timeout-multiplier=10 $(WRAP_$*)
	@grep -h '^skip ' build/$*/meson-logs/testlog*.txt | sed 's/^/copool: /' || true

# Python's tests on another machine, emulated.
test-aarch64-python:
	@.ci/aarch64-python build/aarch64-python $(ARGS)

# Every interleaving of the lock-free parts; ARGS=--long for larger models.
test-models:
	@python3 tests/models/check.py build/models $(ARGS)

# The package as a user gets it.
test-wheel:
	@.ci/wheel $(PYTHON) build/wheel $(ARGS)

# Whether what the pages say still holds: docs/claims.toml has what each of it rests on.
# ARGS=README.md is about that page only.
claims claims-quick: $(VENV)/.test
	@$(RUN) python tests/claims $(if $(filter %-quick,$@),--quick) $(ARGS)

# What is looked at before a release: .ci/release.py has the list. ARGS=--final is for
# the release itself; what else is in ARGS goes to pytest.
release-check: $(VENV)/.empty
	@$(PYTHON) .ci/release.py build/release $(ARGS)

# A million coroutines, ten thousand threads: gigabytes and minutes.
test-scale: $(VENV)/.test test-core
	@echo 'copool: testing a million coroutines with Python $(VERSION)'
	@SCALE_THREADS=10000 build/plain/tests/core/test_threads \
		crowds_of_threads_reuse_what_dead_ones_left
	@$(RUN) python -m pytest -m scale --durations=0 $(ARGS)

# Once more with an allocator that poisons memory, and with assertions on; without what
# is about times and what starts programs for minutes.
AS_FAST := copool/commands/bench/test_bench.py copool/commands/demo tools/test_stress.py \
	tools/test_dropin.py
debug: $(VENV)-debug/.copool
	@echo 'copool: running the tests with assertions and a debug allocator, Python $(VERSION)'
	@$(RUN) PYTHONPATH=$(CURDIR)/$(VENV)-debug/site PYTHONMALLOC=debug \
		python -X dev -m pytest $(AS_FAST:%=--ignore=tests/%) $(ARGS)

# Random programs, for a set time: new ones each time, or from a seed as in
# ARGS='--seed 7'; stress-debug is with assertions and a debug allocator.
SECONDS := 60
stress: $(VENV)/.test
	@$(RUN) python tests/stress --seconds $(SECONDS) $(ARGS)

stress-debug: $(VENV)-debug/.copool
	@$(RUN) PYTHONPATH=$(CURDIR)/$(VENV)-debug/site \
		python -X dev tests/stress --seconds $(SECONDS) --malloc debug $(ARGS)

# Random programs over greenlet's API, the same ones each time; tests/tools has the
# first few hundred. ARGS='--seed 9000 --count 100' takes others.
dropin: $(VENV)/.test
	@$(RUN) python tests/dropin $(ARGS)

# The same in the builds of CPython that check themselves.
FOUND_DBG = $(foreach version,15 14 13 12 11,$(shell command -v python3.$(version)-dbg))
test-dbg:
	@test '$(FOUND_DBG)' || { echo 'copool: there is no debug build of Python:' \
		'sudo apt install python3-dbg' >&2; exit 1; }
	@set -e; for python in $(FOUND_DBG); do \
		$(MAKE) --no-print-directory debug PYTHON=$$python; \
	done

# With CPython's own compiler switched on, if it was built with it.
HAS_JIT = $(RUN) python -c 'import sys; sys.exit(not sys._jit.is_available())' 2>/dev/null
test-jit: $(VENV)/.test
	@if $(HAS_JIT); then \
		echo 'copool: running the tests with the compiler of Python $(VERSION)'; \
		$(RUN) PYTHON_JIT=1 python -m pytest $(ARGS); \
	else \
		echo 'copool: Python $(VERSION) has no compiler'; \
	fi

# Memory and system calls that are refused, at every point of every program.
refusals: $(VENV)/.test
	@$(RUN) COPOOL_EVERY_REFUSAL=1 python -m pytest tests/binding/process/test_refusals.py $(ARGS)

# Other projects' tests and servers, in an environment of their own.
compat compat-quick: $(COMPAT)/.copool
	@echo 'copool: running other projects on it and on greenlet, with Python $(VERSION)'
	@$(COMPAT)/bin/python tests/compat $(if $(filter %-quick,$@),--quick) $(ARGS)

# Libraries that nobody here wrote, on its stacks, each in an environment of their own:
# ARGS=--write puts the results into docs/libraries.md, ARGS='numpy lxml' picks some.
libraries: $(LIBRARIES)/.copool
libraries-quick: $(LIBRARIES)-quick/.copool
libraries libraries-quick:
	@echo 'copool: running libraries on its stacks, with Python $(VERSION)'
	@$(<D)/bin/python tests/libraries $(if $(filter %-quick,$@),--quick) $(ARGS)

# CPython's own tests in coroutines; ARGS="test_ast test_json" runs those only.
stdlib stdlib-quick: $(VENV)/.demo
	@echo "copool: running CPython's own tests inside of coroutines, with Python $(VERSION)"
	@$(RUN) python tests/stdlib $(if $(filter %-quick,$@),--quick) $(ARGS)

# With the garbage collector at every allocation, which what recursion's room is about
# does without.
test-gc: $(VENV)/.test
	@echo 'copool: running the tests with a collection at every allocation, Python $(VERSION)'
	@$(RUN) python -m pytest --collect-always \
		--ignore=tests/binding/strand/test_room.py $(or $(ARGS),$(QUICK))

instructions: $(VENV)/.test
	@echo 'copool: counting instructions with Python $(VERSION)'
	@$(RUN) python benchmarks/instructions/count.py $(or $(ARGS),--check)

# Whose they are in programs of gevent, on greenlet and on copool.
instructions-gevent: $(VENV)/.test
	@echo "copool: counting gevent's instructions with Python $(VERSION)"
	@$(RUN) python benchmarks/instructions/dropin.py $(ARGS)

# Every interpreter that works, by its path.
FOUND = $(shell for python in $(PYTHONS) $$HOME/.pyenv/versions/3.1[1-5].*/bin/python; do \
	$$python -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 16) and \
		print("%d.%d" % v[:2], sys.executable)' 2>/dev/null; done \
	| sort -u -k1,1 | cut -d' ' -f2)

# Every test with the newest of them; with the others all but those of programs
# around the library, which are a third of the time. Their processes are looked at
# by the newest.
AROUND := copool/commands/bench copool/commands/demo examples tools/test_stress.py
TEST_FOUND = $(foreach python,$(OLDER),"test PYTHON=$(python) \
	WITHOUT='$(AROUND:%=--ignore=tests/%)'") \
	"test $(NEWEST) COPOOL_OTHER_PYTHONS='$(foreach python,$(OLDER), \
	$(CURDIR)/.venv/$(shell $(python) -c '$(PRINT_VERSION)')/bin/python)'"

# The system's own, if it is none of them: what a reader of the README has.
OWN = $(filter-out $(FOUND),$(shell readlink -f /usr/bin/python3))

# What ci does, as far as it measures no time, goes two at a time and the longest
# first: see .ci/parts, which says at the end how long each took. For the oldest
# interpreter its debug build is enough.
NEWEST = PYTHON=$(lastword $(FOUND))
OLDER = $(filter-out $(lastword $(FOUND)),$(FOUND))
NEWER = $(wordlist 2,9,$(FOUND))
BETWEEN = $(filter-out $(lastword $(FOUND)),$(NEWER))
ci:
	@rm -f build/parts
	@printf '%s\n' $(ALSO) 'lint PYTHON=$(firstword $(FOUND))' test-models \
		$(FOUND_DBG:%='for-debug PYTHON=%') \
		test-aarch64-python test-valgrind test-tsan test-asan test-aarch64 \
		test-musl $(NEWER:%='for-debug PYTHON=%') | .ci/parts 2
	@printf '%s\n' $(OWN:%='test PYTHON=%') $(TEST_FOUND) | .ci/parts 1
	@printf '%s\n' 'debug-untimed $(NEWEST)' $(FOUND_DBG:%='debug-quick PYTHON=%') \
		$(BETWEEN:%='debug-quick PYTHON=%') 'for-compat $(NEWEST)' \
		'test-gc $(NEWEST)' 'test-wheel-quick $(NEWEST)' 'libraries-quick $(NEWEST)' \
		'stdlib-quick $(NEWEST) ARGS=--jobs=1' 'docs $(NEWEST)' \
		$(FOUND:%='instructions PYTHON=%') $(FOUND:%='stress SECONDS=20 PYTHON=%') \
		$(NEWER:%='stress-debug SECONDS=30 PYTHON=%') | .ci/parts 2
	@printf '%s\n' 'compat-quick $(NEWEST)' 'claims-quick $(NEWEST)' | .ci/parts 1
	@.ci/parts --table

# The part of it for the interpreters of another system: see .ci/sid. The system
# itself can be made beside the first parts of ci: with ALSO=sid-system.
sid-system:
	@.ci/sid build/sid

ci-sid:
	@rm -f build/parts
	@printf '%s\n' $(FOUND_DBG:%='for-debug PYTHON=%') $(FOUND:%='for-test PYTHON=%') \
		| .ci/parts 2
	@printf '%s\n' $(TEST_FOUND) | .ci/parts 1
	@printf '%s\n' $(FOUND_DBG:%='debug-quick PYTHON=%') 'for-compat $(NEWEST)' \
		'test-jit-quick $(NEWEST)' 'stdlib-quick $(NEWEST) ARGS=--jobs=1' \
		$(FOUND:%='instructions PYTHON=%') | .ci/parts 2
	@echo 'compat-quick $(NEWEST) ARGS="abi asyncio greenlet greenback celery neighbours"' \
		| .ci/parts 1
	@.ci/parts --table

for-build: $(VENV)/.build
for-test: $(VENV)/.test
for-debug: $(VENV)-debug/.copool
for-compat: $(COMPAT)/.copool

# What the extension module does. Chains, threads and the end are what assertions and
# debug builds are for.
MODULE := tests/binding tests/copool/aio/test_aio_loop.py
QUICK = $(MODULE) -m 'not scale and not isolated'
debug-quick: ARGS = $(MODULE) -m 'not scale and (asserted or not isolated)'
debug-untimed: ARGS = $(MODULE) tests/copool/aio/test_asyncio_tools.py \
	tests/copool/commands/gdb tests/copool/commands/outside tests/docs/test_debugging_page.py \
	--ignore=tests/binding/process/test_interpreters.py \
	--ignore=tests/binding/process/test_scale.py
test-jit-quick test-wheel-quick: ARGS = $(QUICK)
debug-quick debug-untimed: debug
test-jit-quick test-wheel-quick: test-%-quick: test-%

lint: types
	@echo 'copool: checking the style'
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) clang-format --dry-run -Werror $(C_FILES)

types: $(VENV)/.lint
	@echo 'copool: checking the types'
	@$(RUN) mypy --strict

# What is wrong in a page, such as a link that leads nowhere or a public name that is
# not described whole, fails it. docs-links follows the links to other sites, too.
SPHINX = $(RUN) python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --fresh-env \
	--doctree-dir build/docs/doctrees
docs: $(VENV)/.docs
	@echo 'copool: building the site, with Python $(VERSION)'
	@$(SPHINX) --builder html $(ARGS) docs build/docs/html
	@$(SPHINX) --builder linkcheck $(ARGS) docs build/docs/links
	@echo 'copool: built build/docs/html/index.html'

docs-links: $(VENV)/.docs
	@EVERY_LINK=1 $(SPHINX) --builder linkcheck $(ARGS) docs build/docs/links

clean:
	@echo 'copool: removing .venv and build'
	@rm -rf .venv build

# The environment in steps: empty; with what builds copool; with it and what the
# demo and the benchmark need; with what tests it; with what checks the style.

$(VENV)/.empty:
	@$(CHECK_PYTHON) || { echo 'copool needs Python 3.11 or later:' \
		'sudo apt install python3, or name one with PYTHON=...' >&2; exit 1; }
	@missing=; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="python3-venv"; \
	$(PYTHON) -c '$(OPEN_PYTHON_H)' 2>/dev/null || missing="$$missing python3-dev"; \
	$(CC) --version >/dev/null 2>&1 || missing="$$missing gcc"; \
	test -z "$$missing" || { echo 'copool cannot be built before this:' \
		"sudo apt install $$missing" >&2; exit 1; }
	@echo 'copool: making a virtual environment in $(VENV)'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

CHECK_PYTHON = $(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
OPEN_PYTHON_H = import sysconfig; open(sysconfig.get_path("include") + "/Python.h")

$(VENV)/.build: $(VENV)/.empty pyproject.toml
	@echo 'copool: installing the tools to build with'
	@$(RUN) python -c '$(PRINT_BUILD_REQUIRES)' >$(VENV)/build-requires.txt
	@$(PIP) install -r $(VENV)/build-requires.txt
	@touch $@

PRINT_BUILD_REQUIRES = import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

$(VENV)/.demo: $(VENV)/.build $(SOURCES)
	@echo 'copool: compiling and installing it, with what the demo needs'
	@mkdir -p $(BUILD)
	@$(PIP) install --no-build-isolation --config-settings=build-dir=$(BUILD) '.[bench,demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo 'copool: installing the tools to test with'
	@$(PIP) install 'copool[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@echo 'copool: installing the tools to check with'
	@$(PIP) install 'copool[lint]'
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	@$(RUN) python -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo 'copool: the site needs Python 3.12 or later to build' >&2; exit 1; }
	@echo 'copool: installing the tools to build the site with'
	@$(PIP) install 'copool[docs]'
	@touch $@

# Beside it, the same with assertions.
$(VENV)-debug/.copool: $(VENV)/.test
	@echo 'copool: compiling it with assertions'
	@mkdir -p $(BUILD)-debug
	@$(PIP) install --no-build-isolation --no-deps --force-reinstall \
		--target $(VENV)-debug/site --upgrade \
		--config-settings=build-dir=$(BUILD)-debug \
		--config-settings=setup-args=-Dcheck=2 .
	@touch $@

$(COMPAT)/.programs: tests/compat/requirements.txt $(VENV)/.empty
	@echo 'copool: installing the programs that must run on it in $(COMPAT)'
	@rm -rf $(COMPAT)
	@$(PYTHON) -m venv $(COMPAT)
	@$(COMPAT)/bin/python -m pip --quiet --disable-pip-version-check install -r $<
	@touch $@

$(COMPAT)/.copool: $(COMPAT)/.programs $(VENV)/.build $(SOURCES)
	@echo 'copool: compiling and installing it for them'
	@rm -rf $(COMPAT)/wheel
	@mkdir -p $(BUILD)
	@$(PIP) wheel --no-build-isolation --no-deps --wheel-dir $(COMPAT)/wheel \
		--config-settings=build-dir=$(BUILD) .
	@$(COMPAT)/bin/python -m pip --quiet --disable-pip-version-check install \
		--no-deps --force-reinstall $(COMPAT)/wheel/*.whl
	@touch $@

WANTED := tests/libraries/requirements
$(LIBRARIES)/.libraries: $(WANTED).txt $(WANTED)-quick.txt $(VENV)/.empty
$(LIBRARIES)-quick/.libraries: $(WANTED)-quick.txt $(VENV)/.empty
$(LIBRARIES)/.libraries $(LIBRARIES)-quick/.libraries:
	@echo 'copool: installing the libraries that must run on it in $(@D)'
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --quiet --disable-pip-version-check install \
		--no-deps --prefer-binary -r $<
	@touch $@

# It may be compiled while something else does that: the folder is its own.
$(LIBRARIES)/.copool: $(LIBRARIES)/.libraries $(VENV)/.build $(SOURCES)
$(LIBRARIES)-quick/.copool: $(LIBRARIES)-quick/.libraries $(VENV)/.build $(SOURCES)
$(LIBRARIES)/.copool $(LIBRARIES)-quick/.copool:
	@echo 'copool: compiling and installing it for them'
	@rm -rf $(@D)/wheel
	@mkdir -p $(@D)/build
	@$(PIP) wheel --no-build-isolation --no-deps --wheel-dir $(@D)/wheel \
		--config-settings=build-dir=$(@D)/build .
	@$(@D)/bin/python -m pip --quiet --disable-pip-version-check install \
		--no-deps --force-reinstall $(@D)/wheel/*.whl
	@touch $@
