"""`course configure --repository URL`: sets the address of a fork everywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from course_lib.files import write_text
from course_lib.site.cache import RUNS, SETUP_CELL
from course_lib.site.paths import Project, SiteError, find_project

URL = re.compile(r"https://(?P<host>[a-z0-9.-]+\.[a-z]{2,})/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
REF = re.compile(r"[\w][\w./-]*")
# The text between these two lines of README.md is written here.
LINKS = re.compile(r"(<!-- course:links -->\n).*?(<!-- /course:links -->)", re.DOTALL)

# The line of a notebook's set-up cell: COURSE = "...", within the text of a JSON file.
SETUP = re.compile(rf'("id": "{SETUP_CELL}".*?COURSE = \\")[^"\\]*(\\")', re.DOTALL)


@dataclass(frozen=True)
class Repository:
    """The repository of the course: its address, and the branch or tag that links lead to."""

    url: str
    ref: str

    @property
    def on_github(self) -> bool:
        """Whether GitHub hosts it; Colab and Binder open only GitHub's notebooks by their address."""
        return self.url.startswith("https://github.com/")

    @property
    def path(self) -> str:
        """Owner and name: the address without its host."""
        return self.url.split("/", 3)[3]

    def colab(self, file: str) -> str:
        """Return the address at which Colab opens a notebook of a repository on GitHub."""
        return f"https://colab.research.google.com/github/{self.path}/blob/{self.ref}/{file}"

    def binder(self, file: str) -> str:
        """Return the address at which Binder opens a notebook of a repository on GitHub."""
        return f"https://mybinder.org/v2/gh/{self.path}/{self.ref}?urlpath=lab/tree/{file}"


def parse(url: str, ref: str = "main") -> Repository | None:
    """Parse the address of a repository; return None for an empty one.

    Raises:
        SiteError: If the address or the ref is malformed.
    """
    url = url.strip().removesuffix("/").removesuffix(".git")
    if not url:
        return None
    if not URL.fullmatch(url):
        raise SiteError(f"{url!r} is not the address of a repository: give it as https://github.com/OWNER/NAME")
    if not REF.fullmatch(ref) or ".." in ref:
        raise SiteError(f"{ref!r} is not the name of a branch or tag")
    return Repository(url, ref)


def configure(repository_url: str, ref: str = "main", root: Path | None = None) -> None:
    """Write the address into `_config.yml`, the labs' setup cells, README.md and CITATION.cff.

    Calling it again changes nothing. Another address changes every link; "" removes the links.

    Raises:
        SiteError: If the address or the ref is malformed; then nothing is written.
    """
    repository = parse(repository_url, ref)
    changed = set_repository(find_project(root), repository)
    print(f"changed {', '.join(changed)}" if changed else "nothing to change")
    if repository and not repository.on_github:
        print("Colab and Binder buttons appear for repositories on github.com only.")


def configured(folder: Path | str) -> Repository | None:
    """Return the repository that is set in the `_config.yml` of a folder, if one is."""
    return _configured((Path(folder) / "_config.yml").read_text(encoding="utf8"))


@lru_cache(maxsize=8)  # each link to a source on the library's pages asks for it
def _configured(config: str) -> Repository | None:
    import yaml  # comes with the book's extra; what needs no pages runs without it

    setting = yaml.safe_load(config).get("repository") or {}
    return parse(setting.get("url") or "", setting.get("branch") or "main")


def set_repository(project: Project, repository: Repository | None) -> list[str]:
    """Write the address of a repository into the files that have one, or take it out of them.

    Returns:
        The names of the files that have changed.

    Raises:
        SiteError: If one of them has no place for it; then nothing is written.
    """
    fixed = [project.root / name for name in ("_config.yml", "README.md", "CITATION.cff")]
    labs = [*sorted(project.labs.glob("*.ipynb")), *sorted((project.root / RUNS).glob("*.ipynb"))]
    texts = {path: path.read_text(encoding="utf8") for path in [*fixed, *labs] if path.is_file()}
    changed = {path: new for path, old in texts.items() if (new := rewrite(project, path, old, repository)) != old}
    for path, text in changed.items():
        write_text(path, text)
    return [str(path.relative_to(project.root)) for path in changed]


def rewrite(project: Project, path: Path, text: str, repository: Repository | None) -> str:
    """Return the new text of one file."""
    url, ref = (repository.url, repository.ref) if repository else ("", "main")
    if path.suffix == ".ipynb":
        course = f"git+{url}@{ref}" if url else ""
        text, cells = SETUP.subn(lambda found: found[1] + course + found[2], text, count=1)
        if not cells:
            raise SiteError(
                f"{path.parent.name}/{path.name} has no cell with the id {SETUP_CELL}; copy it from another lab"
            )
        return text
    if path.name == "_config.yml":
        text, urls = re.subn(r"(?m)^(  url: ).*$", rf'\g<1>"{url}"', text, count=1)
        text, refs = re.subn(r"(?m)^(  branch: ).*$", rf'\g<1>"{ref}"', text, count=1)
        if not (urls and refs):
            raise SiteError("_config.yml has no `repository:` with `  url:` and `  branch:` below it; put them back")
        return text
    if path.name == "CITATION.cff":
        text = re.sub(r"(?m)^repository-code:.*\n", "", text)
        return text.rstrip("\n") + f'\nrepository-code: "{url}"\n' if url else text
    return LINKS.sub(lambda found: found[1] + _links(project, repository) + found[2], text)


def _links(project: Project, repository: Repository | None) -> str:
    """Return the README's list of labs with their Colab and Binder links."""
    if not repository or not repository.on_github:
        return f"The course lives at <{repository.url}>.\n" if repository else ""
    rows = []
    for lab in project.lab_slugs():
        file = f"labs/{lab}.ipynb"
        rows.append(f"| `{lab}` | [Colab]({repository.colab(file)}) | [Binder]({repository.binder(file)}) |\n")
    return "| Lab | On Colab | On Binder |\n| --- | --- | --- |\n" + "".join(rows)
