"""Once installed, copool is the greenlet of this process and of its children."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import copool.greenlet

PACKAGE = Path(copool.greenlet.__file__).parent
INHERIT = PACKAGE / "_inherit"
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}

# In a process that is not told where copool is.
FIND = f"import sys; sys.path.insert(0, {str(PACKAGE.parents[1])!r})\n"
INSTALL = "import copool.greenlet; copool.greenlet.install()\n"
ONLY_STDLIB = (
    "import sys\n"
    "sys.path[:] = [p for p in sys.path if not p.endswith('/site-packages')]\n"
)
# Whose greenlet an import would find. Nothing is imported for that.
WHOSE = (
    "import os\n"
    "from importlib.util import find_spec\n"
    "spec = find_spec('greenlet')\n"
    "folder = spec and os.path.basename(os.path.dirname(spec.origin))\n"
    "print('copool' if folder == '_drop_in' else 'another')\n"
)


def finished(code, *, options=(), executable=sys.executable, cwd=None, env=ENVIRONMENT):
    done = subprocess.run(
        [executable, *options, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=60,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def printed(code, **more):
    status, lines, errors = finished(code, **more)
    assert (status, errors) == (0, "")
    return lines


@pytest.fixture
def another(tmp_path):
    """A folder with another greenlet, whose extension must not be loaded."""
    package = tmp_path / "greenlet"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '0.1'")
    (package / "_greenlet.py").write_text("raise SystemExit('the other _greenlet')")
    (package / "tests" / "__init__.py").write_text("name = 'the tests'")
    return tmp_path


class TestThisProcess:
    def test_nothing_is_imported_before_greenlet_is(self):
        names = printed(INSTALL + "import sys; print(*sys.modules, sep='\\n')")
        names = {name for name in names if name.startswith(("copool", "greenlet"))}
        assert names == {"copool", "copool._activation", "copool.greenlet"}

    def test_it_wins_over_another_one(self, another):
        code = "import greenlet; print(greenlet.__file__, greenlet.__version__)\n"
        assert printed(code, cwd=another)[0].endswith(" 0.1")
        expected = f"{PACKAGE / '_drop_in' / '__init__.py'} 3.5.6"
        assert printed(INSTALL + code, cwd=another) == [expected]

    def test_submodules_come_from_another_one_but_for_the_extension(self, another):
        code = (
            "import greenlet, greenlet.tests\n"
            "from greenlet import _greenlet\n"
            "print(greenlet.tests.name, _greenlet.__file__, *greenlet.__path__)\n"
        )
        ours = PACKAGE / "_drop_in"
        line = f"the tests {ours / '_greenlet.py'} {ours} {another / 'greenlet'}"
        assert printed(INSTALL + code, cwd=another) == [line]

    def test_without_another_one_there_are_no_other_submodules(self):
        code = "import greenlet\nprint(*greenlet.__path__)\nimport greenlet.tests\n"
        status, lines, errors = finished(INSTALL + ONLY_STDLIB + code)
        assert (status, lines) == (1, [str(PACKAGE / "_drop_in")])
        assert "No module named 'greenlet.tests'" in errors

    def test_the_extension_is_ours_wherever_the_package_looks(self, another):
        code = (
            "import greenlet, sys\n"
            "del sys.modules['greenlet._greenlet']\n"
            "greenlet.__path__.reverse()\n"
            "import greenlet._greenlet\n"
            "print(greenlet._greenlet.__file__)\n"
        )
        line = str(PACKAGE / "_drop_in" / "_greenlet.py")
        assert printed(INSTALL + code, cwd=another) == [line]

    def test_a_folder_of_that_name_is_not_another_one(self, tmp_path):
        (tmp_path / "greenlet").mkdir()
        code = ONLY_STDLIB + "import greenlet\nprint(*greenlet.__path__)\n"
        assert printed(INSTALL + code, cwd=tmp_path) == [str(PACKAGE / "_drop_in")]

    def test_the_modules_have_the_names_that_programs_use(self):
        code = (
            "import greenlet\n"
            "exec('from greenlet import *', names := {})\n"
            "print(sorted(set(greenlet.__all__) - set(names)))\n"
            "for module in (greenlet, greenlet._greenlet):\n"
            "    print(*(n for n in vars(module) if not n.startswith('__')))\n"
            "greenlet._greenlet.anything = 1\n"
            "print(greenlet._greenlet.getcurrent is greenlet.getcurrent)\n"
        )
        missing, package, extension, same = printed(INSTALL + code)
        public = {
            "_C_API",
            "GreenletExit",
            "error",
            "getcurrent",
            "greenlet",
            "gettrace",
            "settrace",
            "CLOCKS_PER_SEC",
            "GREENLET_USE_CONTEXT_VARS",
            "GREENLET_USE_GC",
            "GREENLET_USE_TRACING",
            "enable_optional_cleanup",
            "get_clocks_used_doing_optional_cleanup",
        }
        assert (missing, same) == ("[]", "True")
        assert set(package.split()) == public | {"_greenlet"}
        assert set(extension.split()) > public

    def test_greenlets_switch(self):
        code = (
            "from greenlet import getcurrent, greenlet\n"
            "main = getcurrent()\n"
            "g = greenlet(lambda x: main.switch(x + 1) * 10)\n"
            "print(g.switch(1), g.switch(4), g.dead)\n"
        )
        assert printed(INSTALL + code) == ["2 40 True"]

    def test_it_can_be_imported_in_either_order_and_again(self):
        code = (
            "import sys, importlib, greenlet._greenlet\n"
            "from greenlet import greenlet as before\n"
            "importlib.reload(sys.modules['greenlet'])\n"
            "del sys.modules['greenlet'], sys.modules['greenlet._greenlet']\n"
            "from greenlet import greenlet as after\n"
            "print(before is after)\n"
        )
        assert printed(INSTALL + code) == ["True"]

    def test_installing_again_changes_nothing(self):
        code = (
            "import os, sys\n"
            "def state():\n"
            "    return list(sys.meta_path), list(sys.path), dict(os.environ)\n"
            "once = state()\n"
            "import greenlet\n"
            + INSTALL
            + "print(state() == once)\n"
            + "for name in [n for n in sys.modules if n.startswith('copool')]:\n"
            "    del sys.modules[name]\n" + INSTALL + "print(state() == once)\n"
        )
        assert printed(INSTALL + code) == ["True", "True"]

    @pytest.mark.parametrize("module", ["greenlet", "greenlet._greenlet"])
    def test_another_one_in_use_is_an_error_that_changes_nothing(self, another, module):
        (another / "greenlet" / "_greenlet.py").write_text("")
        code = (
            f"import os, sys, {module}\n"
            "import copool.greenlet\n"
            "def state():\n"
            "    return list(sys.meta_path), list(sys.path), dict(os.environ)\n"
            "before = state()\n"
            "try:\n"
            "    copool.greenlet.install()\n"
            "except RuntimeError as error:\n"
            "    print(error)\n"
            "print(state() == before, copool.greenlet.installed())\n"
        )
        message, *rest = printed(code, cwd=another)
        assert str(another / "greenlet" / "__init__.py") in message
        assert "before anything imports greenlet" in message
        assert "copool run" in message
        assert rest == ["True False"]

    def test_installed_tells_whose_it_is(self, another):
        code = (
            "import sys, copool.greenlet\n"
            "from copool.greenlet import install, installed\n"
            "print(installed())\n"
            "install()\n"
            "print(installed())\n"
            "import greenlet\n"
            "print(installed())\n"
            "sys.meta_path.pop(0)\n"
            "del sys.modules['greenlet'], sys.modules['greenlet._greenlet']\n"
            "import greenlet\n"
            "print(installed())\n"
        )
        (another / "greenlet" / "_greenlet.py").write_text("")
        lines = printed(code, cwd=another)
        assert lines == ["False", "True", "True", "False"]

    def test_a_subinterpreter_is_refused(self):
        inside = (
            INSTALL.replace("copool.greenlet.install()", "")
            + "try:\n"
            + "    copool.greenlet.install()\n"
            + "except RuntimeError as error:\n"
            + "    print(error, flush=True)\n"
        )
        code = (
            "try:\n"
            "    import _interpreters as interpreters\n"
            "    run = interpreters.exec\n"
            "except ImportError:\n"
            "    import _xxsubinterpreters as interpreters\n"
            "    run = interpreters.run_string\n"
            "id = interpreters.create()\n"
            f"print(run(id, {inside!r}))\n"
            "interpreters.destroy(id)\n"
        )
        message, result = printed(code)
        assert "main interpreter only" in message
        assert result == "None"

    def test_the_version_that_is_installed_is_told(self, another):
        metadata = another / "greenlet-0.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: greenlet\nVersion: 0.1\n")
        code = (
            "from importlib import metadata\n"
            "print(metadata.version('greenlet'), metadata.version('Greenlet'))\n"
            "print(metadata.distribution('greenlet').metadata['Name'])\n"
            "print(metadata.requires('greenlet'), metadata.files('greenlet'))\n"
            "try:\n"
            "    metadata.version('no-such-thing')\n"
            "except metadata.PackageNotFoundError:\n"
            "    print('not found')\n"
            "found = [d for d in metadata.distributions() if d.name == 'greenlet']\n"
            "print(sorted({d.version for d in found}))\n"
        )
        lines = printed(INSTALL + code, cwd=another)
        assert lines[:-1] == ["3.5.6 3.5.6", "greenlet", "None None", "not found"]
        # A list of what is installed stays true.
        assert "0.1" in lines[-1]

    def test_the_version_is_told_where_none_is_installed(self):
        code = "from importlib import metadata\nprint(metadata.version('greenlet'))\n"
        assert printed(INSTALL + ONLY_STDLIB + code) == ["3.5.6"]

    def test_the_environments_settings_hold(self):
        code = "import greenlet, copool._core; print(copool._core.options()['batch'])"
        environ = ENVIRONMENT | {"COPOOL_BATCH": "5"}
        assert printed(INSTALL + code, env=environ) == ["5"]
        environ = ENVIRONMENT | {"COPOOL_BATCH": "many"}
        status, _, errors = finished(INSTALL + code, env=environ)
        assert status == 1
        assert "COPOOL_BATCH must be a whole number, not 'many'" in errors


def child(code, *options, environ="None", executable="sys.executable"):
    """Code that runs code in a child process."""
    return (
        "import os, subprocess, sys\n"
        f"subprocess.run([{executable}, *{options!r}, '-c', {code!r}], env={environ},"
        " check=True)\n"
    )


def only(variable):
    return f"{{name: os.environ[name] for name in ('HOME', {variable!r})}}"


HANDED_PATH = "{'PYTHONPATH': os.pathsep.join(sys.path)}"


class TestChildren:
    @pytest.mark.parametrize(
        "start",
        [
            child(WHOSE),
            child(WHOSE, "-I"),
            child(WHOSE, environ=only("PYTHONPATH")),
            child(WHOSE, "-I", environ=only("COPOOL_GREENLET")),
            pytest.param(
                child(WHOSE, environ=HANDED_PATH),
                marks=pytest.mark.skipif(
                    find_spec("sitecustomize") is not None,
                    reason="this Python has a sitecustomize, which goes first then",
                ),
            ),
            child(child(WHOSE)),
            child(child(WHOSE, environ=only("PYTHONPATH")), "-I"),
            child(child(WHOSE, "-I"), environ=only("PYTHONPATH")),
        ],
        ids=[
            "plain",
            "isolated",
            "PYTHONPATH alone",
            "isolated, variable alone",
            "path handed over",
            "grandchild",
            "grandchild of an isolated one",
            "isolated grandchild",
        ],
    )
    def test_a_child_process_has_it_too(self, start, another):
        assert printed(INSTALL + start, cwd=another) == ["copool"]

    def test_no_child_has_it_when_none_is_to(self, another):
        code = (
            "import os, sys; before = dict(os.environ), list(sys.path)\n"
            "import copool.greenlet; copool.greenlet.install(children=False)\n"
            "print((dict(os.environ), list(sys.path)) == before)\n" + WHOSE
        )
        lines = printed(code + "sys.stdout.flush()\n" + child(WHOSE), cwd=another)
        assert lines == ["True", "copool", "another"]

    @pytest.mark.parametrize("options", [[], ["--no-children"]])
    @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
    def test_multiprocessing(self, tmp_path, method, options):
        (tmp_path / "program.py").write_text(
            "import multiprocessing\n"
            f"def work():\n    {WHOSE.replace(chr(10), chr(10) + '    ')}\n"
            "if __name__ == '__main__':\n"
            f"    context = multiprocessing.get_context({method!r})\n"
            "    process = context.Process(target=work)\n"
            "    process.start()\n"
            "    process.join()\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "copool", "run", *options, "program.py"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
            timeout=60,
            check=True,
        )
        inherits = method == "fork" or not options
        assert done.stdout == ("copool\n" if inherits else "another\n")

    def test_copool_run_hands_it_on_unless_told_otherwise(self):
        for options, whose in ((), "copool"), (("--no-children",), "another"):
            command = [sys.executable, "-m", "copool", "run", *options, "-c"]
            done = subprocess.run(
                [*command, child(WHOSE)],
                capture_output=True,
                text=True,
                env=ENVIRONMENT,
                timeout=60,
                check=True,
            )
            assert done.stdout == f"{whose}\n"

    def test_the_variable_switches_it_on_from_outside(self):
        environ = ENVIRONMENT | {"COPOOL_GREENLET": "1"}
        assert printed(WHOSE, env=environ) == ["copool"]
        assert printed(child(WHOSE, environ=only("PYTHONPATH")), env=environ) == [
            "copool"
        ]
        environ = ENVIRONMENT | {"COPOOL_GREENLET": "0"}
        assert printed(WHOSE, env=environ) == ["another"]

    def test_a_start_without_the_variable_imports_nothing(self):
        code = "import sys; print([n for n in sys.modules if 'copool' in n])"
        assert printed(code) == ["[]"]

    @pytest.mark.parametrize("variable", ["PYTHONPATH", "COPOOL_GREENLET"])
    def test_a_child_imports_nothing_before_greenlet_is(self, variable):
        code = "import sys; print(*sys.modules, sep='\\n')"
        plain = set(printed(code))
        start = child(code, environ=only(variable))
        new = set(printed(INSTALL + start)) - plain
        assert new == {"copool", "copool._activation"}

    def test_what_was_on_the_path_stays_there(self, tmp_path):
        environ = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}{os.pathsep}/elsewhere"}
        code = "import os; print(os.environ['PYTHONPATH'])"
        start = FIND + INSTALL
        line = os.pathsep.join([str(INHERIT), str(tmp_path), "/elsewhere"])
        assert printed(start + code, env=environ) == [line]
        # The child may have a copool of its own, whose folder then leads.
        (inherited,) = printed(start + child(code), env=environ)
        assert inherited.endswith(line)
        assert inherited.count(str(INHERIT)) == 1

    def test_another_one_in_use_is_told_and_the_child_goes_on(self, tmp_path):
        (tmp_path / "greenlet.py").write_text("")
        code = (
            "import sys\n"
            f"sys.path[:0] = [{str(tmp_path)!r}, {str(INHERIT)!r}]\n"
            "import greenlet, site\n"
            "sys.modules.pop('sitecustomize', None)  # Debian's Python has one\n"
            "site.execsitecustomize()\n"
            "print('goes on')\n"
        )
        status, lines, errors = finished(code)
        assert (status, lines) == (0, ["goes on"])
        assert errors.startswith("copool did not take the place of greenlet: another")
        assert str(tmp_path / "greenlet.py") in errors

    @pytest.mark.skipif(
        sys.prefix == sys.base_prefix, reason="not in a virtual environment"
    )
    def test_a_python_that_has_no_copool_finds_this_one(self):
        start = child(
            "import sys; print(*sys.path, sep='\\n')\n" + WHOSE,
            environ=only("PYTHONPATH"),
            executable="sys._base_executable",
        )
        environ = {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONPATH"}
        *path, whose = printed(FIND + INSTALL + start, env=environ)
        assert whose == "copool"
        # Behind all else that the child finds there.
        assert path[-1] == str(PACKAGE.parents[1])

    def test_a_python_that_the_core_was_not_built_for_is_left_alone(self, tmp_path):
        shutil.copytree(
            PACKAGE.parent,
            tmp_path / "copool",
            ignore=shutil.ignore_patterns("_core*.so", "bench", "demo"),
        )
        folder = tmp_path / "copool" / "greenlet" / "_inherit"
        environ = ENVIRONMENT | {"PYTHONPATH": str(folder)}
        code = "import sys; print([n for n in sys.modules if 'copool' in n])\n"
        assert printed(code + WHOSE, env=environ) == ["[]", "another"]


class TestSitecustomize:
    """The module of that name that is Python's hook for others gets its turn."""

    @pytest.fixture
    def environ(self, tmp_path):
        (tmp_path / "sitecustomize.py").write_text(
            "import sys; sys.path.insert(0, '/put/in'); mine = 'its'\n"
        )
        folders = os.pathsep.join([str(INHERIT), str(tmp_path)])
        return ENVIRONMENT | {"PYTHONPATH": folders}

    def test_one_that_is_hidden_runs(self, environ, tmp_path):
        code = (
            "import sys, sitecustomize\n"
            "print(sitecustomize.mine, sitecustomize.__file__)\n"
            "print('/put/in' in sys.path)\n"
            f"print(sys.path.count({str(INHERIT)!r}))\n"
        )
        assert printed(WHOSE + code, env=environ) == [
            "copool",
            f"its {tmp_path / 'sitecustomize.py'}",
            "True",
            "1",
        ]

    def test_where_there_is_none_importing_it_fails_as_ever(self, tmp_path):
        code = (
            "try:\n"
            "    import sitecustomize\n"
            "except ModuleNotFoundError as error:\n"
            "    print(error, error.name)\n"
        )
        plain = printed(code, options=["-s"])
        if len(plain) == 0:
            pytest.skip("this Python has one")
        assert plain == ["No module named 'sitecustomize' sitecustomize"]
        # In the process that installs, and in a child.
        assert printed(INSTALL + code) == plain
        assert printed(INSTALL + child(code)) == plain

    def test_an_error_in_a_hidden_one_is_told_by_python(self, environ, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("1 / 0")
        status, lines, errors = finished(WHOSE, env=environ)
        assert (status, lines) == (0, ["copool"])
        assert "Error in sitecustomize" in errors
        assert "ZeroDivisionError" in errors

    def test_one_that_the_program_has_is_imported(self, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("mine = 'its'\n")
        code = (
            "import sys\n"
            "sys.modules.pop('sitecustomize', None)  # Debian's Python has one\n"
            "import sitecustomize; print(sitecustomize.mine)\n"
        )
        assert printed(INSTALL + code, cwd=tmp_path) == ["its"]
