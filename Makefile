# The README's two lines, for those who would rather type `make app` and `make test`.

.PHONY: app test screenshot

app:
	python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python app.py

test:
	python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt && .venv/bin/python tests/check.py

screenshot:
	.venv/bin/python tests/browser/screenshots.py
