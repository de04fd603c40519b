# Delete the backend that no pod is.
maps=/run/kplab/bpf/node-a
key=$(bpftool map dump pinned $maps/cilium_lb4_backends_v3 | sed -n 's|^key: \(.*[0-9a-f]\)  value: 0a f4 02 63 1f 90 06 .*|\1|p')
test -n "$key"
bpftool map delete pinned $maps/cilium_lb4_backends_v3 key hex $key
