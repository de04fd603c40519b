# INPUT refuses, so flush INPUT.
iptables -F INPUT
