# Give the address back to the device, which stays down, and web-3 its weight.
ip address add 10.96.0.42/32 dev kube-ipvs0
ipvsadm -e -t 10.96.0.42:80 -r 10.244.2.10:8080 -m -w 1
