"""Facts that hold the house together: what dvc.yaml, params.yaml, the README and the code say of each other."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from benchmarks.readme import replace_results
from pipeline.checks import CHECKS, Check
from pipeline.cli import app
from pipeline.columns import Columns
from pipeline.comparison import render_results
from pipeline.scratch import CODE

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
README = (ROOT / "README.md").read_text()


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_closure(module: str) -> set[str]:
    """The files of ours that importing a module brings in."""
    found: set[str] = set()
    todo = [module]
    while todo:
        parts = todo.pop().split(".")
        if parts[0] != "pipeline":
            continue
        file = ROOT.joinpath(*parts).with_suffix(".py")
        path = file if file.exists() else ROOT.joinpath(*parts, "__init__.py")
        name = path.relative_to(ROOT).as_posix()
        if not path.exists() or name in found:
            continue
        found.add(name)
        todo += [".".join(parts[:i]) for i in range(1, len(parts))]
        todo += imported(path)
    return found


def functions_of_params(path: Path) -> Iterator[ast.AST]:
    """The functions of a file that take the whole of params.yaml."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and any(
            arg.arg == "params" and isinstance(arg.annotation, ast.Name) and arg.annotation.id == "Params"
            for arg in [*node.args.args, *node.args.kwonlyargs]
        ):
            yield node


def sections_read(stage: str) -> set[str]:
    """The keys of params.yaml that a stage's file reads, and those read by what it hands all of them to."""
    file = ROOT / "pipeline" / "stages" / f"{stage}.py"
    trees: list[ast.AST] = [ast.parse(file.read_text())]
    for path in import_closure(f"pipeline.stages.{stage}"):
        trees += functions_of_params(ROOT / path)
    return set().union(*map(chains_of_params, trees))


def chains_of_params(tree: ast.AST) -> set[str]:
    """What is read of a variable `params`, as dotted paths."""
    chains = set()
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            names, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                names.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id == "params":
                chains.add(".".join(reversed(names)))
    return {chain for chain in chains if not chain.startswith(("tune.model_dump", "train.model_dump"))}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_very_modules_it_imports(stage: str) -> None:
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/")}
    assert listed == import_closure(f"pipeline.stages.{stage}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_the_params_it_depends_on(stage: str) -> None:
    listed = {re.sub(r"\.\$\{.*", "", key) for key in STAGES[stage]["params"]}
    for chain in sections_read(stage):
        whole_or_part = [key for key in listed if chain == key or chain.startswith(f"{key}.") or key.startswith(chain)]
        # How many train side by side changes no result.
        assert whole_or_part or chain == "train.parallel", f"{stage} reads {chain}"


@pytest.mark.parametrize("stage", ["train", "train_view", "baselines"])
def test_a_stage_that_describes_columns_depends_on_all_that_they_are_made_of(stage: str) -> None:
    made_of = set(re.findall(r"\bdata\.(\w+)", inspect.getsource(Columns.from_params)))
    assert "format" in made_of
    assert {f"data.{name}" for name in made_of} <= set(STAGES[stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_only_what_trains_or_tunes_loads_tensorflow(stage: str) -> None:
    closure = import_closure(f"pipeline.stages.{stage}")
    with_tensorflow = {"pipeline/network.py", "pipeline/training.py"} & closure
    assert bool(with_tensorflow) == (stage in {"tune", "train", "train_view", "final", "export"})


def test_importing_any_stage_loads_no_tensorflow() -> None:
    modules = [f"pipeline.stages.{stage}" for stage in STAGES]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_finished_work_is_kept_by_the_very_modules_it_comes_from() -> None:
    listed = {f"pipeline/{name}.py" for name in CODE}
    assert listed == import_closure("pipeline.worker") - {"pipeline/__init__.py"}


def test_stages_never_import_stages() -> None:
    for path in (ROOT / "pipeline" / "stages").glob("*.py"):
        others = {name for name in imported(path) if name.startswith("pipeline.stages.")}
        assert others <= {"pipeline.stages.run_stage", "pipeline.stages.__init__"}, path.name


def test_modules_import_one_way() -> None:
    files = {path for path in (ROOT / "pipeline").rglob("*.py") if path.name != "__init__.py"}
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    edges = {module: {name for name in imported(path) if name in modules} for module, path in modules.items()}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        return any(
            nxt == goal or (nxt not in seen and not seen.add(nxt) and reaches(nxt, goal, seen))  # type: ignore[func-returns-value]
            for nxt in edges.get(start, ())
        )

    assert [name for name in edges if reaches(name, name, set())] == []


def params_keys(section: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in section.items():
        dotted = f"{path}{name}"
        if dotted.startswith("tune.space."):
            continue
        if isinstance(value, dict):
            yield from params_keys(value, f"{dotted}.")
        else:
            yield dotted


@pytest.mark.parametrize("key", list(params_keys(YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text()))))
def test_every_key_of_params_is_in_the_readme(key: str) -> None:
    assert f"`{key}`" in README


def test_every_check_code_is_in_the_readme() -> None:
    raised = set(CHECKS) | {"context-empty", "value-negative", "future-missing"}
    assert {code for code in raised if f"`{code}`" not in README} == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: str(check.code))
def test_the_readme_says_of_a_check_what_the_code_says(check: Check) -> None:
    assert f"| `{check.code}` | {check.finds} | {check.mend} |" in README


def test_every_code_of_the_servers_own_protocol_is_in_the_readme() -> None:
    foreign = {"oip", "tensors", "tfserving", "timeseries"}  # which show the message alone
    modules = [path for path in (ROOT / "pipeline/server").glob("*.py") if path.stem not in foreign]
    sources = "\n".join(path.read_text() for path in modules)
    raised = {
        *re.findall(r'code="([a-z-]+)"', sources),
        "limit-series",
        "limit-points",
        "path-unknown",
        "request-invalid",
    }
    of_tensors = {"numbers-invalid"}
    assert {code for code in raised - of_tensors if f"`{code}`" not in README} == set()


def committed(path: str) -> str:
    """A file as it is in the last commit, whatever a run has since made of it."""
    run = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip(f"no git checkout with {path}")
    return run.stdout


def test_the_readme_shows_the_committed_results() -> None:
    names = (
        "lstm",
        "lstm-details",
        "gru",
        "gru-details",
        "baselines-details",
        "seasonal_naive",
        "seasonal_drift",
        "ridge",
    )
    table = render_results({name: json.loads(committed(f"models/evaluation/{name}.json")) for name in names})
    readme = committed("README.md")
    assert replace_results(readme, table) == readme


def test_every_command_of_the_readme_exists() -> None:
    text = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL)) + " ".join(re.findall(r"`([^`\n]+)`", README))
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for command in set(re.findall(r"gatecast (\w+) ", text)):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0, result.output
