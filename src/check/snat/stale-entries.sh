#!/bin/sh
# Deletes what the kernel's NAT table would send on with an address that is none of the way out:
# after a reconnect with another address, or over another line. UDP port 4569, one entry at a time.
PATH=$PATH:/usr/sbin:/sbin
command -v conntrack >/dev/null || exit 0
conntrack -L -p udp --orig-port-dst 4569 2>/dev/null |
    sed -n 's/.* src=\([0-9.]*\) dst=\([0-9.]*\) sport=\([0-9]*\) dport=\([0-9]*\) .*src=[0-9.]* dst=\([0-9.]*\) sport=.*/\1 \2 \3 \4 \5/p' |
    while read -r from to from_port to_port translated; do
        case $to in
        10.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) continue ;;
        esac
        route=$(ip -4 route get "$to" 2>/dev/null) || continue
        case $route in
        local*) continue ;;
        esac
        device=$(printf '%s\n' "$route" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
        if ip -4 address show dev "$device" | grep -q -F " $translated "; then continue; fi
        if ip -4 address show dev "$device" | grep -q -F " $translated/"; then continue; fi
        conntrack -D -p udp -s "$from" -d "$to" --sport "$from_port" --dport "$to_port" >/dev/null 2>&1
    done
exit 0
