# Two things were done by hand last night. Something that manages links took "an unknown address" off kube-ipvs0:
# demo/web's. And somebody took web-3 out of the turns for a while, and forgot to put it back.
ip address delete 10.96.0.42/32 dev kube-ipvs0
ipvsadm -e -t 10.96.0.42:80 -r 10.244.2.10:8080 -m -w 0
