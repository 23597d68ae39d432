//! The long parts of the help: what is told below the options, with examples and exit codes.

pub(super) const EXAMPLES: &str = "\
Examples:
  hermux demo                      see it work, without a key
  hermux config init               set up: a configuration, the first key, the first access token
  hermux keys add ann              put an OpenRouter key into tokens.csv
  hermux allow gen ci              make an access token for the caller `ci`
  hermux serve                     then use http://127.0.0.1:3333/api/v1

Exit codes: 0 done, 1 the thing asked about is not well, 2 usage or configuration,
3 could not find out.";

pub(super) const FILES: &str = "\
Files:
  tokens.csv and allow.txt are looked for in the working directory, then in the user's
  configuration directory (on Linux ~/.config/hermux). Where neither directory has one, a new
  one is made beside the other of the two files, else in the working directory.

  tokens.csv has the columns name and token and may have these; an empty field is as good as none:
{columns}
  In the column token a reference may stand in place of a key: env:NAME, file:PATH (relative to
  tokens.csv), or cmd:WORDS, a command whose first line is the key; no shell reads it, it has 10 s,
  and only `allow_commands = true` in config.toml lets it run. Lines that begin with # are comments.

  config.toml in the configuration directory has a key for each flag, and there is a variable
  for each: `first_byte_timeout = \"5m\"` is HERMUX_FIRST_BYTE_TIMEOUT=5m is
  --first-byte-timeout 5m. A flag wins over the variable, the variable over the file, the file
  over the default. Paths in config.toml are relative to it.

Log level:
  HERMUX_LOG, else RUST_LOG (debug, or by module: info,hermux=debug), else -v and -q.

Colors:
  On a terminal, unless NO_COLOR is set; everywhere where CLICOLOR_FORCE is. --color wins over both.";

pub(super) const SERVE: &str = "\
Durations are 30 (seconds), 30s, 5m, 1h30m or 7d; sizes 65536, 64KiB or 32MiB.

Examples:
  hermux serve
  hermux serve --port 8080 --tokens ~/keys/tokens.csv
  hermux serve --address 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  hermux serve --address unix:/run/hermux/hermux.sock
  hermux serve --cors https://app.example      for applications in a browser
  hermux serve --metrics 127.0.0.1:9333        for Prometheus
  hermux serve --access-log --log-format json 2> access.log
  hermux serve --no-auth           on this machine alone, without access tokens";

pub(super) const DEMO: &str = "\
Examples:
  hermux demo
  hermux demo --scenario limits    see rate limits met and got round, live
  hermux demo --scenario outage    see a model fail and come back";

pub(super) const KEYS: &str = "\
Examples:
  hermux keys add ann
  hermux keys list
  hermux keys explain openai/gpt-4o-mini";

pub(super) const ALLOW: &str = "\
Examples:
  hermux allow gen ci              make an access token for the caller `ci`
  hermux allow gen ci | pbcopy";

pub(super) const CONFIG: &str = "\
Examples:
  hermux config init               set up on this machine
  hermux config path               which files are used, and why
  hermux config show               every value, and where it stands
  hermux config check && hermux serve";

pub(super) const CONFIG_PATH: &str = "\
The JSON object has `files`, each with name (config, tokens, allow, data_dir), path, exists and why.

Examples:
  hermux config path
  $EDITOR \"$(hermux config path --json | jq -r '.files[] | select(.name == \"tokens\") | .path')\"";

pub(super) const CONFIG_SHOW: &str = "\
Takes the flags of `hermux serve` and shows what they would come to. Passwords in URLs, keys and
access tokens are not shown.

The JSON object has `settings`, each with name, value (null where there is none), default (null
where it is not always the same), source (default, file, variable, flag) and from: the file with
its line, the variable or the flag.

Examples:
  hermux config show
  hermux config show --port 8080
  hermux config show --json | jq '.settings[] | select(.source != \"default\")'";

pub(super) const CONFIG_INIT: &str = "\
Without a terminal nothing is asked, and config.toml alone is written.

Examples:
  hermux config init
  hermux config init --config /etc/hermux/config.toml";

pub(super) const CONFIG_CHECK: &str = "\
Takes the flags of `hermux serve` and looks at all that it looks at before it opens its port: the
configuration, tokens.csv, allow.txt, the certificates, the data directory with its ledger, and the
address. Nothing is changed, and OpenRouter is not asked.

The JSON object has `ok` and `checks`, each with check, state (ok, odd, bad), said and hint.

Exit codes: 0 `serve` would start, else the one that it would end with: 1 the address can't be
listened on, 2 the configuration or a file is not good.

Examples:
  hermux config check
  hermux config check --address 0.0.0.0 --port 80
  hermux config check --json | jq -r '.checks[] | select(.state == \"bad\") | .said'";

pub(super) const COMPLETIONS: &str = "\
What is printed asks hermux itself at each TAB, so that it knows the names of keys and callers and
is never out of date. Packages install it; else:

  bash        echo 'eval \"$(hermux completions bash)\"' >> ~/.bashrc
  zsh         echo 'eval \"$(hermux completions zsh)\"' >> ~/.zshrc    (below compinit)
  fish        hermux completions fish > ~/.config/fish/completions/hermux.fish
  PowerShell  'hermux completions powershell | Out-String | Invoke-Expression' >> $PROFILE
  elvish      echo 'eval (hermux completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  nushell     hermux completions nushell | save -f ($nu.user-autoload-dirs.0 | path join hermux.nu)

Examples:
  hermux completions bash
  source <(hermux completions zsh)";

pub(super) const KEYS_ADD: &str = "\
The key is asked for without being shown, or read from standard input; it is never taken as
an argument, where other processes could see it. OpenRouter is asked about it (GET /key) before
it is written; where it can't be asked, that is a warning.

In place of a key, a reference says where it is: env:NAME, file:PATH (relative to tokens.csv) or
cmd:WORDS, a command that prints it (where config.toml has `allow_commands = true`).

A FILE has one key a line, NAME=key lines, or the columns name and token as tokens.csv has; keys
without a name are called key-1 and on. Keys that can't be added are told, and the others are.

Exit codes: 0 added, 1 not added, since OpenRouter refuses it or it manages keys; of many, one
was not added, 2 usage, or a name or key that is there already.

Examples:
  hermux keys add ann
  pass show openrouter | hermux keys add ann --stdin
  echo env:OPENROUTER_API_KEY | hermux keys add ann --stdin
  hermux keys add --from-file keys.txt
  OPENROUTER_ANN=… hermux keys add --from-env OPENROUTER       adds `ann`";

pub(super) const KEYS_CHECK: &str = "\
The JSON object has `keys`, each with name, kept_in, enabled, valid (null where OpenRouter could
not be asked), reason (why it is not valid or not known), label, tier (paid, or free where no
credits were ever bought), free_day_left, free_day_limit, usage_usd, limit_usd, limit_left_usd,
limit_resets, expires, account and shared_with (the names of the other keys of its account that
were asked about). What is not known or not limited is null; times are RFC 3339, UTC.

Exit codes: 0 all are valid, 1 one is not, 3 OpenRouter could not be asked about one, and none is
known not to be valid.

Examples:
  hermux keys check
  hermux keys check ann ben --timeout 3s
  hermux keys check --json | jq -r '.keys[] | select(.valid == false) | .name'";

pub(super) const KEYS_REMOVE: &str = "\
What it was used for stays in the ledger.

Examples:
  hermux keys remove ann
  hermux keys remove ann --yes";

pub(super) const KEYS_RENAME: &str = "\
To a running server it is a new key from then on; what it was used for stays under the old name.

Examples:
  hermux keys rename ann team-red";

pub(super) const KEYS_ENABLE: &str = "\
Examples:
  hermux keys enable ann";

pub(super) const KEYS_DISABLE: &str = "\
Writes false into the column `enabled`, which is added where there is none.

Examples:
  hermux keys disable ann";

pub(super) const KEYS_LIST: &str = "\
Shows what the running server knows, else what tokens.csv and the ledger say.

The JSON object has `server` (null where none runs: version, pid, started, address, tokens,
in_flight, waiting) and `keys`, each with name, key (masked), kept_in (where the key lives: file,
env:NAME, file:PATH or cmd: with its program), account (a name of hermux's own, the same for the
keys of one account), state (ok, resting, disabled), used_today (attempts),
in_flight, free_minute_left, free_day_left, cap_left_usd, cost_today_usd, expires and
rests: what (free, paid, other, all), why (a word), reason (a sentence) and until.
What is not known, not limited or not to end by itself is null; times are RFC 3339, UTC.

Examples:
  hermux keys list
  hermux keys list --json | jq -r '.keys[] | select(.state != \"ok\") | .name'";

pub(super) const KEYS_EXPLAIN: &str = "\
The JSON object has `model` and `keys`, each with name, place (in the order of choice, from 1;
null where it can't serve), why (a word), reason (a sentence) and until.

Exit codes: 0 some key would serve, 1 none would, 3 could not find out.

Examples:
  hermux keys explain openai/gpt-4o-mini
  hermux keys explain meta-llama/llama-3.3-70b-instruct:free";

pub(super) const KEYS_RESET: &str = "\
The running server takes it over at once; where none runs, the next one does. What OpenRouter
still refuses rests again after the first request that meets it.

Examples:
  hermux keys reset ann
  hermux keys reset --all";

pub(super) const ALLOW_GEN: &str = "\
The token is printed once, alone on standard output; allow.txt gets its SHA-256, with the
caller's name and limits. Where it went is told on standard error.

A line of allow.txt is a token, or sha256: and its digest, and behind it any of these:
    name            what the caller is called: name=ci, name=\"build server\"
    expires         the last day (UTC), 2026-12-31, or a moment, 2026-12-31T18:00:00Z
    models          patterns of what it may use: models=openai/*,*:free
    rpm             requests within any minute
    daily_requests  requests in a UTC day
    daily_cost      US dollars in a UTC day, such as 0.25
    keys            which keys of tokens.csv may serve it: keys=ann,bob
and then # and a comment. A token alone with `# name` behind it has its caller's name there.

Examples:
  hermux allow gen
  hermux allow gen ci | pbcopy
  hermux allow gen intern --expires 30d --models '*:free' --rpm 20
  hermux allow gen team --count 5 --daily-cost 2.50";

pub(super) const ALLOW_LIST: &str = "\
The JSON object has `callers`, one for each line, each with name, id (the first 8 hex digits of
the token's SHA-256), line, form (sha256 or plain), expires, expired, models, rpm,
daily_requests, daily_cost_usd, keys, requests_today (of models), cost_today_usd and last_used
(a moment, or where that is long ago a date). What is not limited or not known is null; times
are RFC 3339, UTC. Lines with the same name are one caller, whose use is counted as one.

Examples:
  hermux allow list
  hermux allow list --json | jq -r '.callers[] | select(.expired) | .name'";

pub(super) const ALLOW_REVOKE: &str = "\
Removes each line of the caller and nothing else. A running server refuses the token from the
next second on; what is under way ends in its own time.

Exit codes: 0 revoked, 1 the answer was no, 2 no such caller.

Examples:
  hermux allow revoke ci
  hermux allow revoke ba7816bf --yes    one of several tokens, by its id";

pub(super) const ALLOW_CHECK: &str = "\
The token is asked for without being shown, or read from standard input; it is never taken as
an argument, where other processes could see it.

Exit codes: 0 valid, 1 unknown, expired or mistyped.

Examples:
  hermux allow check
  pbpaste | hermux allow check";

pub(super) const STATS: &str = "\
WHEN is today, yesterday, a day such as 2026-11-01, how long ago, such as 7d or 12h, or a moment
such as 2026-11-01T18:00:00Z; all in UTC. A day counts whole, also behind --until; hours that
are only touched count whole. In a NAME * stands for any text, as in 'openai/*'.

A request stands with the key, model, caller and time of its last attempt; attempts, errors and
waits (for a key) are counted each. `TTFB p50` and `p95` are how long 50 % and 95 % of the
answers took at most to their first byte, within 6 %. `free quota` is how much of today's free
requests its account has used up, where that is known: with --by key or account alone. Columns
that do not fit into the terminal are left out, and it says which. Below the table stands how
many attempts it lacks the cost of.

--reconcile tells `missed here` where attempts that told no cost can explain what was billed
beyond the count, else `spent outside hermux`: the key may have leaked. `not told yet` becomes
`less billed than counted` where OpenRouter had an hour to add it up. Where hermux saw no day,
week or month of a key from its beginning it is `too early to tell`.

The JSON object has `keys`, `models`, `callers` and `days`, each with name, requests, attempts,
prompt_tokens, completion_tokens, cost_usd, errors, waits, unsettled (attempts whose cost is
never known), reasoning_tokens, cached_tokens, cache_write_tokens, upstream_cost_usd,
first_byte_p50_ms and first_byte_p95_ms, keys also free_day_used and free_day_limit; `total`
with the same but the name, since and until; with --by `groups`, which have what they are
grouped by in place of the name. Lines of CSV have what they are grouped by, then the same. What
is not known is null, in CSV empty.

Examples:
  hermux stats
  hermux stats --by model --since 7d
  hermux stats --by day,caller --since 2026-11-01 --until 2026-11-30 --model 'openai/*'
  hermux stats --by hour --watch
  hermux stats --by account --csv > today.csv
  hermux stats --json | jq '.keys[] | {name, cost_usd}'";

#[cfg(feature = "tui")]
pub(super) const TOP: &str = "\
Looks at the server that uses the data directory, once a second. Press ? for its keys: arrows
choose a key, s sorts, / filters, space pauses, r ends the cooldowns of the chosen key, q quits.

Exit codes: 0 done, 2 there is no terminal, 3 no server runs, or it can't be asked.

Examples:
  hermux top
  hermux top --data-dir /var/lib/hermux";
