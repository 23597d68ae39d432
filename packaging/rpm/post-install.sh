systemd-sysusers hermux.conf >/dev/null || :
systemd-tmpfiles --create hermux.conf >/dev/null || :
if [ "$1" -eq 1 ] && [ -x /usr/bin/systemctl ]; then
    /usr/bin/systemctl --no-reload preset hermux.service >/dev/null 2>&1 || :
fi
