"""`python -m fanlight` is the command `fanlight`."""

from fanlight.cli import main

if __name__ == "__main__":
    main()
