"""An export format that the package does not have: the map as comma-separated values."""

from vit_demo.errors import OutputError


def write(document, path):
    lines = (",".join(f"{value:.6f}" for value in row) for row in document.content["heatmap"])
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written ({error.strerror}).") from error


WRITER = {".csv": write}
