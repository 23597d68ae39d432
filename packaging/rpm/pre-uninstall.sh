# 0: the last version goes. Keys, access tokens and ledger stay.
if [ "$1" -eq 0 ] && [ -x /usr/bin/systemctl ]; then
    /usr/bin/systemctl --no-reload disable --now hermux.service hermux.socket >/dev/null 2>&1 || :
fi
