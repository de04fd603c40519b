# The node was switched from iptables mode to ipvs mode on a day when demo/shop had no endpoints. Nothing removes what
# iptables mode left: chains that nothing jumps to any more (harmless), and KUBE-EXTERNAL-SERVICES, still hooked into
# INPUT and FORWARD, with the REJECT of that day.
iptables -N KUBE-EXTERNAL-SERVICES 2>/dev/null || iptables -F KUBE-EXTERNAL-SERVICES
iptables -A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "demo/shop:http has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30030 -j REJECT --reject-with icmp-port-unreachable
iptables -I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
iptables -I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
iptables -t nat -N KUBE-SEP-SI62D7XAGVO2CP3X 2>/dev/null || iptables -t nat -F KUBE-SEP-SI62D7XAGVO2CP3X
iptables -t nat -A KUBE-SEP-SI62D7XAGVO2CP3X -p tcp -m comment --comment demo/web:http -m tcp -j DNAT --to-destination 10.244.1.10:8080
iptables -t nat -N KUBE-SVC-XRY76EGRC3BSCIIJ 2>/dev/null || iptables -t nat -F KUBE-SVC-XRY76EGRC3BSCIIJ
iptables -t nat -A KUBE-SVC-XRY76EGRC3BSCIIJ -m comment --comment "demo/web:http -> 10.244.1.10:8080" -j KUBE-SEP-SI62D7XAGVO2CP3X
