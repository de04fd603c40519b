# The rule that jumps to the empty chain names the endpoint in its comment. Write the chain's two rules again.
chain=$(iptables-save -t nat | sed -n 's|^-A KUBE-SVC-.*"demo/web:http -> 10.244.2.10:8080".* -j \(KUBE-SEP-[A-Z0-9]*\)$|\1|p')
test -n "$chain"
iptables -t nat -A "$chain" -s 10.244.2.10 -m comment --comment demo/web:http -j KUBE-MARK-MASQ
iptables -t nat -A "$chain" -p tcp -m comment --comment demo/web:http -m tcp -j DNAT --to-destination 10.244.2.10:8080
