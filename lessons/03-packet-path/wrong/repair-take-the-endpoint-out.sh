# Take the jump to the empty chain away (the last rule of the chain), and let the one before it match always.
svc=$(iptables-save -t nat | sed -n 's|^-A \(KUBE-SVC-[A-Z0-9]*\) .*"demo/web:http -> 10.244.2.10:8080".*|\1|p')
sep=$(iptables-save -t nat | sed -n 's|^-A KUBE-SVC-.*"demo/web:http -> 10.244.1.11:8080".* -j \(KUBE-SEP-[A-Z0-9]*\)$|\1|p')
test -n "$svc"
test -n "$sep"
iptables -t nat -D "$svc" 4
iptables -t nat -A "$svc" -m comment --comment "demo/web:http -> 10.244.1.11:8080" -j "$sep"
