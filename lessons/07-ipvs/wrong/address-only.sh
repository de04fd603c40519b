# Give the address back, see that it works again, and go to bed.
ip address add 10.96.0.42/32 dev kube-ipvs0
