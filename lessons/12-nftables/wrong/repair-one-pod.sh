nft insert rule ip kube-proxy services ip daddr 10.96.0.42 tcp dport 80 dnat to 10.244.1.10:8080
