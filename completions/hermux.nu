module completions {
  # The names of keys and callers, which hermux knows.
  def "nu-complete hermux names" [context: string] {
    with-env { _HERMUX_COMPLETE: names } { ^hermux -- ...($context | split row --regex '\s+') | lines }
  }

  def "nu-complete hermux color" [] {
    [ "auto" "always" "never" ]
  }

  # A multiplexing streaming proxy for OpenRouter, and the toolkit around it
  export extern hermux [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux color" # When there are colors
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete hermux serve color" [] {
    [ "auto" "always" "never" ]
  }

  # Serve requests with the keys of tokens.csv
  export extern "hermux serve" [
    --address(-a): string     # The IP address to listen on, or unix:PATH for a Unix socket [default: 127.0.0.1] [env: HERMUX_ADDRESS]
    --port(-p): string        # The port to listen on; 0 picks one; a Unix socket has none [default: 3333] [env: HERMUX_PORT]
    --socket-mode: string     # Who may connect to the Unix socket, as chmod takes it [default: 0600] [env: HERMUX_SOCKET_MODE]
    --tls-cert: path          # Speak TLS with callers: the certificate, its chain behind it, as PEM; read again when it changes [env: HERMUX_TLS_CERT]
    --tls-key: path           # The private key of that certificate, as PEM, not encrypted [env: HERMUX_TLS_KEY]
    --cors: string            # Let web pages of this origin use hermux, such as https://app.example, or * for all; may be repeated, or be a list with commas [env: HERMUX_CORS]
    --no-auth                 # Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]
    --no-affinity             # Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]
    --no-poll                 # Ask OpenRouter nothing on hermux's own account; else GET /key tells limits and accounts of the keys, and GET /generation costs that answers did not [env: HERMUX_NO_POLL=true]
    --keep-entries: string    # How long the ledger keeps its entries; the sums by hour stay for ever [default: 90d] [env: HERMUX_KEEP_ENTRIES]
    --metrics: string         # Tell metrics to Prometheus at this address, such as 127.0.0.1:9333, below /metrics [env: HERMUX_METRICS]
    --access-log              # Log a line for each request: caller, key, model, status, times, tokens and cost [env: HERMUX_ACCESS_LOG=true]
    --grace: string           # How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]
    --workers: string         # Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]
    --upstream: string        # OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]
    --upstream-proxy: string  # An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]
    --ca-file: path           # More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system's [env: HERMUX_CA_FILE]
    --connect-timeout: string # For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]
    --first-byte-timeout: string # From the end of a request to the head of upstream's answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]
    --idle-timeout: string    # Between two bytes of upstream's answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]
    --max-wait: string        # How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]
    --commit-after: string    # How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]
    --header-timeout: string  # For the head of a caller's request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]
    --keep-alive-timeout: string # For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]
    --body-timeout: string    # Between two bytes of a request's body [default: 60s] [env: HERMUX_BODY_TIMEOUT]
    --max-header-size: string # The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]
    --max-uri-size: string    # The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]
    --max-connections: string # Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]
    --replay-size: string     # How much of a request's body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]
    --replay-total: string    # The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux serve color" # When there are colors
    --help(-h)                # Print help (see more with '--help')
  ]

  def "nu-complete hermux demo scenario" [] {
    [ "calm" "limits" "outage" ]
  }

  def "nu-complete hermux demo color" [] {
    [ "auto" "always" "never" ]
  }

  # Show how it works: a proxy before a look-alike of OpenRouter, with sample keys
  export extern "hermux demo" [
    --port(-p): string        # The port of the proxy; 0 picks one [default: 3333, another one where that is taken]
    --scenario(-s): string@"nu-complete hermux demo scenario" # What there is to see; all but `calm` make requests themselves and print a line for each
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux demo color" # When there are colors
    --help(-h)                # Print help (see more with '--help')
  ]

  def "nu-complete hermux keys color" [] {
    [ "auto" "always" "never" ]
  }

  # Manage the OpenRouter keys in tokens.csv
  export extern "hermux keys" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux keys add color" [] {
    [ "auto" "always" "never" ]
  }

  # Add a key to tokens.csv
  export extern "hermux keys add" [
    --stdin                   # Read the key from standard input
    --from-file: path         # Add the keys of a file; - is standard input
    --from-env: string        # Add the keys of all variables whose names begin so: PREFIX_ANN=sk-or-… adds `ann`
    --no-check                # Write without asking OpenRouter about it
    --timeout: string         # How long OpenRouter may take to answer
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys add color" # When there are colors
    --help(-h)                # Print help
    name?: string             # What the key is to be called; X-TOKEN-NAME tells it to callers [default: asked for on a terminal]
  ]

  def "nu-complete hermux keys list color" [] {
    [ "auto" "always" "never" ]
  }

  # Show each key's account, use today, what is left, and what rests until when and why
  export extern "hermux keys list" [
    --json                    # Print one JSON object
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys list color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux keys check color" [] {
    [ "auto" "always" "never" ]
  }

  # Ask OpenRouter about keys: whether they are valid, what is left, who shares an account
  export extern "hermux keys check" [
    --timeout: string         # How long OpenRouter may take to answer for each
    --json                    # Print one JSON object
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys check color" # When there are colors
    --help(-h)                # Print help
    ...names: string@"nu-complete hermux names"          # The names of keys [default: all]
  ]

  def "nu-complete hermux keys explain color" [] {
    [ "auto" "always" "never" ]
  }

  # Say for each key whether it would be chosen for a model now, and why
  export extern "hermux keys explain" [
    --json                    # Print one JSON object
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys explain color" # When there are colors
    --help(-h)                # Print help
    model: string             # The model, as a request names it
  ]

  def "nu-complete hermux keys remove color" [] {
    [ "auto" "always" "never" ]
  }

  # Remove a key from tokens.csv
  export extern "hermux keys remove" [
    --yes(-y)                 # Do not ask
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys remove color" # When there are colors
    --help(-h)                # Print help
    name: string@"nu-complete hermux names"              # The name of the key
  ]

  def "nu-complete hermux keys rename color" [] {
    [ "auto" "always" "never" ]
  }

  # Give a key another name
  export extern "hermux keys rename" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys rename color" # When there are colors
    --help(-h)                # Print help
    name: string@"nu-complete hermux names"              # The name of the key
    new: string               # What it is to be called
  ]

  def "nu-complete hermux keys enable color" [] {
    [ "auto" "always" "never" ]
  }

  # Let a key serve again that was disabled in tokens.csv
  export extern "hermux keys enable" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys enable color" # When there are colors
    --help(-h)                # Print help
    name: string@"nu-complete hermux names"              # The name of the key
  ]

  def "nu-complete hermux keys disable color" [] {
    [ "auto" "always" "never" ]
  }

  # Keep a key from serving
  export extern "hermux keys disable" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys disable color" # When there are colors
    --help(-h)                # Print help
    name: string@"nu-complete hermux names"              # The name of the key
  ]

  def "nu-complete hermux keys reset color" [] {
    [ "auto" "always" "never" ]
  }

  # End the cooldowns of a key and its account
  export extern "hermux keys reset" [
    --all                     # All keys
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux keys reset color" # When there are colors
    --help(-h)                # Print help
    name?: string@"nu-complete hermux names"             # The name of the key
  ]

  def "nu-complete hermux allow color" [] {
    [ "auto" "always" "never" ]
  }

  # Manage the access tokens in allow.txt
  export extern "hermux allow" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux allow color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux allow gen color" [] {
    [ "auto" "always" "never" ]
  }

  # Make a random access token, print it once and append its SHA-256 to allow.txt
  export extern "hermux allow gen" [
    --count: string           # How many to make; the callers are then called NAME-1, NAME-2 and on
    --plain                   # Store it readable instead of its SHA-256
    --expires: string         # How long it is valid, such as 30d or 12h, or its last day (UTC), such as 2026-12-31
    --models: string          # Patterns of the models it may use, such as 'openai/*,*:free'
    --rpm: string             # How many requests of models it may make within any minute
    --daily-requests: string  # How many requests of models it may make in a UTC day
    --daily-cost: string      # How many US dollars it may spend in a UTC day, such as 0.25; overrun by no more than what is under way
    --keys: string@"nu-complete hermux names"            # Which keys of tokens.csv may serve it, such as ann,bob
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux allow gen color" # When there are colors
    --help(-h)                # Print help
    name?: string             # What its caller is to be called [default: the first digits of the token's SHA-256]
  ]

  def "nu-complete hermux allow list color" [] {
    [ "auto" "always" "never" ]
  }

  # Show each access token's caller, limits, use today and end; never the token
  export extern "hermux allow list" [
    --json                    # Print one JSON object
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux allow list color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux allow revoke color" [] {
    [ "auto" "always" "never" ]
  }

  # Remove a caller's access tokens from allow.txt
  export extern "hermux allow revoke" [
    --yes(-y)                 # Do not ask
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux allow revoke color" # When there are colors
    --help(-h)                # Print help
    name: string@"nu-complete hermux names"              # The caller's name, or the id of one access token
  ]

  def "nu-complete hermux allow check color" [] {
    [ "auto" "always" "never" ]
  }

  # Say which line of allow.txt an access token is, and whether it is valid
  export extern "hermux allow check" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux allow check color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux stats by" [] {
    [ "key" "model" "caller" "day" "hour" "status" "account" ]
  }

  def "nu-complete hermux stats color" [] {
    [ "auto" "always" "never" ]
  }

  # Show requests, tokens, cost and latency by key, model, caller or time
  export extern "hermux stats" [
    --by: string@"nu-complete hermux stats by" # Group by these, the first above all; a list with commas, or repeated [default: key]
    --since: string           # Only what left from then on [default: today; with --until from the beginning]
    --until: string           # Only what left until then
    --key: string@"nu-complete hermux names"             # Only these keys; may be repeated
    --model: string           # Only these models; may be repeated
    --caller: string@"nu-complete hermux names"          # Only these callers; may be repeated
    --json                    # Print one JSON object
    --csv                     # Print CSV, a line for each group
    --watch: string           # Show it anew every so many seconds, in place, until Ctrl-C [default: 2]
    --reconcile               # Compare with what GET /key tells of each key: equal, missed here, or spent outside hermux
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux stats color" # When there are colors
    --help(-h)                # Print help (see more with '--help')
  ]

  def "nu-complete hermux top color" [] {
    [ "auto" "always" "never" ]
  }

  # Watch a running server live: keys, what rests, requests, errors, who waits
  export extern "hermux top" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux top color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux config color" [] {
    [ "auto" "always" "never" ]
  }

  # Set hermux up, and see what it goes by
  export extern "hermux config" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux config color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux config path color" [] {
    [ "auto" "always" "never" ]
  }

  # Show which files are used, and why
  export extern "hermux config path" [
    --json                    # Print one JSON object
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux config path color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux config show color" [] {
    [ "auto" "always" "never" ]
  }

  # Show every value and where it stands
  export extern "hermux config show" [
    --json                    # Print one JSON object
    --address(-a): string     # The IP address to listen on, or unix:PATH for a Unix socket [default: 127.0.0.1] [env: HERMUX_ADDRESS]
    --port(-p): string        # The port to listen on; 0 picks one; a Unix socket has none [default: 3333] [env: HERMUX_PORT]
    --socket-mode: string     # Who may connect to the Unix socket, as chmod takes it [default: 0600] [env: HERMUX_SOCKET_MODE]
    --tls-cert: path          # Speak TLS with callers: the certificate, its chain behind it, as PEM; read again when it changes [env: HERMUX_TLS_CERT]
    --tls-key: path           # The private key of that certificate, as PEM, not encrypted [env: HERMUX_TLS_KEY]
    --cors: string            # Let web pages of this origin use hermux, such as https://app.example, or * for all; may be repeated, or be a list with commas [env: HERMUX_CORS]
    --no-auth                 # Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]
    --no-affinity             # Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]
    --no-poll                 # Ask OpenRouter nothing on hermux's own account; else GET /key tells limits and accounts of the keys, and GET /generation costs that answers did not [env: HERMUX_NO_POLL=true]
    --keep-entries: string    # How long the ledger keeps its entries; the sums by hour stay for ever [default: 90d] [env: HERMUX_KEEP_ENTRIES]
    --metrics: string         # Tell metrics to Prometheus at this address, such as 127.0.0.1:9333, below /metrics [env: HERMUX_METRICS]
    --access-log              # Log a line for each request: caller, key, model, status, times, tokens and cost [env: HERMUX_ACCESS_LOG=true]
    --grace: string           # How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]
    --workers: string         # Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]
    --upstream: string        # OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]
    --upstream-proxy: string  # An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]
    --ca-file: path           # More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system's [env: HERMUX_CA_FILE]
    --connect-timeout: string # For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]
    --first-byte-timeout: string # From the end of a request to the head of upstream's answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]
    --idle-timeout: string    # Between two bytes of upstream's answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]
    --max-wait: string        # How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]
    --commit-after: string    # How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]
    --header-timeout: string  # For the head of a caller's request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]
    --keep-alive-timeout: string # For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]
    --body-timeout: string    # Between two bytes of a request's body [default: 60s] [env: HERMUX_BODY_TIMEOUT]
    --max-header-size: string # The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]
    --max-uri-size: string    # The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]
    --max-connections: string # Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]
    --replay-size: string     # How much of a request's body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]
    --replay-total: string    # The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux config show color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux config init color" [] {
    [ "auto" "always" "never" ]
  }

  # Write a config.toml that explains every key; on a terminal also ask for the first key and make an access token
  export extern "hermux config init" [
    --force                   # Replace a config.toml that is there
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux config init color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux config check color" [] {
    [ "auto" "always" "never" ]
  }

  # Check everything that `hermux serve` would check before it opens its port
  export extern "hermux config check" [
    --json                    # Print one JSON object
    --address(-a): string     # The IP address to listen on, or unix:PATH for a Unix socket [default: 127.0.0.1] [env: HERMUX_ADDRESS]
    --port(-p): string        # The port to listen on; 0 picks one; a Unix socket has none [default: 3333] [env: HERMUX_PORT]
    --socket-mode: string     # Who may connect to the Unix socket, as chmod takes it [default: 0600] [env: HERMUX_SOCKET_MODE]
    --tls-cert: path          # Speak TLS with callers: the certificate, its chain behind it, as PEM; read again when it changes [env: HERMUX_TLS_CERT]
    --tls-key: path           # The private key of that certificate, as PEM, not encrypted [env: HERMUX_TLS_KEY]
    --cors: string            # Let web pages of this origin use hermux, such as https://app.example, or * for all; may be repeated, or be a list with commas [env: HERMUX_CORS]
    --no-auth                 # Let everybody on this machine in; refused beyond loopback [env: HERMUX_NO_AUTH=true]
    --no-affinity             # Let each request have the key used least, also when it continues a conversation [env: HERMUX_NO_AFFINITY=true]
    --no-poll                 # Ask OpenRouter nothing on hermux's own account; else GET /key tells limits and accounts of the keys, and GET /generation costs that answers did not [env: HERMUX_NO_POLL=true]
    --keep-entries: string    # How long the ledger keeps its entries; the sums by hour stay for ever [default: 90d] [env: HERMUX_KEEP_ENTRIES]
    --metrics: string         # Tell metrics to Prometheus at this address, such as 127.0.0.1:9333, below /metrics [env: HERMUX_METRICS]
    --access-log              # Log a line for each request: caller, key, model, status, times, tokens and cost [env: HERMUX_ACCESS_LOG=true]
    --grace: string           # How long open streams may finish after a stop signal [default: 30s] [env: HERMUX_GRACE]
    --workers: string         # Worker threads [default: as many as cores, at most 4] [env: HERMUX_WORKERS]
    --upstream: string        # OpenRouter, or what stands in for it; an origin without a path means /api/v1 [default: https://openrouter.ai/api/v1] [env: HERMUX_UPSTREAM]
    --upstream-proxy: string  # An HTTP proxy to reach upstream through, http://host:port; HTTPS_PROXY and the like are not obeyed [env: HERMUX_UPSTREAM_PROXY]
    --ca-file: path           # More certificate authorities to trust, as PEM; SSL_CERT_FILE replaces the system's [env: HERMUX_CA_FILE]
    --connect-timeout: string # For resolving the name, connecting and the TLS handshake [default: 10s] [env: HERMUX_CONNECT_TIMEOUT]
    --first-byte-timeout: string # From the end of a request to the head of upstream's answer [default: 600s] [env: HERMUX_FIRST_BYTE_TIMEOUT]
    --idle-timeout: string    # Between two bytes of upstream's answer; its whole time has no limit [default: 300s] [env: HERMUX_IDLE_TIMEOUT]
    --max-wait: string        # How long a request may wait for a key when all that could serve it rest; 0 never waits [default: 60s] [env: HERMUX_MAX_WAIT]
    --commit-after: string    # How long an answer is held back while only comments came, since another key may still serve it [default: 1s] [env: HERMUX_COMMIT_AFTER]
    --header-timeout: string  # For the head of a caller's request [default: 15s] [env: HERMUX_HEADER_TIMEOUT]
    --keep-alive-timeout: string # For an idle connection of a caller [default: 120s] [env: HERMUX_KEEP_ALIVE_TIMEOUT]
    --body-timeout: string    # Between two bytes of a request's body [default: 60s] [env: HERMUX_BODY_TIMEOUT]
    --max-header-size: string # The largest header block of a request [default: 64KiB] [env: HERMUX_MAX_HEADER_SIZE]
    --max-uri-size: string    # The longest URI of a request [default: 16KiB] [env: HERMUX_MAX_URI_SIZE]
    --max-connections: string # Open connections of callers; further ones wait [default: by the file limit] [env: HERMUX_MAX_CONNECTIONS]
    --replay-size: string     # How much of a request's body is kept to be sent again [default: 32MiB] [env: HERMUX_REPLAY_SIZE]
    --replay-total: string    # The same over all requests; beyond it a request is sent once [default: 256MiB] [env: HERMUX_REPLAY_TOTAL]
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux config check color" # When there are colors
    --help(-h)                # Print help
  ]

  def "nu-complete hermux completions shell" [] {
    [ "bash" "zsh" "fish" "powershell" "elvish" "nushell" ]
  }

  def "nu-complete hermux completions color" [] {
    [ "auto" "always" "never" ]
  }

  # Print what a shell needs to complete hermux's commands
  export extern "hermux completions" [
    --tokens(-t): path        # The OpenRouter keys, CSV with the columns name and token [default: tokens.csv] [env: HERMUX_TOKENS]
    --allow: path             # The access tokens, one a line [default: allow.txt] [env: HERMUX_ALLOW]
    --data-dir: directory     # Where the ledger and the state live [default: the user's data directory] [env: HERMUX_DATA_DIR]
    --config: path            # The configuration file [default: the user's config.toml] [env: HERMUX_CONFIG]
    --verbose(-v)             # Log more; twice for every detail [env: HERMUX_VERBOSITY=1]
    --quiet(-q)               # Log less; twice for errors alone [env: HERMUX_VERBOSITY=-1]
    --log-format: string      # Log lines as text or json [default: text] [env: HERMUX_LOG_FORMAT]
    --color: string@"nu-complete hermux completions color" # When there are colors
    --help(-h)                # Print help (see more with '--help')
    shell: string@"nu-complete hermux completions shell" # Which one
  ]

}

export use completions *
