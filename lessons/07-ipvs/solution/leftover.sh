# Take the jumps away, then the chain that they led to.
iptables -D INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
iptables -D FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
iptables -F KUBE-EXTERNAL-SERVICES
iptables -X KUBE-EXTERNAL-SERVICES
