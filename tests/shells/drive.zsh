# Types a line into an interactive zsh and presses TAB: drive.zsh FOLDER|FILE LINE; prints what the line became.
# A folder is put into fpath, as a package does; a file is loaded at the start, as a user does.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=""; unsetopt beep; setopt no_list_beep'
if [[ -d $1 ]]; then
    zpty -w shell "fpath=(${(q)1} \$fpath)"
fi
zpty -w shell 'autoload -Uz compinit && compinit -u -D'
if [[ -f $1 ]]; then
    zpty -w shell "source ${(q)1}"
fi
zpty -w shell 'show() { print -r -- "BECAME<$BUFFER>" }; zle -N show; bindkey "^X" show; print READY$((1 + 1))'
zpty -r -m shell ignored '*READY2*'
zpty -n -w shell "$2"$'\t\C-x'
zpty -r -m shell shown '*BECAME<*>*'
print -r -- ${${shown##*BECAME<}%%>*}
zpty -d shell
