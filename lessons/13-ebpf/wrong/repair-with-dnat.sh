# Rewrite the address that is gone with iptables, as one would have done in the old days.
iptables -t nat -A PREROUTING -d 10.244.2.99 -p tcp --dport 8080 -j DNAT --to-destination 10.244.2.10:8080
