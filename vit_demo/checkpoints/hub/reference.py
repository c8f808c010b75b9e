"""References to checkpoints on the Hub, and their files on disk."""

import re
from dataclasses import dataclass
from pathlib import Path

from vit_demo.errors import CheckpointError

NEWEST = "main"

COMMIT = re.compile(r"[0-9a-f]{40}")
# Stricter than git's own rule, so that every match can be used in a path and in a URL unescaped.
REPO_PART = re.compile(r"\w|\w[\w.-]{0,94}\w", re.ASCII)
REVISION = re.compile(r"\w[\w.+-]*(/[\w+-][\w.+-]*)*", re.ASCII)
ADDRESS = re.compile(
    r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/|hf[-_]hub:)"
    r"(?P<repo>[^/\s?#@]+/[^/\s?#@]+)"
    r"(?:@|/(?:tree|blob|commit)/|/?(?=[?#]|$))(?P<revision>[^/\s?#]*)/?(?:[^\s]*)"
)
LONGEST_REPO, LONGEST_REVISION = 96, 200


@dataclass(frozen=True)
class HubReference:
    """A repository and a revision: a branch, a tag, or the 40 digits of a commit."""

    repo: str
    revision: str = NEWEST

    def __post_init__(self) -> None:
        if not is_repo(self.repo):
            raise CheckpointError(
                f"'{self.repo}' is not the name of a Hub repository; write owner/name, "
                "as in google/vit-base-patch16-224, without the rest of the web address."
            )
        if not is_revision(self.revision):
            raise CheckpointError(
                f"'{self.revision}' is not a revision; after the @ of {self.repo}@… write "
                "a branch, a tag or a commit, or leave it out for the newest."
            )

    @classmethod
    def parse(cls, text: str) -> "HubReference":
        """Read `owner/name` or `owner/name@revision`; raises CheckpointError for anything else."""
        repo, at, revision = text.partition("@")
        return cls(repo, revision if at else NEWEST)

    @classmethod
    def from_address(cls, text: str) -> "HubReference | None":
        """Read a pasted address of the Hub, or timm's hf-hub:owner/name; None for other text."""
        found = ADDRESS.fullmatch(text)
        if found is None:
            return None
        return cls(found["repo"], found["revision"] or NEWEST)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes, unlike a branch or tag."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return self.repo if self.revision == NEWEST else f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint's files on this disk, complete, at one commit."""

    reference: HubReference
    folder: Path
    revision: str


def is_repo(text: str) -> bool:
    """Whether `text` can be the name of a repository, by the Hub's own rules."""
    parts = text.split("/")
    return (
        len(parts) == len(("owner", "name"))
        and all(REPO_PART.fullmatch(part) for part in parts)
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
        and len(text) <= LONGEST_REPO
    )


def is_revision(text: str) -> bool:
    """Whether `text` can be the name of a branch, a tag or a commit."""
    return (
        REVISION.fullmatch(text) is not None and ".." not in text and len(text) <= LONGEST_REVISION
    )
