# Accept the port before anything can refuse it.
iptables -I INPUT -p tcp -m tcp --dport 30030 -j ACCEPT
