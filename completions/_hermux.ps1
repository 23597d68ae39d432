
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'hermux' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'hermux'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'hermux' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Serve requests with the keys of tokens.csv')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys')
            [CompletionResult]::new('keys', 'keys', [CompletionResultType]::ParameterValue, 'Manage the OpenRouter keys in tokens.csv')
            [CompletionResult]::new('allow', 'allow', [CompletionResultType]::ParameterValue, 'Manage the access tokens in allow.txt')
            [CompletionResult]::new('stats', 'stats', [CompletionResultType]::ParameterValue, 'Show requests, attempts, tokens and cost of each key today (UTC)')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;serve' {
            [CompletionResult]::new('-a', '-a', [CompletionResultType]::ParameterName, 'The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]')
            [CompletionResult]::new('--address', '--address', [CompletionResultType]::ParameterName, 'The IP address to listen on [default: 127.0.0.1] [env: HERMUX_ADDRESS]')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'The port to listen on; 0 picks one [default: 3333] [env: HERMUX_PORT]')
            [CompletionResult]::new('--grace', '--grace', [CompletionResultType]::ParameterName, 'How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]')
            [CompletionResult]::new('--workers', '--workers', [CompletionResultType]::ParameterName, 'Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]')
            [CompletionResult]::new('--upstream-proxy', '--upstream-proxy', [CompletionResultType]::ParameterName, 'An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system''s [env: HERMUX_CA_FILE]')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]')
            [CompletionResult]::new('--first-byte-timeout', '--first-byte-timeout', [CompletionResultType]::ParameterName, 'From the end of a request to the head of upstream''s answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Between two bytes of upstream''s answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]')
            [CompletionResult]::new('--max-wait', '--max-wait', [CompletionResultType]::ParameterName, 'How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]')
            [CompletionResult]::new('--commit-after', '--commit-after', [CompletionResultType]::ParameterName, 'How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]')
            [CompletionResult]::new('--header-timeout', '--header-timeout', [CompletionResultType]::ParameterName, 'For the head of a caller''s request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]')
            [CompletionResult]::new('--keep-alive-timeout', '--keep-alive-timeout', [CompletionResultType]::ParameterName, 'For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]')
            [CompletionResult]::new('--body-timeout', '--body-timeout', [CompletionResultType]::ParameterName, 'Between two bytes of a request''s body [default: 60s] [env: HERMUX_BODY_TIMEOUT]')
            [CompletionResult]::new('--max-header-size', '--max-header-size', [CompletionResultType]::ParameterName, 'The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]')
            [CompletionResult]::new('--max-uri-size', '--max-uri-size', [CompletionResultType]::ParameterName, 'The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]')
            [CompletionResult]::new('--max-connections', '--max-connections', [CompletionResultType]::ParameterName, 'Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]')
            [CompletionResult]::new('--replay-size', '--replay-size', [CompletionResultType]::ParameterName, 'How much of a request''s body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]')
            [CompletionResult]::new('--replay-total', '--replay-total', [CompletionResultType]::ParameterName, 'The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--no-auth', '--no-auth', [CompletionResultType]::ParameterName, 'Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]')
            [CompletionResult]::new('--no-affinity', '--no-affinity', [CompletionResultType]::ParameterName, 'Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]')
            [CompletionResult]::new('--no-poll', '--no-poll', [CompletionResultType]::ParameterName, 'Ask OpenRouter nothing on hermux''s own account; else GET /key tells limits and accounts of the keys [env: HERMUX_NO_POLL=true]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hermux;demo' {
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'The port of the proxy; 0 picks one [default: 3333, another one where that is taken]')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'The port of the proxy; 0 picks one [default: 3333, another one where that is taken]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'What there is to see; all but `calm` make requests themselves and print a line for each')
            [CompletionResult]::new('--scenario', '--scenario', [CompletionResultType]::ParameterName, 'What there is to see; all but `calm` make requests themselves and print a line for each')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hermux;keys' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a key to tokens.csv')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show each key''s account, use today, what is left, and what rests until when and why')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say for each key whether it would be chosen for a model now, and why')
            [CompletionResult]::new('reset', 'reset', [CompletionResultType]::ParameterValue, 'End the cooldowns of a key and its account')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;keys;add' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--stdin', '--stdin', [CompletionResultType]::ParameterName, 'Read the key from standard input')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;keys;list' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;keys;explain' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;keys;reset' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'All keys')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;keys;help' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a key to tokens.csv')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show each key''s account, use today, what is left, and what rests until when and why')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say for each key whether it would be chosen for a model now, and why')
            [CompletionResult]::new('reset', 'reset', [CompletionResultType]::ParameterValue, 'End the cooldowns of a key and its account')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;keys;help;add' {
            break
        }
        'hermux;keys;help;list' {
            break
        }
        'hermux;keys;help;explain' {
            break
        }
        'hermux;keys;help;reset' {
            break
        }
        'hermux;keys;help;help' {
            break
        }
        'hermux;allow' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('gen', 'gen', [CompletionResultType]::ParameterValue, 'Make a random access token, print it once and append it to allow.txt')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;allow;gen' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;allow;help' {
            [CompletionResult]::new('gen', 'gen', [CompletionResultType]::ParameterValue, 'Make a random access token, print it once and append it to allow.txt')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;allow;help;gen' {
            break
        }
        'hermux;allow;help;help' {
            break
        }
        'hermux;stats' {
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--tokens', '--tokens', [CompletionResultType]::ParameterName, 'The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]')
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]')
            [CompletionResult]::new('--data-dir', '--data-dir', [CompletionResultType]::ParameterName, 'Where the ledger and the state live [default: the user''s data directory] [env: HERMUX_DATA_DIR]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: the user''s config.toml] [env: HERMUX_CONFIG]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more; twice for every detail [env: HERMUX_VERBOSITY=1]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'hermux;help' {
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Serve requests with the keys of tokens.csv')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show how it works: a proxy before a look-alike of OpenRouter, with sample keys')
            [CompletionResult]::new('keys', 'keys', [CompletionResultType]::ParameterValue, 'Manage the OpenRouter keys in tokens.csv')
            [CompletionResult]::new('allow', 'allow', [CompletionResultType]::ParameterValue, 'Manage the access tokens in allow.txt')
            [CompletionResult]::new('stats', 'stats', [CompletionResultType]::ParameterValue, 'Show requests, attempts, tokens and cost of each key today (UTC)')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hermux;help;serve' {
            break
        }
        'hermux;help;demo' {
            break
        }
        'hermux;help;keys' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a key to tokens.csv')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show each key''s account, use today, what is left, and what rests until when and why')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say for each key whether it would be chosen for a model now, and why')
            [CompletionResult]::new('reset', 'reset', [CompletionResultType]::ParameterValue, 'End the cooldowns of a key and its account')
            break
        }
        'hermux;help;keys;add' {
            break
        }
        'hermux;help;keys;list' {
            break
        }
        'hermux;help;keys;explain' {
            break
        }
        'hermux;help;keys;reset' {
            break
        }
        'hermux;help;allow' {
            [CompletionResult]::new('gen', 'gen', [CompletionResultType]::ParameterValue, 'Make a random access token, print it once and append it to allow.txt')
            break
        }
        'hermux;help;allow;gen' {
            break
        }
        'hermux;help;stats' {
            break
        }
        'hermux;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
