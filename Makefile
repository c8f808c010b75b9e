# The README's two lines, for those who prefer to type `make app` and `make test`.

.PHONY: app test screenshot examples

app:
	python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && python app.py

test:
	python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements-dev.txt && python tests/check.py

screenshot:
	.venv/bin/python tests/browser/screenshots.py

# The finished explorer of the three examples, which the page shows before any run.
examples:
	.venv/bin/python assets/write_examples.py
