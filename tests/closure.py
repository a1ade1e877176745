"""`python -m tests.closure` writes into dvc.yaml the code that each stage depends on.

A stage depends on every file of ours that it imports, directly or not, inside functions too (imports for type
checkers only are left out), and on any other file of the same name beside such a file, such as its template.
"""

from __future__ import annotations

import io
from pathlib import Path

import grimp
from ruamel.yaml import YAML

PACKAGES = ("flows", "tasks", "jokbo")
EXEMPT = (
    "jokbo.params."  # the schema holds no defaults and changes no value, so it cannot change what is computed
)


def graph() -> grimp.ImportGraph:
    """Who imports whom among our modules, read from the sources under the current folder."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def closure(module: str, imports: grimp.ImportGraph) -> list[str]:
    """The files that `module` is made of, relative to the project."""
    modules = {module, *imports.find_upstream_modules(module)}
    files = {file for name in modules if not f"{name}.".startswith(EXEMPT) for file in _files(name)}
    return sorted(str(file) for file in files)


def is_code(path: str) -> bool:
    """Whether a dependency is a file of ours, not an input."""
    return path.startswith(tuple(f"{package}/" for package in PACKAGES))


def rewritten(text: str) -> str:
    """The text of dvc.yaml with the code of each stage put right; comments and inputs stay."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 110
    tree, imports = yaml.load(text), graph()
    for stage in tree["stages"].values():
        inputs = [path for path in stage["deps"] if not is_code(path)]
        module = stage["cmd"].removeprefix("python -m ")
        if module in imports.modules:  # while stages are still being written, not all are there
            stage["deps"][:] = closure(module, imports) + inputs
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _files(module: str) -> set[Path]:
    path = Path(*module.split("."))
    own = set() if path.is_dir() else set(path.parent.glob(f"{path.name}.*"))
    packages = {
        parent / "__init__.py" for parent in (path, *path.parents) if (parent / "__init__.py").is_file()
    }
    return own | {file for file in packages if file.stat().st_size}  # empty ones say nothing


def main() -> None:
    target = Path("dvc.yaml")
    before = target.read_text()
    after = rewritten(before)
    target.write_text(after)
    print("dvc.yaml was right" if after == before else "dvc.yaml rewritten: see `git diff dvc.yaml`")


if __name__ == "__main__":
    main()
