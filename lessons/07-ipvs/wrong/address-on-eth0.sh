# Make the address local by binding it to the node's own link.
ip address add 10.96.0.42/32 dev eth0
ipvsadm -e -t 10.96.0.42:80 -r 10.244.2.10:8080 -m -w 1
