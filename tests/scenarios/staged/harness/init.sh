#!/bin/sh
# what every session and every later stage begins with
test -e crates/agentkeys-core/src.txt
