#!/bin/sh
# The done check of a stage: its tests are there, and those of the stages before it.
tests() { cat crates/$1/tests.txt 2>/dev/null | grep -c '^test '; }
want() { [ "$1" -ge "$2" ] || { echo "stage $stage: $1 of $2 tests"; exit 1; }; }
stage=$1
case $stage in
0) want "$(tests agentkeys-core)" 8;;
1) want "$(tests agentkeys-mock-server)" 37;;
2) want "$(tests agentkeys-cli)" 14;;
3) want "$(tests agentkeys-daemon)" 13;;
4) want "$(tests '*')" 83;;
5) want "$(tests '*')" 92;;
6) want "$(tests '*')" 99;;
7) for flow in 1 2 3 4 5 6; do
     [ "$(cat e2e/flow-$flow 2>/dev/null)" = works ] || { echo "flow $flow does not work"; exit 1; }
   done;;
esac
