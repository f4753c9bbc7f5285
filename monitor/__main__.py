"""`python -m monitor` is the command `finetune-monitor`."""

from monitor.cli import main

if __name__ == "__main__":
    main(prog_name="finetune-monitor")
