# The Service's chain is still there; only the way to it is missing.
chain=$(nft list table ip kube-proxy | sed -n 's|^.*chain \(service-[A-Z0-9]*-demo/web/tcp/http\) {|\1|p')
test -n "$chain"
nft add element ip kube-proxy service-ips "{ 10.96.0.42 . tcp . 80 : goto $chain }"
