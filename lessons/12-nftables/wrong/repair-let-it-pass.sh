nft flush chain ip kube-proxy cluster-ips-check
