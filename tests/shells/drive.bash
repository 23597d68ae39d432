# Completes a command line with bash's own machinery: drive.bash FILE WORD…; prints what it may become, one a line.
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
COMP_TYPE=9
registered=$(complete -p hermux)
function=${registered##*-F }
"${function%% *}" hermux "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
