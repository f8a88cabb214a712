#!/bin/sh
read -t 5 answer < /run/answer
(( answer > 3 )) && exit 1
cat <<< "$answer" |& logger
i+=1
for ((i = 0; i < 3; i++)); do declare x=$i; done
printf '%s' $'\t'
exit 0
