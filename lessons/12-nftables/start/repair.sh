# Somebody deleted one element by hand: the map service-ips of node-a no longer knows 10.96.0.42 . tcp . 80.
nft delete element ip kube-proxy service-ips '{ 10.96.0.42 . tcp . 80 }'
