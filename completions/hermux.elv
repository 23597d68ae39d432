
use builtin;
use str;

set edit:completion:arg-completer[hermux] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'hermux'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'hermux'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand serve 'Serve requests with the keys of tokens.csv'
            cand demo 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys'
            cand keys 'Manage the OpenRouter keys in tokens.csv'
            cand allow 'Manage the access tokens in allow.txt'
            cand stats 'Show requests, attempts, tokens and cost of each key today (UTC)'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;serve'= {
            cand -a 'The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]'
            cand --address 'The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]'
            cand -p 'The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]'
            cand --port 'The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]'
            cand --grace 'How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]'
            cand --workers 'Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]'
            cand --upstream 'OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]'
            cand --upstream-proxy 'An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]'
            cand --ca-file 'More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system''s [env: HERMUX_CA_FILE]'
            cand --connect-timeout 'For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]'
            cand --first-byte-timeout 'From the end of a request to the head of upstream''s answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]'
            cand --idle-timeout 'Between two bytes of upstream''s answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]'
            cand --max-wait 'How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]'
            cand --commit-after 'How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]'
            cand --header-timeout 'For the head of a caller''s request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]'
            cand --keep-alive-timeout 'For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]'
            cand --body-timeout 'Between two bytes of a request''s body [default: 60s] [env: HERMUX_BODY_TIMEOUT]'
            cand --max-header-size 'The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]'
            cand --max-uri-size 'The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]'
            cand --max-connections 'Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]'
            cand --replay-size 'How much of a request''s body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]'
            cand --replay-total 'The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]'
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --no-auth 'Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]'
            cand --no-affinity 'Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]'
            cand --no-poll 'Ask OpenRouter nothing on hermux''s own account; else GET /key tells limits and accounts of the keys [env: HERMUX_NO_POLL=true]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hermux;demo'= {
            cand -p 'The port of the proxy; 0 picks one [default: 3333, another one where that is taken]'
            cand --port 'The port of the proxy; 0 picks one [default: 3333, another one where that is taken]'
            cand -s 'What there is to see; all but `calm` make requests themselves and print a line for each'
            cand --scenario 'What there is to see; all but `calm` make requests themselves and print a line for each'
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hermux;keys'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
            cand add 'Add a key to tokens.csv'
            cand list 'Show each key''s account, use today, what is left, and what rests until when and why'
            cand explain 'Say for each key whether it would be chosen for a model now, and why'
            cand reset 'End the cooldowns of a key and its account'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;keys;add'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --stdin 'Read the key from standard input'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;keys;list'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --json 'Print one JSON object'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;keys;explain'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --json 'Print one JSON object'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;keys;reset'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --all 'All keys'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;keys;help'= {
            cand add 'Add a key to tokens.csv'
            cand list 'Show each key''s account, use today, what is left, and what rests until when and why'
            cand explain 'Say for each key whether it would be chosen for a model now, and why'
            cand reset 'End the cooldowns of a key and its account'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;keys;help;add'= {
        }
        &'hermux;keys;help;list'= {
        }
        &'hermux;keys;help;explain'= {
        }
        &'hermux;keys;help;reset'= {
        }
        &'hermux;keys;help;help'= {
        }
        &'hermux;allow'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
            cand gen 'Make a random access token, print it once and append it to allow.txt'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;allow;gen'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;allow;help'= {
            cand gen 'Make a random access token, print it once and append it to allow.txt'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;allow;help;gen'= {
        }
        &'hermux;allow;help;help'= {
        }
        &'hermux;stats'= {
            cand -t 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --tokens 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]'
            cand --allow 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]'
            cand --data-dir 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]'
            cand --config 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]'
            cand --log-format 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]'
            cand --json 'Print one JSON object'
            cand -v 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand --verbose 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]'
            cand -q 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand --quiet 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'hermux;help'= {
            cand serve 'Serve requests with the keys of tokens.csv'
            cand demo 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys'
            cand keys 'Manage the OpenRouter keys in tokens.csv'
            cand allow 'Manage the access tokens in allow.txt'
            cand stats 'Show requests, attempts, tokens and cost of each key today (UTC)'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hermux;help;serve'= {
        }
        &'hermux;help;demo'= {
        }
        &'hermux;help;keys'= {
            cand add 'Add a key to tokens.csv'
            cand list 'Show each key''s account, use today, what is left, and what rests until when and why'
            cand explain 'Say for each key whether it would be chosen for a model now, and why'
            cand reset 'End the cooldowns of a key and its account'
        }
        &'hermux;help;keys;add'= {
        }
        &'hermux;help;keys;list'= {
        }
        &'hermux;help;keys;explain'= {
        }
        &'hermux;help;keys;reset'= {
        }
        &'hermux;help;allow'= {
            cand gen 'Make a random access token, print it once and append it to allow.txt'
        }
        &'hermux;help;allow;gen'= {
        }
        &'hermux;help;stats'= {
        }
        &'hermux;help;help'= {
        }
    ]
    $completions[$command]
}
