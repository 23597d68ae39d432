# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hermux_global_optspecs
    string join \n t/tokens= allow= data-dir= config= v/verbose q/quiet log-format= h/help V/version
end

function __fish_hermux_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hermux_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hermux_using_subcommand
    set -l cmd (__fish_hermux_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hermux -n "__fish_hermux_needs_command" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_needs_command" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_needs_command" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_needs_command" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_needs_command" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_needs_command" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_needs_command" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hermux -n "__fish_hermux_needs_command" -s V -l version -d 'Print version'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "serve" -d 'Serve requests with the keys of tokens.csv'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "demo" -d 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "keys" -d 'Manage the OpenRouter keys in tokens.csv'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "allow" -d 'Manage the access tokens in allow.txt'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "stats" -d 'Show requests, attempts, tokens and cost of each key today (UTC)'
complete -c hermux -n "__fish_hermux_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s a -l address -d 'The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s p -l port -d 'The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l grace -d 'How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l workers -d 'Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l upstream -d 'OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]' -r -f
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l upstream-proxy -d 'An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]' -r -f
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l ca-file -d 'More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system\'s [env: HERMUX_CA_FILE]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l connect-timeout -d 'For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l first-byte-timeout -d 'From the end of a request to the head of upstream\'s answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l idle-timeout -d 'Between two bytes of upstream\'s answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l max-wait -d 'How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l commit-after -d 'How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l header-timeout -d 'For the head of a caller\'s request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l keep-alive-timeout -d 'For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l body-timeout -d 'Between two bytes of a request\'s body [default: 60s] [env: HERMUX_BODY_TIMEOUT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l max-header-size -d 'The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l max-uri-size -d 'The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l max-connections -d 'Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l replay-size -d 'How much of a request\'s body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l replay-total -d 'The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l no-auth -d 'Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l no-affinity -d 'Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -l no-poll -d 'Ask OpenRouter nothing on hermux\'s own account; else GET /key tells limits and accounts of the keys [env: HERMUX_NO_POLL=true]'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s p -l port -d 'The port of the proxy; 0 picks one [default: 3333, another one where that is taken]' -r
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s s -l scenario -d 'What there is to see; all but `calm` make requests themselves and print a line for each' -r -f -a "calm\t'All goes well, and the requests are yours'
limits\t'Free models meet their limits: keys take over for each other, and requests wait for the next minute'
outage\t'A model is down for 20 s: its requests wait for it, those for another model are served'"
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand demo" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand demo" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand demo" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand demo" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -f -a "add" -d 'Add a key to tokens.csv'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -f -a "list" -d 'Show each key\'s account, use today, what is left, and what rests until when and why'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -f -a "explain" -d 'Say for each key whether it would be chosen for a model now, and why'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -f -a "reset" -d 'End the cooldowns of a key and its account'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and not __fish_seen_subcommand_from add list explain reset help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -l stdin -d 'Read the key from standard input'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON object'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -l json -d 'Print one JSON object'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -l all -d 'All keys'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a key to tokens.csv'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show each key\'s account, use today, what is left, and what rests until when and why'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "explain" -d 'Say for each key whether it would be chosen for a model now, and why'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "reset" -d 'End the cooldowns of a key and its account'
complete -c hermux -n "__fish_hermux_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -f -a "gen" -d 'Make a random access token, print it once and append it to allow.txt'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and not __fish_seen_subcommand_from gen help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from gen" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from help" -f -a "gen" -d 'Make a random access token, print it once and append it to allow.txt'
complete -c hermux -n "__fish_hermux_using_subcommand allow; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand stats" -s t -l tokens -d 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand stats" -l allow -d 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand stats" -l data-dir -d 'Where the ledger and the state live [default: the user\'s data directory] [env: HERMUX_DATA_DIR]' -r -f -a "(__fish_complete_directories)"
complete -c hermux -n "__fish_hermux_using_subcommand stats" -l config -d 'The configuration file [default: the user\'s config.toml] [env: HERMUX_CONFIG]' -r -F
complete -c hermux -n "__fish_hermux_using_subcommand stats" -l log-format -d 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]' -r
complete -c hermux -n "__fish_hermux_using_subcommand stats" -l json -d 'Print one JSON object'
complete -c hermux -n "__fish_hermux_using_subcommand stats" -s v -l verbose -d 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
complete -c hermux -n "__fish_hermux_using_subcommand stats" -s q -l quiet -d 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
complete -c hermux -n "__fish_hermux_using_subcommand stats" -s h -l help -d 'Print help'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "serve" -d 'Serve requests with the keys of tokens.csv'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "demo" -d 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "keys" -d 'Manage the OpenRouter keys in tokens.csv'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "allow" -d 'Manage the access tokens in allow.txt'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "stats" -d 'Show requests, attempts, tokens and cost of each key today (UTC)'
complete -c hermux -n "__fish_hermux_using_subcommand help; and not __fish_seen_subcommand_from serve demo keys allow stats help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hermux -n "__fish_hermux_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "add" -d 'Add a key to tokens.csv'
complete -c hermux -n "__fish_hermux_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "list" -d 'Show each key\'s account, use today, what is left, and what rests until when and why'
complete -c hermux -n "__fish_hermux_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "explain" -d 'Say for each key whether it would be chosen for a model now, and why'
complete -c hermux -n "__fish_hermux_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "reset" -d 'End the cooldowns of a key and its account'
complete -c hermux -n "__fish_hermux_using_subcommand help; and __fish_seen_subcommand_from allow" -f -a "gen" -d 'Make a random access token, print it once and append it to allow.txt'
