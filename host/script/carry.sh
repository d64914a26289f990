#!/usr/bin/env bash
# carry.sh FILE...: assembler text on stdout that puts the files into the binary, with the table
# cc_carried[] (carried.h) over them. lua/a/b.lua is named "lua:a.b", policies/p.lua "lua:policies.p", a library's
# module .../share/lua/5.1/l/m.lua "lua:l.m", the dashboard's build/web/d/f.js "web:d/f.js", any other file by its base name: lua/scripts/s.sh is "s.sh".
set -euo pipefail
echo '.section .rodata'
i=0 table=
for f in "$@"; do
  case $f in
    lua/*.lua) n=${f#lua/}; n=lua:${n%.lua}; n=${n//\//.} ;;
    */share/lua/5.1/*.lua) n=${f#*/share/lua/5.1/}; n=lua:${n%.lua}; n=${n//\//.} ;;
    */shipped/policies/*.lua) n=lua:policies.${f##*/}; n=${n%.lua} ;;
    policies/*.lua) n=lua:${f%.lua}; n=${n//\//.} ;;
    build/web/*) n=web:${f#build/web/} ;;
    *) n=${f##*/} ;;
  esac
  printf 'f%d:\n.incbin "%s"\n.byte 0\nn%d: .asciz "%s"\n' $i "$f" $i "$n"
  table+=".quad n$i, f$i, n$i - f$i - 1"$'\n'
  i=$((i + 1))
done
printf '.section .data.rel.ro,"aw"\n.balign 8\n.globl cc_carried\ncc_carried:\n%s.quad 0, 0, 0\n' "$table"
echo '.section .note.GNU-stack,"",@progbits'
