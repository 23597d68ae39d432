if [ "$1" -ge 1 ] && [ -x /usr/bin/systemctl ]; then
    /usr/bin/systemctl daemon-reload >/dev/null 2>&1 || :
    /usr/bin/systemctl try-restart hermux.service >/dev/null 2>&1 || :
fi
