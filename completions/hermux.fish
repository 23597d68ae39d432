complete --keep-order --exclusive --command hermux --arguments "(_HERMUX_COMPLETE=fish hermux -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
