"""What each `--mode` of `ml-visualise` does: a file each, with a `show(arguments)`."""
