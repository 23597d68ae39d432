
set edit:completion:arg-completer[hermux] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) _HERMUX_COMPLETE="elvish" hermux -- $@words) | to-lines
}

