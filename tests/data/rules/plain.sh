#!/bin/sh
# The router of a small office, as such scripts have been written for twenty years.
WAN=ppp0
LAN=192.168.1.0/24

echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -F
iptables -t nat -F
iptables -A FORWARD -i $WAN -m state --state ESTABLISHED,RELATED -j ACCEPT
iptables -t nat -A POSTROUTING -o $WAN -s $LAN -j MASQUERADE
