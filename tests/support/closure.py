"""`python -m tests.support.closure` writes into every dvc.yaml the code that each stage depends on.

A stage depends on every file of ours that it imports, directly or not, inside functions too (imports for type
checkers only are left out), and on any other file of the same name beside such a file, such as its template. Where it
imports all of a folder it depends on that folder.

Paths of code in the dvc.yaml of an optional graph begin with UP, for its stages run in their own folder. `family`
stands for a stage a system of family/params.yaml. All depend on what tasks.family imports and on what the files of
systems share; each on the paper's file that its system names, on another paper's file if that one imports it, on its
teacher, and on the results of the system that has its network from scratch. DVC takes lists of dependencies only as
wide as they stand in dvc.yaml: a path fills up by standing twice.

`alignment` stands for a stage a baseline of alignment/params.yaml. Each depends on what tasks.alignment and
the baselines import, and of the baselines' own files on that of its kind.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

PACKAGES = ("flows", "tasks", "jokbo")
# what cannot change the bytes of an output, ancestry excepted: tests/test_resume.py puts silent stand-ins in its place
EXEMPT = (
    "jokbo.params",  # the schema holds no defaults and changes no value
    *(
        f"jokbo.runtime.{name}"
        for name in (
            "ancestry",
            "changes",
            "environment",
            "errors",
            "hosts",
            "interruption",
            "launcher",
            "load",
            "mlflow_runs",
            "mlflow_store",
            "outbox",
            "owner",
            "progress",
            "regular",
            "room",
            "run_record",
            "tracking",
        )
    ),
)
# likewise: they keep libraries quiet, and see which code is edited while a stage runs
ROOTS = (Path("jokbo/__init__.py"), Path("tasks/__init__.py"))
SYSTEMS = "jokbo.systems"
BASELINES = "jokbo.alignment.baselines"
UP = "../"
FOLDERS = {
    Path(): "",
    Path("family"): UP,
    Path("alignment"): UP,
}  # of the projects, and how paths of code begin there


def graph() -> grimp.ImportGraph:
    """Return who imports whom among our modules, read from the sources under the current folder."""
    found = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    for name in [name for name in found.modules if _exempt(name)]:
        found.remove_module(name)
    return found


def closure(module: str, imports: grimp.ImportGraph) -> list[str]:
    """Return the files that `module` is made of, relative to the project."""
    return folded(_files_of({module, *imports.find_upstream_modules(module)}))


def folded(files: list[str]) -> list[str]:
    """Return the files, with a folder in the place of its code where all of that is among them."""
    found = set(files)
    folders = {parent for file in files for parent in Path(file).parents if len(parent.parts) > 1}
    for folder in sorted(folders, key=lambda path: len(path.parts)):
        own = {file.as_posix() for file in folder.rglob("*") if file.is_file() and _is_said(file)}
        if len(own) > 1 and own <= found:
            found = {file for file in found if not file.startswith(f"{folder}/")} | {folder.as_posix()}
    return sorted(found)


def placed(files: list[str], base: str) -> list[str]:
    """Return the files and folders as a project names them. One that looks above itself names every file of a folder,
    for DVC heeds no .dvcignore there, and would take what Python leaves in it for code."""
    if base:
        files = [
            path.as_posix()
            for name in files
            for path in (
                sorted(filter(_is_said, Path(name).rglob("*"))) if Path(name).is_dir() else [Path(name)]
            )
        ]
    return [base + file for file in files]


def _is_said(file: Path) -> bool:
    return file.suffix in (".py", ".jinja") and file.stat().st_size > 0


def _exempt(module: str) -> bool:
    return f"{module}.".startswith(tuple(f"{name}." for name in EXEMPT))


def shared(imports: grimp.ImportGraph) -> list[str]:
    """Return the files that every system of the family is made of."""
    starts = {"tasks.family", *imports.find_children(SYSTEMS)}
    found = starts.union(*(imports.find_upstream_modules(start) for start in starts))
    return folded(_files_of(found - _papers(imports)))


def own(system: dict[str, Any], imports: grimp.ImportGraph, base: str) -> list[str]:
    """Return what a system of the family depends on that not all do, given its values; its own file first."""
    module = f"{SYSTEMS}.{system['module']}"
    kin = imports.find_upstream_modules(module) & _papers(imports)
    others = [system["more"]["teacher"]] if "teacher" in system["more"] else []
    if system.get("scratch"):
        others.append(f"right/{system['scratch']}.json")
    return [*(f"{base}{name.replace('.', '/')}.py" for name in (module, *sorted(kin))), *others]


def is_code(path: str) -> bool:
    """Return whether a dependency is a file of ours, not an input."""
    return path.removeprefix(UP).partition("/")[0] in PACKAGES


def rewritten(text: str, params: str, base: str = "") -> str:
    """Return the text of a dvc.yaml with the code of each stage put right, given that of its params.yaml; comments
    stay.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 118
    tree, imports = yaml.load(text), graph()
    for stage in tree["stages"].values():
        if "foreach" in stage:
            _rewrite_many(stage, YAML(typ="safe").load(params), imports, base)
            continue
        inputs = [path for path in stage["deps"] if not is_code(path)]
        module = stage["cmd"].removeprefix(f"sh {base}tasks/python -m ")
        if module in imports.modules:  # while stages are still being written, not all are there
            stage["deps"][:] = placed(closure(module, imports), base) + inputs
            for of_stage in stage.values():
                if isinstance(of_stage, CommentedSeq) and not of_stage.ca.items:
                    of_stage.fa.set_flow_style()
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return re.sub(r" +\n", "\n", stream.getvalue())


def _rewrite_many(stage: Any, params: dict[str, Any], imports: grimp.ImportGraph, base: str) -> None:
    if "family" in params:
        _rewrite_family(stage, params["family"], imports, base)
    else:
        _rewrite_baselines(stage, params["alignment"]["baselines"], imports, base)


def _rewrite_baselines(stage: Any, baselines: dict[str, Any], imports: grimp.ImportGraph, base: str) -> None:
    """Write the stages of PPO's baselines: each is made of the file of its kind, and of what all kinds share."""
    kinds = {f"{BASELINES}.{own['kind']}" for own in baselines.values()}
    made_of = {"tasks.alignment", *kinds}
    made_of |= {module for start in made_of for module in imports.find_upstream_modules(start)}
    stage["foreach"].clear()
    for name, own in baselines.items():
        stage["foreach"][name] = row = CommentedMap(kind=own["kind"])
        row.fa.set_flow_style()
    inputs = [path for path in stage["do"]["deps"] if not is_code(path)]
    file = f"{base}{BASELINES.replace('.', '/')}/${{item.kind}}.py"
    stage["do"]["deps"][:] = [*placed(folded(_files_of(made_of - kinds)), base), file, *inputs]


def _rewrite_family(stage: Any, section: dict[str, Any], imports: grimp.ImportGraph, base: str) -> None:
    systems = {name: {**section["defaults"], **system} for name, system in section["systems"].items()}
    items = {name: own(system, imports, base) for name, system in systems.items()}
    width = max(map(len, items.values()))
    stage["foreach"].clear()
    for name, item in items.items():
        stage["foreach"][name] = row = CommentedSeq(item + item[:1] * (width - len(item)))
        row.fa.set_flow_style()
    inputs = [path for path in stage["do"]["deps"] if not (is_code(path) or path.startswith("${"))]
    code = placed(shared(imports), base)
    stage["do"]["deps"][:] = code + inputs + [f"${{item.{index}}}" for index in range(width)]
    of_all = [f"family.{key}" for key in section if key != "systems"]
    stage["do"]["params"][:] = [*of_all, "family.systems.${key}"]


def _papers(imports: grimp.ImportGraph) -> set[str]:
    from jokbo.params.systems import KINDS  # here, for a test has this look at a project that has none

    return imports.find_children(SYSTEMS) & {f"{SYSTEMS}.{name}" for name in KINDS}


def _files_of(modules: set[str]) -> list[str]:
    files = {file for name in modules for file in _files(name)}
    return sorted(str(file) for file in files)


def _files(module: str) -> set[Path]:
    path = Path(*module.split("."))
    own = set() if path.is_dir() else set(path.parent.glob(f"{path.name}.*"))
    packages = {
        parent / "__init__.py" for parent in (path, *path.parents) if (parent / "__init__.py").is_file()
    }
    return own | {file for file in packages - {*ROOTS} if file.stat().st_size}  # empty ones say nothing


def main() -> None:
    for folder, base in FOLDERS.items():
        target = folder / "dvc.yaml"
        before = target.read_text()
        after = rewritten(before, (folder / "params.yaml").read_text(), base)
        target.write_text(after)
        print(f"{target} was right" if after == before else f"{target} rewritten: see `git diff {target}`")


if __name__ == "__main__":
    main()
