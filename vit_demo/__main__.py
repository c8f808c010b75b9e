"""`python -m vit_demo`: the command line."""

from vit_demo.cli import main

if __name__ == "__main__":
    main()
