"""Several processes that search one study: what a worker is told, how it is started, and who looks after it.

`crew` starts workers through a launcher, hears what they do, and replaces those that die. `local` starts them as
processes of this machine. A worker shares nothing with the others but the study's storage.
"""
