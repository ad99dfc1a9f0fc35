"""The site's build hook: README, CONTRIBUTING and CHANGELOG, which lie beside docs/, as pages of the site."""

from pathlib import Path

from mkdocs.structure.files import File

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files, config):
    root = Path(config.docs_dir).parent
    for name, page in PAGES.items():
        content = as_page((root / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown, **_):
    """Links from docs/ to the pages beside it."""
    for name, page in PAGES.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}")
    return markdown


def as_page(text: str) -> str:
    """Its links as they are in docs/."""
    for name, page in PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text.replace("](docs/", "](")
