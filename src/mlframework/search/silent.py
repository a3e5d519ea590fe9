"""Imported first by the process that corners are forked of: a Ctrl-C while it imports the rest ends it, without a word."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
