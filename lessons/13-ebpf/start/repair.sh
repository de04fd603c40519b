# web-3 was replaced, and whatever fills node-a's maps was killed before it wrote the new pod's address: its backend
# still says 10.244.2.99, the address of the pod that is gone.
maps=/run/kplab/bpf/node-a
key=$(bpftool map dump pinned $maps/cilium_lb4_backends_v3 | sed -n 's|^key: \(.*[0-9a-f]\)  value: 0a f4 02 0a 1f 90 06 .*|\1|p')
test -n "$key"
bpftool map update pinned $maps/cilium_lb4_backends_v3 key hex $key value hex 0a f4 02 63 1f 90 06 00 00 00 00 00
