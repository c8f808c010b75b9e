"""What axe-core finds on a page."""

from axe_playwright_python.sync_playwright import Axe

SERIOUS = {"serious", "critical"}


def serious_faults(page, within=None):
    """One line for every element with a serious fault."""
    found = Axe().run(page, context=within).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:160]} {node['failureSummary'].splitlines()[-1].strip()}"
        for fault in found
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]
